"""What a worker says of itself: a lock that it holds for as long as it lives, and a status file beside the lock."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from cnnviz import paths
from cnnviz.config import DEVICES

SILENT_SECONDS = 90  # without a word from a worker, after which it is said to hang


SHARD_SILENT_SECONDS = 600  # the same for a process it started: compiling and evaluating take minutes on a slow machine


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


def workers() -> list[WorkerStatus]:
    """The workers there are or were, as they last said; alive tells which still are."""
    found = []
    for device in DEVICES[1:]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(worker_file(device, "json").read_text(encoding="utf-8"))
            runs = {run_id: RunProgress(**progress) for run_id, progress in said.pop("runs").items()}
            found.append(WorkerStatus(**said | {"runs": runs, "alive": is_held(device)}))
    return found


def worker_file(name: str, kind: str) -> Path:
    folder = paths.home() / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.{kind}"


@contextlib.contextmanager
def worker_lock(device: str) -> Iterator[None]:
    with FileLock(worker_file(device, "lock")).acquire(timeout=2):  # somebody may just be looking whether it is held
        yield


def is_held(device: str) -> bool:
    path = worker_file(device, "lock")
    if not path.exists():
        return False
    try:
        # Who looks holds it for an instant, too, so a single look may see nothing but another one.
        with FileLock(path).acquire(timeout=0.02, poll_interval=0.005):
            return False
    except Timeout:
        return True


def write_whole(path: Path, text: str) -> None:
    """Readers see the old text or the new, never half of one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
