"""The user's side of training: submit, stop, continue; see that a worker is there, and what it is doing.

One worker a device, which holds that device's lock file for as long as it lives: a free lock and a run that is RUNNING
mean that the run's worker died, and the next one takes the run up from its last recorded epoch. The store is the
message bus; only what is gone in a second (steps, images/s) goes through a status file beside the lock.
"""

import contextlib
import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from filelock import FileLock, Timeout

from cnnviz import paths, wording
from cnnviz.architectures import architecture
from cnnviz.config import DEVICES, RunConfig
from cnnviz.errors import ConfigError, StoreError
from cnnviz.store import changes, connection, reading
from cnnviz.train import shards
from cnnviz.train.loop import fastest

LOG_BYTES = 1_000_000  # a log is begun again past this
RETRY_SECONDS = 30  # after a worker that could not go on, until the next one is started
LEAST_FREE = 5_000_000  # bytes on the store's disk without which no worker is started
SILENT_SECONDS = 90  # without a word from a worker, after which it is said to hang
SHARD_SILENT_SECONDS = 600  # the same for a process it started: compiling and evaluating take minutes on a slow machine
# A first guess before anything was measured here: seconds to launch a step, and FLOP/s of one core in it.
GUESS = {"kernel": (0.0, 150e9), "graph": (0.0007, 5e12)}  # a graph's step is some 190 kernels of 2 to 4 µs each
GUESS_ELSE = (0.0005, 100e9)


@dataclass(frozen=True)
class RunProgress:
    epoch: int  # being trained, from 1; 0: the untrained network is being looked at
    target: int
    fraction: float  # of this stretch's epochs
    images_per_second: float
    seconds_left: float | None  # None: not known yet


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker said last."""

    device: str
    pid: int
    phase: str  # "starting", "fetching data", "loading data", "compiling", "training", "evaluating"
    updated_at: float  # seconds since 1970
    runs: dict[str, RunProgress] = field(default_factory=dict)
    message: str = ""
    alive: bool = True  # its lock is held
    silent_seconds: float = 0.0  # the longest that one of its processes had told nothing, at updated_at

    @property
    def hangs_for(self) -> float | None:
        """Seconds since anything moved, where that is too long for anything but a worker that hangs."""
        age = max(0.0, time.time() - self.updated_at)
        if not self.alive or (age < SILENT_SECONDS and self.silent_seconds + age < SHARD_SILENT_SECONDS):
            return None
        return self.silent_seconds + age


@dataclass(frozen=True)
class Estimate:
    runs: int
    stacks: int
    seconds: float
    measured: bool  # from trainings on this machine; else a first guess
    sentence: str  # "12 runs, one stack, about 9 min here"


# -- devices -------------------------------------------------------------------------------------


def devices() -> list[str]:
    """The devices of this machine, the fastest first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def resolve(device: str) -> str:
    """ "auto" as the fastest device here. Raises ConfigError for one that is not here."""
    if device not in DEVICES:
        raise ConfigError(f"device {device!r} is not known: choose one of {', '.join(DEVICES)}")
    if device == "auto":
        return devices()[0]
    if device not in devices():
        raise ConfigError(f"this machine has no {device}: choose one of {', '.join(devices())}")
    return device


def describe(device: str) -> str:
    """The device as a stretch records it: "cuda: NVIDIA H200"."""
    return f"cuda: {torch.cuda.get_device_name()}" if device == "cuda" else device


# -- the user's side -----------------------------------------------------------------------------


def submit(configs: Sequence[RunConfig], device: str = "auto") -> list[str]:
    """Schedule the runs and see that a worker is there; their ids."""
    run_ids = changes.schedule(configs, resolve(device))
    ensure_worker()
    return run_ids


def continue_runs(run_ids: Sequence[str], epochs: int) -> list[str]:
    """So many more epochs in the same runs."""
    continued = changes.continue_runs(run_ids, epochs)
    ensure_worker()
    return continued


def fork(run_id: str, epoch: int, settings: Mapping[str, Any], epochs: int, device: str = "auto") -> str:
    """A new run from another's weights at a saved epoch, with something changed, for so many epochs; its id."""
    forked = changes.fork(run_id, epoch, settings, epochs, resolve(device))
    ensure_worker()
    return forked


