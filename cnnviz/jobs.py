"""The worker: takes the runs that wait, trains them, survives anything.

One worker a device, which holds that device's lock file for as long as it lives: a free lock and a run that is RUNNING
mean that the run's worker died, and the next one takes the run up from its last recorded epoch. The store is the
message bus; only what is gone in a second (steps, images/s) goes through a status file beside the lock.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from filelock import FileLock, Timeout

from cnnviz import data, shards, tracking
from cnnviz.config import DEVICES, RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, ConfigError, StoreError
from cnnviz.models import architecture
from cnnviz.shards import Failed, Told
from cnnviz.tracking import Segment, TrackedRun
from cnnviz.training import EpochResult, Start, fresh_start, pays_to_compile

STOP_LOOK_UP_SECONDS = 2.0  # how often the store is asked for stop requests
STATUS_SECONDS = 0.5
LOG_BYTES = 1_000_000  # a worker's log is begun again past this
# A first guess before anything was measured here: a step of K networks on one core of a 2.4 GHz machine with AVX2.
GUESS_SECONDS, GUESS_FLOPS = 0.0010, 25e9


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
    run_ids = tracking.schedule(configs, resolve(device))
    ensure_worker()
    return run_ids


def continue_runs(run_ids: Sequence[str], epochs: int) -> list[str]:
    """So many more epochs in the same runs."""
    continued = tracking.continue_runs(run_ids, epochs)
    ensure_worker()
    return continued


def fork(run_id: str, epoch: int, changes: Mapping[str, Any], epochs: int, device: str = "auto") -> str:
    """A new run from another's weights at a saved epoch, with something changed, for so many epochs; its id."""
    forked = tracking.fork(run_id, epoch, changes, epochs, resolve(device))
    ensure_worker()
    return forked


def stop(run_ids: Sequence[str]) -> None:
    """Stop waiting and training runs; the last complete epoch is kept."""
    tracking.request_stop(run_ids)
    ensure_worker()  # one that died is needed to carry the request out


_started: dict[str, subprocess.Popen[bytes]] = {}  # by device, by this process


def ensure_worker() -> None:
    """Start a detached worker for every device that has runs waiting, or interrupted, and no worker."""
    for name in [name for name, process in _started.items() if process.poll() is not None]:  # poll() buries the dead
        del _started[name]
    for device in DEVICES[1:]:
        # One that was started takes seconds to load its libraries and then the lock.
        if device not in _started and not _is_held(device) and tracking.queue(device):
            log = _file(device, "log")
            with log.open("ab" if log.exists() and log.stat().st_size < LOG_BYTES else "wb") as output:
                _started[device] = _detached([sys.executable, "-m", "cnnviz", "work", "--device", device], output)


def _detached(command: Sequence[str], output: Any) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and inherits none of its pipes."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(  # noqa: S603
        list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=tracking.PROJECT, **apart
    )


def workers() -> list[WorkerStatus]:
    """The workers there are or were, as they last said; alive tells which still are."""
    found = []
    for device in DEVICES[1:]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(_file(device, "json").read_text(encoding="utf-8"))
            runs = {run_id: RunProgress(**progress) for run_id, progress in said.pop("runs").items()}
            found.append(WorkerStatus(**said | {"runs": runs, "alive": _is_held(device)}))
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
        step = measured.get(_speed_key(first, len(shard.runs)))
        known = known and step is not None
        if step is None:
            flops = 6 * architecture(first.model).multiply_adds * first.batch_size * len(shard.runs)
            step = GUESS_SECONDS + flops / GUESS_FLOPS
        steps = max(configs[run].epochs for run in shard.runs) * first.steps_per_epoch
        start_up = 10 + 10 * pays_to_compile([first], device)
        busy[busy.index(min(busy))] += start_up + 1.1 * step * steps  # a tenth for evaluation and tracking
    seconds = max(busy)
    many = f"{len(configs)} run{'s' if len(configs) != 1 else ''}"
    stacks = "one stack" if len(groups) == 1 else f"{len(groups)} stacks"
    sentence = f"{many}, {stacks}, about {duration(seconds)} here" + ("" if known else " (a first guess)")
    return Estimate(len(configs), len(groups), seconds, known, sentence)


