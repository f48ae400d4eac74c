"""A real worker in its own process, and what tests ask of it."""

import time
from collections.abc import Callable
from dataclasses import replace

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.store import connection
from tests.helpers.processes import Started

TINY = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=3000, epochs=3, lr=0.05, momentum=0.5)
TINIEST = replace(TINY, limit_train=500)  # where how long it trains is of no account
LONG = replace(TINY, batch_size=1000, epochs=1000)  # minutes, of too few steps for any of them to be compiled


def start_worker() -> Started:
    return Started("cnnviz", "work", "--device", "cpu", log=paths.home() / "test.log")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (paths.home() / "test.log").read_text()
        time.sleep(0.1)


def steps_of(run_id: str, metric: str = "test_loss") -> list[int]:
    client = connection.client()
    return sorted(each.step for each in client.get_metric_history(run_id, metric))
