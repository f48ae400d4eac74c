import json
import re
from dataclasses import replace
from typing import Any

import pytest

from cnnviz.config import RunConfig, grid
from cnnviz.jobs import estimate, worker
from cnnviz.jobs.files import job_file
from cnnviz.store import changes
from cnnviz.train.loop import Progress, Speed, speed_key
from tests.helpers.workers import TINY

CONV5 = RunConfig(model="conv5", activation="relu", limit_train=2000, epochs=2)


def note(configs: list[RunConfig], step: float = 0.010, picture: float = 0.001, threads: int = 1) -> None:
    estimate.note_speed("cpu", threads, Speed(speed_key(configs, "eager"), step, picture))


def test_estimates_learn_from_what_was_measured() -> None:
    guess = estimate.estimate([TINY], "cpu")
    assert not guess.measured
    assert guess.at_least < guess.seconds < guess.at_most
    assert re.fullmatch(r"1 run, \d+ s? ?to \d+ s here \(not measured yet\)", guess.sentence)
    note([TINY])
    measured = estimate.estimate([TINY], "cpu")
    assert measured.measured
    steps, pictures = 100 + 3 * 300, 4 * 10_000 + 2 * 3000
    assert measured.seconds == pytest.approx(6 + 0.010 * steps + 0.001 * pictures + 4 * 0.03)
    assert measured.at_least == measured.at_most == measured.seconds
    assert measured.sentence == "1 run, about 1 min here"
    assert estimate.estimate(grid(TINY, seed=[0, 1]), "cpu").stacks == 2


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "gelu"},
        {"pooling": "avg"},
        {"optimizer": "adam"},
        {"momentum": 0.0},
        {"weight_decay": 0.1},
        {"batch_size": 20},
        {"epochs": 40},  # its steps are compiled
        {"model": "c4k5-s2-f13"},
    ],
    ids=str,
)
def test_a_speed_is_that_of_the_same_stack_alone(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnviz.train.ways.has_compiler", lambda: True)
    note([TINY])
    assert estimate.estimate([TINY], "cpu").measured
    assert estimate.estimate([replace(TINY, loss="mse", lr=0.5, seed=3)], "cpu").measured
    assert not estimate.estimate([replace(TINY, **change)], "cpu").measured


def test_threads_and_the_number_of_networks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnviz.train.planning.cores", lambda: 2)
    note([CONV5], threads=2)
    assert estimate.estimate([CONV5], "cpu").measured
    assert not estimate.estimate(grid(CONV5, lr=[0.1, 0.2]), "cpu").measured  # a thread each
    note([CONV5])
    assert estimate.estimate(grid(CONV5, lr=[0.1, 0.2]), "cpu").measured
    assert not estimate.estimate(grid(CONV5, lr=[0.1, 0.2, 0.3]), "cpu").measured  # two networks in one of the shards


def test_evaluation_is_most_of_a_short_training_and_counted() -> None:
    """conv5 on 2,000 pictures: 400 steps, and 34,000 pictures evaluated."""
    guess = estimate.estimate([CONV5], "cpu")
    note([CONV5], 0.025, 0.001, estimate.planning.cores())
    measured = estimate.estimate([CONV5], "cpu")
    assert measured.seconds == pytest.approx(6 + 500 * 0.025 + 34_000 * 0.001 + 3 * 0.03)
    assert guess.at_most > 6 + 500 * estimate.planning.guess([CONV5], "eager", estimate.planning.cores())[0]


def test_half_a_measurement_is_none() -> None:
    estimate.note_speed("cpu", 1, Speed(speed_key([TINY], "eager"), 0.01, None))
    estimate.note_speed("cpu", 1, None)
    assert not job_file("cpu", "speeds").exists()


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[1, 2]", "3", '{"c4k5-s2-f12 sgd batch 10 x 1": 0.5}', '{"a": [1], "b": ["x", 2], "c": null}'],
)
def test_other_speeds_are_passed_over(text: str) -> None:
    job_file("cpu", "speeds").write_text(text)
    assert not estimate.estimate([TINY], "cpu").measured
    note([TINY])
    assert estimate.estimate([TINY], "cpu").measured


def test_the_version_before_finds_its_speeds_again() -> None:
    job_file("cpu", "speeds").write_text('{"c4k5-s2-f12 sgd batch 10 x 1": 0.5}')
    note([TINY])
    assert json.loads(job_file("cpu", "speeds").read_text())["c4k5-s2-f12 sgd batch 10 x 1"] == 0.5


@pytest.mark.usefixtures("few_pictures", "no_process_left")
def test_a_worker_measures_what_it_trains() -> None:
    changes.schedule([TINY], "cpu")
    assert worker.work("cpu")
    assert estimate.estimate([TINY], "cpu").measured


def test_what_is_left_counts_evaluation() -> None:
    def left(epoch: int, fraction: float, speed: Speed | None, start: int = 0) -> float | None:
        return estimate.seconds_left(TINY, start, Progress("training", epoch, fraction, 0.0, speed))

    assert left(1, 0.5, None) is None
    assert left(0, 0.0, Speed("", None, 0.001)) is None
    assert left(1, 0.0, Speed("", 0.01, 0.001)) == pytest.approx(3 * 300 * 0.01 + (3 * 10_000 + 3000) * 0.001)
    assert left(3, 0.5, Speed("", 0.01, 0.001)) == pytest.approx(150 * 0.01 + (10_000 + 3000) * 0.001)
    assert left(3, 0.5, Speed("", 0.01, 0.001), start=2) == left(3, 0.5, Speed("", 0.01, 0.001))
    assert left(3, 1.0, Speed("", 0.01, 0.001)) == pytest.approx(13)  # the last evaluation
    assert left(3, 1.0, Speed("", 0.01, None)) == pytest.approx(13 * 0.4)
