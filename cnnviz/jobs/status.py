"""What a worker reports: a lock that it holds for as long as it lives, and a status file beside the lock."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import psutil
from filelock import FileLock, Timeout

from cnnviz.config import DEVICES
from cnnviz.jobs.files import job_file, write_atomically

STAGES = ("data", "compiling", "testing", "training")  # of a launch; "data" includes the start of the worker
SILENT_SECONDS = 90  # without a new status, after which a worker is said to hang
SHARD_SILENT_SECONDS = 600  # the same for its processes: compiling and evaluating take minutes on a slow machine
FRESH_SECONDS = 10  # a worker writes its status several times in so long
CLOCK_SECONDS = 1.0  # the system knows to the second when a process started


@dataclass(frozen=True)
class RunProgress:
    epoch: int  # being trained, from 1; 0: the untrained network is being evaluated
    target: int
    fraction: float  # of this segment's epochs
    images_per_second: float
    seconds_left: float | None  # None: not known yet


@dataclass(frozen=True)
class WorkerStatus:
    """A worker's last report."""

    device: str
    pid: int  # 0: not known, as it has not reported yet
    phase: str  # "starting", "fetching data", "loading data", "compiling", "training", "evaluating"
    updated_at: float  # seconds since 1970
    runs: dict[str, RunProgress] = field(default_factory=dict)
    message: str = ""
    alive: bool = True  # its lock is held
    silent_seconds: float = 0.0  # the longest that one of its processes had not reported, at updated_at
    stages: dict[str, float] = field(default_factory=dict)  # of STAGES, as they began: seconds, of the last so far
    expected: dict[str, float] = field(default_factory=dict)  # seconds a stage takes here, before it begins
    testing_share: float = 0.0  # of the pictures that the untrained networks are shown
    spools: str = ""  # the server that is away, while what is trained is kept here until it is back

    @property
    def away(self) -> str:
        """One line about a server that is away while training goes on; "" if none is."""
        if not (self.alive and self.spools):
            return ""
        return f"Training goes on: what {self.spools} does not record now is kept here, and recorded once it answers"

    @property
    def hangs_for(self) -> float | None:
        """Seconds since anything moved, if that is too long for anything but a worker that hangs."""
        age = max(0.0, time.time() - self.updated_at)
        if not self.alive or (age < SILENT_SECONDS and self.silent_seconds + age < SHARD_SILENT_SECONDS):
            return None
        return self.silent_seconds + age


def workers() -> list[WorkerStatus]:
    """The workers there are or were, by their last report; alive: which still are."""
    found = []
    for device in DEVICES[1:]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            reported = json.loads(job_file(device, "json").read_text(encoding="utf-8"))
            reported["runs"] = {
                run_id: RunProgress(**_known(RunProgress, each)) for run_id, each in reported["runs"].items()
            }
            status = WorkerStatus(**_known(WorkerStatus, reported) | {"alive": is_locked(device)})
            # A status belongs to the process that wrote it: who holds the lock now has not written its own yet.
            replaced = status.alive and not _may_be_running(status)
            found.append(WorkerStatus(device, 0, "starting", time.time()) if replaced else status)
    return found


def _known(kind: type[RunProgress] | type[WorkerStatus], noted: dict[str, Any]) -> dict[str, Any]:
    """What this version knows of a report; a newer cnnviz may write more."""
    return {each.name: noted[each.name] for each in fields(kind) if each.name in noted}


def _may_be_running(status: WorkerStatus) -> bool:
    """Whether the process that wrote this status may still be running: under its id, which may be another's by now, or
    on another machine that shares the folder and has just written."""
    if abs(time.time() - status.updated_at) < FRESH_SECONDS:
        return True
    try:
        process = psutil.Process(status.pid)
        return process.create_time() <= status.updated_at + CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def publish(status: WorkerStatus) -> None:
    """Write a worker's report where workers() reads it. Raises OSError."""
    write_atomically(job_file(status.device, "json"), json.dumps(asdict(status)))


@contextlib.contextmanager
def locked(device: str) -> Iterator[None]:
    """Hold the device's lock. Raises filelock.Timeout if another worker does."""
    with FileLock(job_file(device, "lock")).acquire(timeout=2):  # is_locked() holds it for an instant, too
        yield


def is_locked(device: str) -> bool:
    path = job_file(device, "lock")
    if not path.exists():
        return False
    try:
        # Another caller may hold it for this instant, so a single try would not do.
        with FileLock(path).acquire(timeout=0.02, poll_interval=0.005):
            return False
    except Timeout:
        return True
    except OSError:  # a store that is only looked at: whose status is new, lives
        with contextlib.suppress(OSError):
            return time.time() - job_file(device, "json").stat().st_mtime < FRESH_SECONDS
        return False
