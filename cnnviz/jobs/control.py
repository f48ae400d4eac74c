"""The user's side of training: submit, stop, continue, fork; keep a worker running.

One worker a device holds that device's lock file for as long as it lives. A free lock and a run that is RUNNING mean
that the run's worker died; the next one goes on from the last recorded epoch. That is said of this installation's runs:
on a store that several share, each trains its own. The store is the message bus; only what
is out of date in a second (steps, images/s) goes through a status file beside the lock.
"""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from cnnviz import paths
from cnnviz.config import DEVICES, RunConfig
from cnnviz.errors import StoreError
from cnnviz.jobs import devices, processes
from cnnviz.jobs.files import job_file
from cnnviz.jobs.status import WorkerStatus, is_locked, workers
from cnnviz.store import changes, connection, reading
from cnnviz.store.runs import Prediction, Run

RETRY_SECONDS = 30  # after a worker that could not go on, until the next one is started
STAND_BY_SECONDS = 300.0  # that a worker keeps its libraries loaded for runs that are about to be launched
LEAST_FREE = 5_000_000  # bytes on the store's disk without which no worker is started


def submit(
    configs: Sequence[RunConfig], device: str = "auto", predicted: Sequence[Prediction | None] | None = None
) -> list[str]:
    """Schedule the runs and start a worker if there is none; their ids. predicted: what is expected of each."""
    run_ids = changes.schedule(configs, devices.resolve(device), predicted)
    ensure_worker()
    return run_ids


def continue_runs(run_ids: Sequence[str], epochs: int) -> list[str]:
    """Schedule so many more epochs in the same runs, here, wherever they were trained before; their ids."""
    continued = changes.continue_runs(run_ids, epochs, devices.nearest)
    ensure_worker()
    return continued


def fork(run_id: str, epoch: int, settings: Mapping[str, Any], epochs: int) -> str:
    """A new run from another's weights at a saved epoch, with something changed, for so many epochs; its id.

    It trains on its parent's device, if that is here.
    """
    device = devices.nearest(reading.run(run_id).device)
    forked = changes.fork(run_id, epoch, settings, epochs, device)
    ensure_worker()
    return forked


def stop(run_ids: Sequence[str], ended_ok: bool = False) -> None:
    """Stop waiting and training runs; the last complete epoch is kept. ended_ok: a run that is over is no error."""
    changes.request_stop(run_ids, ended_ok)
    ensure_worker()  # a RUNNING run may have lost its worker: the next one carries the request out


_started: dict[str, subprocess.Popen[bytes]] = {}  # by device, by this process
_standing_by: dict[str, subprocess.Popen[bytes]] = {}  # the same: workers that wait to be told to begin
_starting = threading.Lock()  # a server's sessions are threads


def ensure_worker() -> None:
    """Start a detached worker for every device that has runs waiting, or interrupted, and no worker.

    Not within RETRY_SECONDS of one that could not go on, nor on a full disk: troubles() says so.
    """
    if connection.is_read_only():
        return
    with _starting:
        for device in DEVICES[1:]:
            last = next((each for each in workers() if each.device == device), None)
            if device == "cluster" and devices.no_cluster():
                continue
            if _is_loading(device, last) or is_locked(device) or not reading.queue(device):
                continue
            if _free_bytes() >= LEAST_FREE and not (last and _rests(last)):
                standby = _standing_by.pop(device, None)
                _started[device] = standby if standby and _begins(standby) else _new_worker(device)


def stand_by(device: str = "auto") -> None:
    """Somebody is about to launch runs: let a worker load its libraries meanwhile, which takes seconds.

    It waits for STAND_BY_SECONDS, or as long as this process lives, to be told to begin, by ensure_worker().
    """
    device = devices.resolve(device)
    if connection.is_read_only() or device == "cluster" or _free_bytes() < LEAST_FREE:
        return
    with _starting:
        last = next((each for each in workers() if each.device == device), None)
        standby = _standing_by.get(device)
        if (standby and standby.poll() is None) or _is_loading(device, last) or is_locked(device):
            return
        standby = _standing_by[device] = _new_worker(device, "--stand-by")
        leaving = threading.Timer(STAND_BY_SECONDS, _dismiss, [standby])
        leaving.daemon = True
        leaving.start()


def _new_worker(device: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cnnviz", "work", "--device", device, *options]
    return processes.detached(command, job_file(device, "log"), is_told=bool(options))


def _begins(standby: subprocess.Popen[bytes]) -> bool:
    """Tell it to; False: it has left."""
    assert standby.stdin is not None
    try:
        with standby.stdin as told:
            told.write(b"begin\n")
    except (OSError, ValueError):
        return False
    return standby.poll() is None


def _dismiss(standby: subprocess.Popen[bytes]) -> None:
    if standby.stdin is not None:
        standby.stdin.close()


def _is_loading(device: str, last: WorkerStatus | None) -> bool:
    """Whether a worker was started here that has not taken its lock yet: it loads its libraries for seconds. One that
    has reported and holds no lock is leaving, which takes it a second, and looks at the queue no more."""
    process = _started.get(device)
    return process is not None and process.poll() is None and not (last and last.pid == process.pid)


def _rests(status: WorkerStatus) -> bool:
    return status.phase == "failed" and not status.alive and 0 <= time.time() - status.updated_at < RETRY_SECONDS


def _free_bytes() -> int:
    return shutil.disk_usage(paths.home()).free


def troubles(statuses: Sequence[WorkerStatus], active: Sequence[Run] = ()) -> list[str]:
    """What keeps waiting runs from being trained, one line each."""
    if connection.is_read_only():
        return [f"Training waits: nothing can be written to {paths.home()}. Allow it, or set CNNVIZ_HOME to a copy."]
    lines = []
    if (free := _free_bytes()) < LEAST_FREE:
        room = f"{free / 1e6:.1f} MB"
        lines.append(f"Training waits: the disk of {paths.home()} has {room} left. Free some space; it goes on then.")
    if any(run.device == "cluster" and run.is_here for run in active) and (reason := devices.no_cluster()):
        lines.append(f"Training waits: {reason}.")
    lines += [f"{each.away}." for each in statuses if each.away]
    lines += [
        f"The worker on {each.device} had to stop: {each.message}. It is started again within {RETRY_SECONDS} s."
        for each in statuses
        if each.phase == "failed" and not each.alive
    ]
    return lines


def replace_worker(device: str) -> None:
    """Kill a worker that hangs, with the processes it started, and start another: its runs go on from their last epoch.

    Raises StoreError if the process is not on this machine, is another user's or is not a worker.
    """
    status = next((each for each in workers() if each.device == device), None)
    if status and status.alive and status.pid:
        try:
            worker = psutil.Process(status.pid)
            if "cnnviz" not in " ".join(worker.cmdline()):
                raise StoreError(
                    f"process {status.pid} is not a worker: end what holds {job_file(device, 'lock')} by hand"
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