def duration(seconds: float) -> str:
    """Seconds as people say them: "40 s", "9 min", "2 h 5 min"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def start_mlflow_ui(port: int = 5000) -> str:
    """Start MLflow's own UI on this store, on 127.0.0.1 alone, unless it runs already; its address.

    Raises StoreError where it does not answer within a minute.
    """
    note = _file("mlflow-ui", "json")
    with contextlib.suppress(OSError, ValueError, KeyError):
        url = json.loads(note.read_text(encoding="utf-8"))["url"]
        if _answers(url):
            return str(url)
    port = next((each for each in range(port, port + 50) if _is_free(each)), 0)
    url, uri = f"http://127.0.0.1:{port}", tracking.tracking_uri()
    log = _file("mlflow-ui", "log")
    with log.open("wb") as output:
        command = [
            "mlflow",
            "ui",
            "--backend-store-uri",
            uri,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        process = _detached([sys.executable, "-m", *command], output)
    _started["mlflow-ui"] = process
    note.write_text(json.dumps({"url": url}), encoding="utf-8")
    for _ in range(120):
        if _answers(url):
            return url
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise StoreError(f"MLflow's UI did not start on port {port}: its words are in {log}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _answers(url: str) -> bool:
    return not _is_free(int(url.rsplit(":", 1)[1]))


# -- the worker's side ---------------------------------------------------------------------------


class Stopped(BaseException):
    """The worker was asked to leave. Like KeyboardInterrupt, no library's `except Exception` may swallow it."""


def work(
    device: str = "auto",
    only: Collection[str] | None = None,
    on_status: Callable[[WorkerStatus], None] = lambda status: None,
) -> bool:
    """Train what is scheduled for the device (or only those runs), then leave. False: another worker is there already.

    Interrupted (SIGTERM, Ctrl-C), it leaves at once; what was complete is kept and the runs wait for the next worker.
    """
    device = resolve(device)
    signal.signal(signal.SIGTERM, _leave)
    while True:
        try:
            with _lock(device):
                while batch := [run for run in tracking.queue(device) if only is None or run.id in only]:
                    _train(batch, device, on_status)
        except Timeout:
            return False
        # What was scheduled between the last look and the lock's release found the lock held, and starts no worker.
        if not any(only is None or run.id in only for run in tracking.queue(device)):
            return True


def _leave(signum: int, frame: object) -> None:
    raise Stopped


def _train(batch: Sequence[TrackedRun], device: str, on_status: Callable[[WorkerStatus], None]) -> None:
    training = _Training(batch, device, on_status)
    try:
        training.go()
    except (Stopped, KeyboardInterrupt):
        for run_id in training.unfinished():
            tracking.finish(run_id, "SCHEDULED")
        raise


