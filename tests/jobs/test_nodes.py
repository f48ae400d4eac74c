from dataclasses import replace

import pytest

from cnnviz.config import RunConfig, grid
from cnnviz.jobs import control, devices, estimate, nodes
from cnnviz.train.nodes import Node
from tests.helpers.runs import run

NODES = [Node("a", 8, 1, busy_cores=5), Node("b", 8, busy_cores=7), Node("c", 4, trouble="has no cnnviz")]


def test_what_was_seen_of_one_cluster_is_not_anothers() -> None:
    assert nodes.seen("head:1") is None
    nodes.note("head:1", NODES)
    found = nodes.seen("head:1")
    assert found is not None
    assert list(found.nodes) == NODES
    assert nodes.seen("head:2") is None
    assert nodes.headline(found) == "2 nodes · 16 cores, 12 busy · 1 GPU, none busy · 1 cannot train"
    nodes.note("head:1", (), "the Ray cluster does not answer")
    assert nodes.room("head:1") is None
    lost = nodes.seen("head:1")
    assert lost is not None
    assert nodes.headline(lost) == "the Ray cluster does not answer"


def test_nodes_are_looked_at_once_and_by_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(nodes.processes, "detached", lambda command, log, **settings: started.append([*command]))
    monkeypatch.setattr(nodes, "_looked_at", float("-inf"))
    nodes.look("head:1")
    nodes.look("head:1")
    assert [command[-1] for command in started] == ["cluster"]
    monkeypatch.setattr(nodes, "_looked_at", float("-inf"))
    nodes.note("head:1", NODES)  # by a worker
    nodes.look("head:1")
    assert len(started) == 1


def test_an_estimate_counts_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_RAY", "head:1")
    monkeypatch.setattr("cnnviz.jobs.devices.no_cluster", lambda: "")
    monkeypatch.setattr("cnnviz.train.planning.cores", lambda: 2)
    configs = grid(RunConfig(dataset="synthetic", epochs=20), lr=[0.001 * (1 + at) for at in range(12)])
    unseen = estimate.estimate(configs, "cluster")
    assert "until it has been seen" in unseen.sentence
    nodes.note("head:1", [Node("a", 4)])
    small = estimate.estimate(configs, "cluster")
    assert "on the cluster's 4 cores" in small.sentence
    nodes.note("head:1", [Node("a", 4), Node("b", 8)])
    large = estimate.estimate(configs, "cluster")
    assert large.seconds < 0.6 * small.seconds < unseen.seconds
    nodes.note("head:1", [Node("a", 4000)])
    many = grid(RunConfig(dataset="synthetic", limit_train=100), lr=[0.001 * (1 + at) for at in range(300)])
    assert estimate.estimate(many, "cluster").seconds >= 300 * 2 * estimate.RECORD_SECONDS  # one worker records them


def test_runs_that_wait_for_a_cluster_say_what_is_missing() -> None:
    waiting = replace(run("a"), device="cluster", status="SCHEDULED")
    assert control.troubles([], [waiting]) == [f"Training waits: {devices.no_cluster()}."]
    assert control.troubles([], [replace(waiting, device="cpu")]) == []
