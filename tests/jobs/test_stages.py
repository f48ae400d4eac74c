import time
from dataclasses import replace
from typing import Any

import pytest

from cnnviz.jobs import stages
from cnnviz.jobs.status import RunProgress, WorkerStatus
from tests.helpers.runs import run

NOW = 1000.0
WAITING = [replace(run(name), status="SCHEDULED", queued_at=NOW - 3) for name in "ab"]
EXPECTED = {"data": 6.0, "compiling": 10.0, "testing": 40.0}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def status(**reported: Any) -> WorkerStatus:
    return replace(WorkerStatus("cpu", 1, "starting", NOW, expected=EXPECTED), **reported)


def states(found: list[stages.Step]) -> list[str]:
    return [f"{each.title}: {each.state} {each.words}".strip() for each in found]


def test_before_the_worker_has_reported_the_time_since_the_click_is_said() -> None:
    found = states(stages.steps(None, WAITING))
    assert found == [
        "Data: now 3 s",
        "Compiling: next",
        "Testing the untrained networks: next",
        "Training: next",
    ]


def test_every_stage_says_its_time() -> None:
    found = states(stages.steps(status(stages={"data": 5.0, "compiling": 2.0}), WAITING))
    assert found == [
        "Data: done 5 s",
        "Compiling: now 2 s of about 10 s",
        "Testing the untrained networks: next about 40 s",
        "Training: next",
    ]


def test_how_long_testing_takes_follows_from_how_far_it_is() -> None:
    begun = status(stages={"data": 5.0, "compiling": 2.0, "testing": 30.0}, testing_share=0.25)
    step = stages.steps(begun, WAITING)[2]
    assert (step.words, step.share) == ("30 s of about 2 min", 0.25)


def test_what_needs_no_compiling_says_so_and_testing_may_come_before_it() -> None:
    eager = status(stages={"data": 5.0, "testing": 3.0}, expected={"data": 6.0, "testing": 40.0})
    assert "Compiling: left out not needed" in states(stages.steps(eager, WAITING))
    late = states(stages.steps(status(stages={"data": 5.0, "testing": 3.0, "compiling": 1.0}), WAITING))
    assert [each.split(":")[0] for each in late] == [
        "Data",
        "Testing the untrained networks",
        "Compiling",
        "Training",
    ]


def test_one_line_for_every_page() -> None:
    training = status(
        stages={"data": 5.0, "training": 60.0},
        runs={"a": RunProgress(7, 20, 0.3, 900.0, 130.0), "c": RunProgress(9, 20, 0.4, 900.0, 900.0)},
    )
    assert stages.one_line([training], WAITING[:1]) == "1 network · epoch 7 of 20 · 2 min left"
    assert stages.one_line([training], WAITING) == "2 networks · epoch 7 of 20 · 2 min left"
    begun = status(stages={"data": 5.0, "testing": 12.0}, runs={"a": RunProgress(0, 20, 0.0, 0.0, None)})
    behind = RunProgress(0, 20, 0.0, 0.0, None)  # of another stack, whose speed is not known yet
    mixed = replace(training, runs={"a": training.runs["a"], "b": behind})
    assert stages.one_line([mixed], WAITING) == "2 networks · epoch 7 of 20"
    assert stages.one_line([begun], WAITING) == "2 networks · testing the untrained networks · 12 s of about 40 s"
    assert stages.one_line([], WAITING) == "2 networks · data · 3 s"


def test_other_machines_runs_are_named_by_their_place() -> None:
    there = [replace(each, is_here=False, host="lab-3") for each in WAITING]
    nameless = replace(WAITING[0], is_here=False)
    assert stages.elsewhere(WAITING) == ""
    assert stages.elsewhere([*there, nameless]) == "1 network trains on another machine, 2 on lab-3"
    assert stages.one_line([], there) == "2 networks train on lab-3"
    assert stages.one_line([], [*WAITING, *there]).endswith(" · 2 networks train on lab-3")