class _Training:
    """Runs being trained together, from taking them to their end."""

    def __init__(self, batch: Sequence[TrackedRun], device: str, on_status: Callable[[WorkerStatus], None]) -> None:
        self.device, self.on_status = device, on_status
        self.status = WorkerStatus(device, os.getpid(), "starting", time.time())
        self.ended: set[int] = set()
        self.left_out: set[int] = set()
        self.asked_at = 0.0
        self.runs: list[TrackedRun] = []
        self.starts: list[Start] = []
        self.machine = _Machine(device)
        for run in batch:
            try:
                start, message = _start_of(run)
            except CnnvizError as error:
                tracking.finish(run.id, "FAILED", str(error))
                continue
            if start.epoch >= run.config.epochs:
                tracking.finish(run.id, "FINISHED", message)
                continue
            tracking.start(run.id, message)
            self.runs.append(run)
            self.starts.append(start)
        self.segments = [list(run.segments) for run in self.runs]
        self.best = [run.best or (0, -1.0) for run in self.runs]

    def unfinished(self) -> list[str]:
        return [run.id for index, run in enumerate(self.runs) if index not in self.ended]

    def go(self) -> None:
        self._say("starting")
        for name in sorted({run.config.dataset for run in self.runs}):
            try:
                if not data.available(name):
                    data.fetch(lambda message, fraction: self._say("fetching data", f"{message} {fraction:.0%}"))
            except CnnvizError as error:
                for index, run in enumerate(self.runs):
                    if run.config.dataset == name:
                        self._end(index, "FAILED", str(error))
        chosen = [index for index in range(len(self.runs)) if index not in self.ended]
        configs = [self.runs[index].config for index in chosen]
        events = shards.train(
            configs,
            [self.starts[index] for index in chosen],
            self.device,
            lambda: {place for place, index in enumerate(chosen) if index in self.left_out},
        )
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, EpochResult):
                    self._record(chosen[event.run], event)
                elif isinstance(event, Told):
                    self._tell([chosen[place] for place in event.shard.runs], event)
                elif isinstance(event, Failed):
                    for place in event.shard.runs:
                        self._end(chosen[place], "FAILED", event.message)
                self._hear()
        for index in self.left_out:
            self._end(index, "KILLED")

    def _record(self, index: int, result: EpochResult) -> None:
        run, epoch = self.runs[index], result.epoch
        if index in self.ended or index in self.left_out:
            return
        segments = self.segments[index]
        if not segments or segments[-1].started_at < self.machine.began:
            shard_size, threads = self.machine.shapes.get(index, (1, 1))
            segments.append(Segment(max(epoch - 1, 0), time.time(), 0.0, self.machine.name, threads, shard_size))
        seconds = segments[-1].seconds + result.metrics["epoch_seconds"]
        segments[-1] = replace(segments[-1], seconds=seconds)
        # The weights first: an epoch that was announced can be taken up from.
        tracking.save_checkpoint(run.id, epoch, result.weights, result.slots)
        tracking.record(run.id, epoch, result.metrics | self.machine.figures(), segments)
        accuracy = result.metrics["test_accuracy"]
        if epoch and accuracy > self.best[index][1]:
            self.best[index] = (epoch, accuracy)
        tracking.thin_checkpoints(run.id, self.best[index][0])
        if epoch >= run.config.epochs:
            self._end(index, "FINISHED")

    def _tell(self, indices: Sequence[int], told: Told) -> None:
        progress = told.progress
        for index in indices:
            self.machine.shapes[index] = (len(told.shard.runs), told.shard.threads)
            run, start = self.runs[index], max(self.starts[index].epoch, 0)
            done = max(progress.epoch - 1 - start, 0) + progress.fraction * (progress.epoch > 0)
            todo = run.config.epochs - start
            rate = progress.images_per_second
            left = (todo - done) * run.config.train_size / rate * 1.1 if rate else None
            self.status.runs[run.id] = RunProgress(progress.epoch, run.config.epochs, min(done / todo, 1.0), rate, left)
        if progress.images_per_second and progress.phase == "training":
            first = self.runs[indices[0]].config
            _note_speed(self.device, first, len(indices), first.batch_size / progress.images_per_second)
        if time.time() - self.status.updated_at > STATUS_SECONDS or progress.phase != self.status.phase:
            self._say(progress.phase)

    def _hear(self) -> None:
        if time.time() - self.asked_at < STOP_LOOK_UP_SECONDS:
            return
        self.asked_at = time.time()
        asked = tracking.stop_requests()
        for index, run in enumerate(self.runs):
            if run.id in asked and index not in self.ended:
                self.left_out.add(index)
                self._end(index, "KILLED")
        self._say(self.status.phase)

    def _end(self, index: int, status: str, message: str = "") -> None:
        if index in self.ended:
            return
        self.ended.add(index)
        self.status.runs.pop(self.runs[index].id, None)
        tracking.finish(self.runs[index].id, status, message)

    def _say(self, phase: str, message: str = "") -> None:
        self.status = replace(self.status, phase=phase, message=message, updated_at=time.time())
        _write(_file(self.device, "json"), json.dumps(asdict(self.status)))
        self.on_status(self.status)


