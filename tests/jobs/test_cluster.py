"""The same runs on a Ray cluster whose nodes die: a head and three nodes, all on this machine, shared by these tests.

By hand, for longer, on real pictures:
CNNVIZ_KILLS=20 CNNVIZ_DATA=… pytest -s tests/jobs/test_cluster.py -k random
"""

import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from cnnviz import paths
from cnnviz.config import RunConfig, grid
from cnnviz.jobs import nodes
from cnnviz.jobs.status import workers
from cnnviz.store import artifacts, changes, reading
from tests.conftest import REAL_DATA
from tests.helpers import warm_python
from tests.helpers.processes import Started
from tests.helpers.workers import LONG, steps_of, wait_for

pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-cluster.txt")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
    pytest.mark.usefixtures("on_cluster"),
]

KILLS = int(os.environ.get("CNNVIZ_KILLS", "2"))
BY_HAND = KILLS > 2
AT_ONCE = min(KILLS, 4)  # while one grid is trained
SEED = int(os.environ.get("CNNVIZ_SEED", "0")) or random.randrange(1, 10**6)
SMALL = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=1000, momentum=0.5, epochs=2)
NODES = 3 if BY_HAND else 2
OPTIONS: dict[str, Any] = {
    "object_store_memory": 300_000_000,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}
WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "cnnviz":
            raise ModuleNotFoundError("No module named 'cnnviz'", name=name)

