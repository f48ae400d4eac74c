import os
import signal
from collections.abc import Collection, Iterator
from dataclasses import replace

import psutil
import pytest

from cnnviz.config import RunConfig
from cnnviz.train import planning, shards
from cnnviz.train.loop import EpochResult, LateFigures, Progress, fresh_start
from cnnviz.train.planning import Shard
from cnnviz.train.shards import Done, ShardFailed, ShardProgress

TINY = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=1000, epochs=2, lr=0.05, momentum=0.5)
LONG = replace(TINY, batch_size=500, epochs=1000)  # of too few steps for any of them to be compiled
pytestmark = pytest.mark.usefixtures("few_pictures")


def test_no_environment_is_left_changed_by_starting_a_shard() -> None:
    before = dict(os.environ)
    process = shards._ShardProcess(Shard((0,), 1), [TINY], [fresh_start(TINY)], "cpu")
    assert dict(os.environ) == before
    process.kill()
    process.pipe.close()


def test_results_name_the_members_that_the_caller_gave() -> None:
    """Not their positions in a shard, which sorts them by activation."""
    configs = [replace(LONG, epochs=2, activation=activation) for activation in ("tanh", "relu", "tanh")]
    configs[0] = replace(configs[0], epochs=LONG.epochs)
    shard = Shard((2, 0), 1)
    left_out: set[int] = set()
    results, late = list[EpochResult](), list[int]()
    for event in shards.train(configs, shards=[shard, Shard((1,), 1)], stopped=lambda: left_out):
        if isinstance(event, LateFigures):
            assert [each.epoch for each in results if each.member == event.member] == [0]
            late.append(event.member)
        if isinstance(event, EpochResult):
            results.append(event)
            if event.member == 0:
                left_out.add(0)  # it alone, which is at position 1
    assert {event.member for event in results} == {0, 1, 2}
    assert max(event.epoch for event in results if event.member == 0) < LONG.epochs
    assert [event.epoch for event in results if event.member == 2] == [0, 1, 2]
    assert set(late) >= {1, 2}
    assert len(set(late)) == len(late)
    assert {event.stack for event in results if event.member == 1} == {(1,)}
    assert next(event for event in results if event.member == 2).stack == (2, 0)


def test_a_killed_shard_is_reported_as_one_that_died() -> None:
    shards.warm_up("cpu")
    failures, before = [], psutil.Process().children(recursive=True)  # servers of the tests that had no work
    for event in shards.train([LONG]):
        if isinstance(event, ShardProgress) and event.progress.phase != "loading data":
            for process in psutil.Process().children(recursive=True):
                if not process.children() and process not in before:
                    process.send_signal(signal.SIGKILL)
        if isinstance(event, ShardFailed):
            failures.append(event)
    assert [(failure.shard, failure.died) for failure in failures] == [(Shard((0,), 1), True)]
    assert "was killed (signal 9)" in failures[0].message


def test_progress_names_its_shard() -> None:
    events = [event for event in shards.train([TINY]) if isinstance(event, ShardProgress)]
    assert {event.shard for event in events} == {Shard((0,), 1)}
    assert events[0].progress == Progress("loading data", 0, 0.0, 0.0)
    assert events[-1].progress.speed is not None


class Full:
    """An engine that has room for nothing."""

    room = planning.here("cpu")

    def start(self, *arguments: object) -> None:
        pass

    def messages(self, working: Collection[object], seconds: float) -> Iterator[tuple[object, Done]]:
        return iter(())

    def troubles(self) -> list[str]:
        return []


def test_what_waits_for_room_and_is_left_out_is_waited_for_no_more() -> None:
    left_out: set[int] = set()
    events = shards.train([TINY, TINY], shards=[Shard((0, 1), 1)], stopped=lambda: left_out, engine=Full())
    assert next(events) is None
    left_out.add(0)
    assert next(events) is None
    left_out.add(1)
    assert list(events) == [None]