def stop(run_ids: Sequence[str], ended_ok: bool = False) -> None:
    """Stop waiting and training runs; the last complete epoch is kept. ended_ok: one that is over is no error."""
    changes.request_stop(run_ids, ended_ok)
    ensure_worker()  # one that died is needed to carry the request out


_started: dict[str, subprocess.Popen[bytes]] = {}  # by device, by this process
_starting = threading.Lock()  # a server's sessions are threads


def ensure_worker() -> None:
    """Start a detached worker for every device that has runs waiting, or interrupted, and no worker.

    Not within RETRY_SECONDS of one that could not go on, nor on a full disk: troubles() says so.
    """
    with _starting:
        for device in DEVICES[1:]:
            process = _started.get(device)
            # One that was started takes seconds to load its libraries and then the lock.
            if (process and process.poll() is None) or is_held(device) or not reading.queue(device):
                continue
            if _free_bytes() >= LEAST_FREE and not any(each.device == device and _rests(each) for each in workers()):
                command = [sys.executable, "-m", "cnnviz", "work", "--device", device]
                _started[device] = _detached(command, file_of(device, "log"))


def _rests(status: WorkerStatus) -> bool:
    return status.phase == "failed" and not status.alive and 0 <= time.time() - status.updated_at < RETRY_SECONDS


def _free_bytes() -> int:
    return shutil.disk_usage(paths.home()).free


def troubles(statuses: Sequence[WorkerStatus]) -> list[str]:
    """What keeps waiting runs from being trained, one line each."""
    lines = []
    if (free := _free_bytes()) < LEAST_FREE:
        room = f"{free / 1e6:.1f} MB"
        lines.append(f"Training waits: the disk of {paths.home()} has {room} left. Free some space; it goes on then.")
    lines += [
        f"The worker on {each.device} had to stop: {each.message}. It is started again within {RETRY_SECONDS} s."
        for each in statuses
        if each.phase == "failed" and not each.alive
    ]
    return lines


def replace_worker(device: str) -> None:
    """Kill a worker that hangs, with the processes it started, and start another: its runs go on from their last epoch.

    Raises StoreError where the process is not to be found here, or is not a worker.
    """
    status = next((each for each in workers() if each.device == device), None)
    if status and status.alive:
        try:
            worker = psutil.Process(status.pid)
            if "cnnviz" not in " ".join(worker.cmdline()):
                raise StoreError(
                    f"process {status.pid} is not a worker: end what holds {file_of(device, 'lock')} by hand"
                )
            family = [*worker.children(recursive=True), worker]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=10)
        except psutil.NoSuchProcess as error:
            raise StoreError(
                f"the worker (process {status.pid}) is not on this machine: end it where it runs"
            ) from error
        except psutil.AccessDenied as error:
            raise StoreError(f"the worker (process {status.pid}) is another user's: let that user end it") from error
    ensure_worker()