sys.meta_path.insert(0, Blocked())
"""


class Nodes:
    """A head without cores and nodes of one core each, whose workers start warm."""

    def __init__(self, folder: Path) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.warm: dict[str, Any] = {
            "setup_worker_path": warm_python.__file__,
            "env_vars": warm_python.settings(folder),
        }
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **OPTIONS, **self.warm})
        self.nodes = [self.add(**self.warm) for _ in range(NODES)]

    def add(self, **options: Any) -> Any:
        """One more; on a busy machine Ray gives up after half a minute, and succeeds at the next try."""
        for _ in range(3):
            with contextlib.suppress(Exception):
                return self.cluster.add_node(wait=False, num_cpus=1, **OPTIONS, **options)
        return self.cluster.add_node(wait=False, num_cpus=1, **OPTIONS, **options)

    def kill(self, node: Any) -> None:
        """As if its power had gone."""
        node.all_processes["raylet"][0].process.kill()

    def renew(self, node: Any) -> None:
        """Another in the place of one that was killed."""
        with contextlib.suppress(Exception):
            self.cluster.remove_node(node, allow_graceful=False)
        self.nodes[self.nodes.index(node)] = self.add(**self.warm)

    def tasks(self, *some: Any) -> list[psutil.Process]:
        """What trains on these nodes, or on all; Ray calls a process after what it does."""
        found = []
        for raylet in (node.all_processes["raylet"][0].process.pid for node in some or self.nodes):
            started = warm_python.started_by(raylet, self.folder)
            with contextlib.suppress(psutil.Error):
                started += [each.pid for each in psutil.Process(raylet).children()]
            for pid in started:
                with contextlib.suppress(psutil.Error):
                    found += [each for each in [psutil.Process(pid)] if "_train" in " ".join(each.cmdline())]
        return found

    def lose_head(self) -> None:
        for processes in self.cluster.head_node.all_processes.values():
            processes[0].process.kill()

    def start_again(self) -> None:
        """All of it, at the same address; its tasks start cold."""
        from ray.cluster_utils import Cluster

        port = int(self.cluster.address.rpartition(":")[2])
        for node in self.nodes:
            node.kill_all_processes(check_alive=False)
        options = {"num_cpus": 0, "gcs_server_port": port, **OPTIONS}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self.nodes = [self.add()]


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("warm")
    with warm_python.serving(folder):
        try:
            made = Nodes(folder)
        except Exception as error:  # Ray raises its own, and the system's: of ports, of shared memory
            pytest.skip(f"Ray does not start here: {type(error).__name__}: {error}")
        yield made
        made.cluster.shutdown()


@pytest.fixture
def on_cluster(_cluster: Nodes, few_pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setenv("CNNVIZ_RAY", _cluster.cluster.address)
    if BY_HAND:
        monkeypatch.setenv("CNNVIZ_DATA", str(REAL_DATA))
    return _cluster


@contextlib.contextmanager
def working(device: str = "cluster") -> Iterator[Started]:
    """A worker, for as long as the block lasts."""
    process = Started("cnnviz", "work", "--device", device, log=paths.home() / "test.log")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(run_ids: list[str]) -> Callable[[], bool]:
    return lambda: not any(reading.run(run_id).active for run_id in run_ids)


def begun(run_ids: list[str]) -> Callable[[], bool]:
    return lambda: any(reading.run(run_id).status == "RUNNING" for run_id in run_ids)


def seen() -> nodes.Seen:
    found = nodes.seen(os.environ["CNNVIZ_RAY"])
    assert found is not None
    return found


def weights(run_id: str) -> dict[int, dict[str, torch.Tensor]]:
    run = reading.run(run_id)
    return {epoch: artifacts.load_checkpoint(run, epoch) for epoch in artifacts.checkpoint_epochs(run_id)}


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def the_grid() -> list[RunConfig]:
    base = replace(SMALL, limit_train=500)
    if BY_HAND:
        base = replace(base, model="lenet5x5", dataset="cifar10", limit_train=2000, epochs=6, momentum=0.0)
    rates, kinds, losses = [0.1, 0.01, 0.001], ["sigmoid", "tanh"], ["mse", "cross_entropy"]
    return grid(base, lr=rates, activation=kinds, loss=losses)


def test_nodes_that_die_at_random_cost_nothing(on_cluster: Nodes) -> None:
    configs, dice = the_grid(), random.Random(SEED)
    print(f"CNNVIZ_SEED={SEED}")
    undisturbed = changes.schedule(configs, "cluster")
    with working() as worker:
        wait_for(begun(undisturbed))
        began = time.monotonic()
        wait_for(ended(undisturbed), 600)
        took = time.monotonic() - began
        worker.wait(60)
    assert {reading.run(run_id).status for run_id in undisturbed} == {"FINISHED"}
    segments = [reading.run(run_id).segments[-1] for run_id in undisturbed]
    assert {segment.stack for segment in segments} == {len(configs) // NODES}
    assert len({segment.device for segment in segments}) == NODES  # each node trained some
    for _ in range(KILLS // AT_ONCE):
        run_ids, met = changes.schedule(configs, "cluster"), 0
        with working() as worker:
            wait_for(begun(run_ids))
            for _ in range(AT_ONCE):
                time.sleep(dice.uniform(0, took / AT_ONCE))
                victim = dice.choice(on_cluster.nodes)
                met += bool(on_cluster.tasks(victim))
                on_cluster.kill(victim)
                on_cluster.renew(victim)
            wait_for(ended(run_ids), 600)
            worker.wait(120)
        runs = [reading.run(run_id) for run_id in run_ids]
        assert [run.status for run in runs] == ["FINISHED"] * len(configs), [run.message for run in runs]
        for metric in ("test_loss", "train_loss_exact"):
            recorded = [list(range(run.config.epochs + 1)) if metric == "test_loss" else [0, run.epoch] for run in runs]
            assert [steps_of(run.id, metric) for run in runs] == recorded
        for before, run in zip(undisturbed, runs, strict=True):
            kept = weights(before)
            assert all(same(kept[epoch], one) for epoch, one in weights(run.id).items() if epoch in kept)
            assert run.epoch in kept
        print(f"{met} of {AT_ONCE} nodes died with a task; {dict(Counter(run.message for run in runs))}", flush=True)


def test_what_is_asked_of_a_worker_and_its_end_reach_its_tasks(on_cluster: Nodes, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    bare = on_cluster.add(node_name="bare", env_vars={"PYTHONPATH": str(tmp_path)})
    on_cluster.cluster.wait_for_nodes()
    stopped, left = changes.schedule([replace(LONG, lr=lr) for lr in (0.01, 0.001)], "cluster")
    with working() as worker:
        wait_for(lambda: min(reading.run(stopped).epoch, reading.run(left).epoch) > 0, 300)
        wait_for(lambda: sum(node.busy_cores for node in seen().nodes) == 2)  # Ray counts them late
        found = seen()
        assert sorted(node.name for node in found.nodes if node.trouble) == ["bare"]
        assert "1 cannot train" in nodes.headline(found)
        assert "node bare cannot import cnnviz (No module named 'cnnviz')" in reading.run(left).message
        assert len(on_cluster.tasks()) == 2
        changes.request_stop([stopped])
        wait_for(lambda: len(on_cluster.tasks()) == 1)
        assert [reading.run(each).status for each in (stopped, left)] == ["KILLED", "RUNNING"]
        worker.kill()
        wait_for(lambda: not on_cluster.tasks())
    on_cluster.cluster.remove_node(bare, allow_graceful=False)
    changes.finish(left, "KILLED", None)


def test_without_its_head_the_worker_waits_and_goes_on(on_cluster: Nodes) -> None:
    """The last test here, as it takes the cluster down."""
    (run_id,) = changes.schedule([replace(SMALL, limit_train=3000, epochs=10)], "cluster")
    with working() as worker:
        wait_for(lambda: reading.run(run_id).epoch > 0)
        on_cluster.lose_head()
        wait_for(lambda: [each.phase for each in workers()] == ["waiting for the cluster"])
        waiting = reading.run(run_id)
        assert waiting.status == "SCHEDULED"
        assert f"the Ray cluster at {os.environ['CNNVIZ_RAY']} does not answer" in waiting.message
        wait_for(lambda: not on_cluster.tasks())
        on_cluster.start_again()
        wait_for(ended([run_id]), 600)
        worker.wait(60)
    assert reading.run(run_id).status == "FINISHED"
    assert steps_of(run_id) == list(range(11))
