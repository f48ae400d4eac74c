import contextlib
import os
from collections.abc import Iterator

import psutil
import pytest

from cnnviz.jobs import control, processes
from tests.helpers.processes import detached


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """Kills what a test leaves running, not what was there before it."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = []
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            lasting = "resource_tracker" in command or ("forkserver" in command and process.ppid() == os.getpid())
            if not lasting:  # Python's own two stay for the whole session
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=10)
    for standby in control._standing_by.values():
        control._dismiss(standby)
    for started in (*control._started.values(), *control._standing_by.values()):
        started.wait()
    control._started.clear()
    control._standing_by.clear()


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that cnnviz starts are there at once."""
    monkeypatch.setattr(processes, "detached", detached)
