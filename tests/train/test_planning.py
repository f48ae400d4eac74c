from dataclasses import replace

import pytest

from cnnviz.config import RunConfig, grid
from cnnviz.train import planning
from cnnviz.train.nodes import Node
from cnnviz.train.planning import Room, Shard

STUDY = grid(
    RunConfig(epochs=20),
    activation=["sigmoid", "tanh"],
    loss=["mse", "cross_entropy"],
    lr=[0.1, 0.01, 0.001],
)
LARGE = RunConfig(model="conv5", activation="relu", epochs=20)


def plan(configs: list[RunConfig], cores: int, gpus: int = 0, widest: int = 4) -> list[Shard]:
    planned = planning.plan(planning.stacks(configs), configs, Room("cluster", cores, gpus, widest))
    assert sorted(member for shard in planned for member in shard.members) == list(range(len(configs)))
    return planned


def sizes(shards: list[Shard]) -> list[int]:
    return sorted(len(shard.members) for shard in shards)


def test_a_machines_stack_is_cut_into_a_shard_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "cores", lambda: 2)
    room = planning.here("cpu")
    groups = planning.stacks(STUDY)
    assert sizes(planning.plan(groups, STUDY, room)) == [6, 6]
    assert planning.plan([[0]], [LARGE], room) == [Shard((0,), 2)]
    assert planning.plan(groups, STUDY, planning.here("mps"))[0].device == "mps"


@pytest.mark.parametrize(("cores", "expected"), [(1, [12]), (4, [3] * 4), (12, [1] * 12), (64, [1] * 12)])
def test_a_clusters_stack_is_cut_in_as_many_as_pay(cores: int, expected: list[int]) -> None:
    assert sizes(plan(STUDY, cores)) == expected


def test_the_last_shards_leave_no_core_idle_for_long() -> None:
    """300 runs in ten stacks on 64 cores: 60 parts of 5, not 70, of which the last six would take as long again."""
    configs = grid(RunConfig(epochs=20), seed=list(range(10)), lr=[round(0.001 * (1 + at), 3) for at in range(30)])
    planned = plan(configs, 64)
    rounds = -(-len(planned) // 64) * max(sizes(planned))
    assert rounds == 5


def test_the_longest_is_first() -> None:
    configs = [*STUDY[:3], LARGE, replace(STUDY[0], epochs=200, seed=1)]
    planned = plan(configs, 4)
    seconds = [planning._shard_seconds(shard, configs) for shard in planned]
    assert seconds == sorted(seconds, reverse=True)
    assert planned[0].members in ((3,), (4,))


def test_a_large_network_gets_the_cores_that_are_left() -> None:
    assert plan([LARGE], 16, widest=8) == [Shard((0,), 8)]
    assert [shard.threads for shard in plan([LARGE, replace(LARGE, seed=1)], 4, widest=4)] == [2, 2]
    assert [shard.threads for shard in plan([STUDY[0]], 16)] == [1]


def test_a_gpu_is_asked_for_where_it_pays() -> None:
    assert [shard.device for shard in plan([LARGE], 16, gpus=1)] == ["cuda"]
    assert {shard.device for shard in plan(STUDY, 16, gpus=1)} == {"cpu"}  # a core each is faster
    assert [(shard.device, len(shard.members)) for shard in plan(STUDY, 1, gpus=1)] == [("cuda", 12)]


def test_a_node_that_cannot_train_gives_no_room() -> None:
    room = planning.of_nodes([Node("a", 4, 1), Node("b", 8), Node("c", 64, 8, trouble="has no cnnviz")])
    assert (room.cores, room.gpus, room.widest) == (12, 1, 8)
