"""What becomes of runs whose shards die, by an engine of this machine that loses them."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from cnnviz.config import RunConfig
from cnnviz.errors import ClusterError
from cnnviz.jobs import engines, worker
from cnnviz.jobs.status import WorkerStatus, workers
from cnnviz.store import changes, reading
from cnnviz.train.shards import Engine, Processes, ShardFailed

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")
SHORT = RunConfig(model="c2k5-s2-f6", dataset="synthetic", limit_train=100, epochs=1)


class Losing(Processes):
    """Loses so many shards, each with its node or killed, before it trains one."""

    def __init__(self, losses: int, is_lost: bool) -> None:
        super().__init__("cpu")
        self.losses, self.is_lost = losses, is_lost

    def messages(self, working: Collection[Any], seconds: float) -> Iterator[tuple[Any, Any]]:
        if not self.losses:
            yield from super().messages(working, seconds)
            return
        for process in working:
            self.losses -= 1
            process.kill()
            yield process, ShardFailed(process.shard, "node a was lost", died=True, is_lost=self.is_lost)

    def troubles(self) -> list[str]:
        return ["node b has another version of cnnviz than the worker"]


@pytest.mark.parametrize(
    ("losses", "is_lost", "status"),
    [(3, True, "FINISHED"), (99, True, "FAILED"), (1, False, "FINISHED"), (2, False, "FAILED")],
)
def test_a_lost_node_is_no_runs_fault(losses: int, is_lost: bool, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Losing(losses, is_lost)
    monkeypatch.setattr(engines, "connected", lambda device: contextlib.nullcontext(engine))
    (run_id,) = changes.schedule([SHORT], "cpu")
    assert worker.work("cpu")
    run = reading.run(run_id)
    assert run.status == status, run.message
    if status == "FAILED":
        assert run.message == "node a was lost"
        assert losses - engine.losses == (worker.LOST_NODES + 1 if is_lost else 2)
    else:
        assert "node b has another version" in run.message


def test_a_cluster_that_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    @contextlib.contextmanager
    def connected(device: str) -> Iterator[Engine[Any]]:
        tries.append(device)
        if len(tries) < 3:
            raise ClusterError("the Ray cluster at head:6379 does not answer")
        yield Processes("cpu")

    monkeypatch.setattr(engines, "connected", connected)
    monkeypatch.setattr(worker, "WAIT_SECONDS", 0.0)
    (run_id,) = changes.schedule([SHORT], "cpu")
    seen: list[WorkerStatus] = []
    assert worker.work("cpu", on_status=seen.append)
    assert [each.message for each in seen if each.phase == worker.WAITING_FOR_CLUSTER] == [
        "the Ray cluster at head:6379 does not answer"
    ] * 2
    assert reading.run(run_id).status == "FINISHED"
    assert workers()[0].phase != "failed"
