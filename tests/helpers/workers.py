"""A real worker in its own process, and what tests ask of it."""

import subprocess
import sys
import time
from collections.abc import Callable

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.store import connection

TINY = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=3000, epochs=3, lr=0.05, momentum=0.5)


def start_worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cnnviz", "work", "--device", "cpu"]
    with (paths.home() / "test.log").open("ab") as log:
        return subprocess.Popen(command, cwd=paths.PROJECT, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (paths.home() / "test.log").read_text()
        time.sleep(0.05)


def steps_of(run_id: str) -> list[int]:
    client = connection.client()
    return sorted(each.step for each in client.get_metric_history(run_id, "test_loss"))