def _detached(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and inherits none of its pipes."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    _bound(log)
    with log.open("ab") as output:  # appending: what was truncated is then really begun again
        process = subprocess.Popen(  # noqa: S603
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=paths.PROJECT, **apart
        )
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie is left when it ends
    return process


def _bound(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)


def bound_log(device: str) -> None:
    """Begin a worker's log again where it has grown too long."""
    _bound(file_of(device, "log"))


def workers() -> list[WorkerStatus]:
    """The workers there are or were, as they last said; alive tells which still are."""
    found = []
    for device in DEVICES[1:]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(file_of(device, "json").read_text(encoding="utf-8"))
            runs = {run_id: RunProgress(**progress) for run_id, progress in said.pop("runs").items()}
            found.append(WorkerStatus(**said | {"runs": runs, "alive": is_held(device)}))
    return found


def estimate(configs: Sequence[RunConfig], device: str = "auto") -> Estimate:
    """How long these runs take here, from trainings of the same shape or, before there are any, from a guess."""
    device = resolve(device)
    groups = shards.stacks(configs)
    planned = shards.plan(groups, configs, device)
    measured, busy = _read_speeds(device), [0.0] * (shards.cores() if device == "cpu" else 1)
    known = True
    for shard in planned:
        first = configs[shard.runs[0]]
        how = fastest([configs[run] for run in shard.runs], device)
        step = measured.get(_speed_key(first, len(shard.runs)))
        known = known and step is not None
        if step is None:
            flops = 6 * architecture(first.model).multiply_adds * first.batch_size * len(shard.runs)
            launching, rate = GUESS.get(how, GUESS_ELSE)
            step = launching + flops / (rate * shard.threads)
        steps = max(configs[run].epochs for run in shard.runs) * first.steps_per_epoch
        start_up = 16 if how == "compiled" else 6
        busy[busy.index(min(busy))] += start_up + 1.1 * step * steps  # a tenth for evaluation and tracking
    seconds = max(busy)
    many = f"{len(configs)} run{'s' if len(configs) != 1 else ''}"
    stacks = "one stack" if len(groups) == 1 else f"{len(groups)} stacks"
    sentence = f"{many}, {stacks}, about {wording.duration(seconds)} here" + ("" if known else " (a first guess)")
    return Estimate(len(configs), len(groups), seconds, known, sentence)


def start_mlflow_ui(port: int = 5000) -> str:
    """Start MLflow's own UI on this store, on 127.0.0.1 alone, unless it runs already; its address.

    Raises StoreError where it does not answer within a minute.
    """
    with FileLock(file_of("mlflow-ui", "lock")):  # two sessions may ask at once
        note, uri = file_of("mlflow-ui", "json"), connection.tracking_uri()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            said = json.loads(note.read_text(encoding="utf-8"))
            # The port may be another program's by now, or the note another store's, moved here with its folder.
            if uri in psutil.Process(said["pid"]).cmdline() and not _is_free(said["port"]):
                return f"http://127.0.0.1:{said['port']}"
        port = next((each for each in range(port, port + 50) if _is_free(each)), 0)
        options = {
            "--backend-store-uri": uri,
            "--host": "127.0.0.1",
            "--port": str(port),
            "--workers": "1",
            "--allowed-hosts": f"127.0.0.1:{port},localhost:{port}",  # DNS rebinding ends here
            "--uvicorn-opts": "--log-level warning",  # no line a request: its log stays short
        }
        log = file_of("mlflow-ui", "log")
        process = _detached([sys.executable, "-m", "mlflow", "ui", *itertools.chain(*options.items())], log)
        write(note, json.dumps({"port": port, "pid": process.pid}))
        for _ in range(120):
            if not _is_free(port):
                return f"http://127.0.0.1:{port}"
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise StoreError(f"MLflow's UI did not start on port {port}: its words are in {log}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# -- files ---------------------------------------------------------------------------------------


def file_of(name: str, kind: str) -> Path:
    folder = paths.home() / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.{kind}"


@contextlib.contextmanager
def lock(device: str) -> Iterator[None]:
    with FileLock(file_of(device, "lock")).acquire(timeout=2):  # somebody may just be looking whether it is held
        yield


def is_held(device: str) -> bool:
    path = file_of(device, "lock")
    if not path.exists():
        return False
    try:
        # Who looks holds it for an instant, too, so a single look may see nothing but another one.
        with FileLock(path).acquire(timeout=0.02, poll_interval=0.005):
            return False
    except Timeout:
        return True


def write(path: Path, text: str) -> None:
    """Readers see the old text or the new, never half of one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _speed_key(config: RunConfig, size: int) -> str:
    return f"{config.model} {config.optimizer} batch {config.batch_size} x {size}"


def _read_speeds(device: str) -> dict[str, float]:
    """Seconds a step, by shape, as measured here."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(file_of(device, "speeds").read_text(encoding="utf-8")))
    return {}


def note_speed(device: str, config: RunConfig, size: int, seconds: float) -> None:
    speeds, key = _read_speeds(device), _speed_key(config, size)
    if math.isclose(speeds.get(key, 0.0), seconds, rel_tol=0.1):
        return
    with contextlib.suppress(OSError):
        write(file_of(device, "speeds"), json.dumps(speeds | {key: seconds}))