class _Machine:
    """What is recorded about the machine beside every epoch, under MLflow's own names for it."""

    def __init__(self, device: str) -> None:
        self.name, self.began = describe(device), time.time()
        self.shapes: dict[int, tuple[int, int]] = {}  # networks in a run's stack, threads
        self.gpu: Any = None
        if device == "cuda":
            with contextlib.suppress(Exception):  # no driver library: the figures are left out
                import pynvml

                pynvml.nvmlInit()
                self.gpu = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        psutil.cpu_percent()

    def figures(self) -> dict[str, float]:
        figures = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
        }
        if self.gpu is not None:
            import pynvml

            memory = pynvml.nvmlDeviceGetMemoryInfo(self.gpu)
            figures |= {
                "system/gpu_0_utilization_percentage": pynvml.nvmlDeviceGetUtilizationRates(self.gpu).gpu,
                "system/gpu_0_memory_usage_megabytes": memory.used / 1e6,
                "system/gpu_0_temperature_celsius": pynvml.nvmlDeviceGetTemperature(
                    self.gpu, pynvml.NVML_TEMPERATURE_GPU
                ),
            }
        return figures


def _start_of(run: TrackedRun) -> tuple[Start, str]:
    """Where the run goes on: its last recorded epoch or, its checkpoint being damaged, the nearest whole one before."""
    if run.epoch < 0:
        return fresh_start(run.config), ""
    damage: CheckpointError | None = None
    for epoch in [run.epoch, *reversed([each for each in tracking.checkpoint_epochs(run.id) if each < run.epoch])]:
        try:
            slots = tracking.load_optimizer(run, epoch)
            has_state = run.config.optimizer == "adam" or run.config.momentum
            if epoch > run.first_epoch and not slots and has_state:
                raise CheckpointError(f"the optimizer's state after epoch {epoch} is not kept")
            start = Start(epoch, tracking.load_checkpoint(run, epoch), slots)
        except CheckpointError as error:
            damage = damage or error
            continue
        return start, f"went on from epoch {epoch}: {damage}" if damage else ""
    raise damage or StoreError(f"{run.name} has no checkpoint to go on from")


# -- files ---------------------------------------------------------------------------------------


def _file(name: str, kind: str) -> Path:
    folder = tracking.home() / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.{kind}"


@contextlib.contextmanager
def _lock(device: str) -> Iterator[None]:
    lock = FileLock(_file(device, "lock"))
    with lock.acquire(timeout=2):  # somebody may just be looking whether it is held
        yield


def _is_held(device: str) -> bool:
    path = _file(device, "lock")
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _write(path: Path, text: str) -> None:
    """Readers see the old text or the new, never half of one."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _speed_key(config: RunConfig, size: int) -> str:
    return f"{config.model} {config.optimizer} batch {config.batch_size} x {size}"


def _read_speeds(device: str) -> dict[str, float]:
    """Seconds a step, by shape, as measured here."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(_file(device, "speeds").read_text(encoding="utf-8")))
    return {}


def _note_speed(device: str, config: RunConfig, size: int, seconds: float) -> None:
    speeds, key = _read_speeds(device), _speed_key(config, size)
    if math.isclose(speeds.get(key, 0.0), seconds, rel_tol=0.1):
        return
    _write(_file(device, "speeds"), json.dumps(speeds | {key: seconds}))
