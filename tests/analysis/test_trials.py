"""Trials that exist are known for what they are, and what they said."""

from dataclasses import replace
from typing import Any

import pytest

from cnnviz.analysis import trials
from cnnviz.analysis.evidence import Finding, Trial
from cnnviz.store.runs import Run
from tests.helpers.runs import run

SLOWER, LONGER = Trial("Try lr 0.001", {"lr": 0.001}), Trial("Train 4 more epochs", epochs=4)


def trained(name: str, *accuracy: float, target: int | None = None, status: str = "FINISHED", **settings: Any) -> Run:
    base = run(name, epochs=len(accuracy) if target is None else target, **settings)
    return replace(base, accuracy=(0.1, *accuracy), epoch=len(accuracy), status=status)


STALLED = trained("stalled", 0.1, 0.1, 0.1, 0.1)


def plan(found: Run, test: Trial | None, *known: Run) -> trials.Planned:
    (planned,) = trials.planned([(found, Finding("kind", "alarm", "", "", "", test=test))], [found, *known])
    return planned


@pytest.mark.parametrize(
    ("other", "exists"),
    [
        (trained("o", 0.2, 0.3, 0.4, 0.5, lr=0.001), True),
        (trained("o", 0.2, 0.3, 0.4, 0.5, 0.6, lr=0.001), True),  # longer than asked for
        (trained("o", 0.2, 0.3, lr=0.001), False),  # ended before
        (trained("o", 0.2, target=4, status="RUNNING", lr=0.001), True),
        (trained("o", target=4, status="SCHEDULED", lr=0.001), True),
        (trained("o", 0.2, target=4, status="KILLED", lr=0.001), False),
        (trained("o", 0.2, 0.3, 0.4, 0.5, lr=0.001, seed=1), False),
        (trained("o", 0.2, 0.3, 0.4, 0.5, lr=0.0001), False),
        (replace(trained("o", 0.2, 0.3, 0.4, 0.5, lr=0.001), parent="stalled"), False),  # a fork began elsewhere
    ],
)
def test_a_run_is_the_trial_if_nothing_but_its_name_differs(other: Run, exists: bool) -> None:
    planned = plan(STALLED, SLOWER, other)
    assert planned.made == (other if exists else None)
    assert planned.config == replace(STALLED.config, lr=0.001)
    assert (trials.missing([planned]) == []) == exists


def test_more_epochs_exist_if_the_run_goes_on_or_its_twin_went_further() -> None:
    assert plan(STALLED, LONGER).made is None
    going = replace(STALLED, status="SCHEDULED", config=replace(STALLED.config, epochs=8))
    assert plan(going, LONGER).made == going
    assert "goes on by itself: epoch 4 of 8" in trials.said(plan(going, LONGER))
    twin = trained("twin", *[0.1] * 7, 0.4)
    assert plan(STALLED, LONGER, twin).made == twin
    assert trials.said(plan(STALLED, LONGER, twin)) == (
        "Trained to epoch 8 it was better by 30.0 points: at best 40.0 %, against 10.0 % up to epoch 4."
    )
    assert plan(STALLED, LONGER).costs.epochs == 4


def test_what_it_said_is_a_sentence_with_points_and_epochs() -> None:
    better = trained("b", 0.2, 0.3, 0.4, 0.5, 0.9, lr=0.001)
    assert trials.said(plan(STALLED, SLOWER, better)) == "Better by 40.0 points: 50.0 % against 10.0 % within 4 epochs."
    good = trained("g", 0.5, 0.6, 0.6, 0.6)
    worse = trained("w", 0.2, 0.3, 0.4, 0.45, lr=0.001)
    assert trials.said(plan(good, SLOWER, worse)) == "Worse by 15.0 points: 45.0 % against 60.0 % within 4 epochs."
    same = trained("s", 0.5, 0.6, 0.6, 0.601, lr=0.001)
    assert trials.said(plan(good, SLOWER, same)).startswith("Hardly a difference: 60.1 % against 60.0 %")
    slow = replace(trained("e", 0.6, 0.7, target=9, lr=0.001), val_loss=(3.0, 2.0, 1.0), val_accuracy=(0.1, 0.5, 0.6))
    slow = replace(slow, config=replace(slow.config, validation=500, patience=1))
    against = replace(plan(good, SLOWER, worse), made=slow)
    assert trials.said(against) == (
        "Better by 10.0 points: 70.0 % against 60.0 % within 4 epochs "
        "(it stopped early, at epoch 2: its best one counts)."
    )
    waits = trained("o", target=4, status="SCHEDULED", lr=0.001)
    assert trials.said(plan(good, SLOWER, waits)) == "It has no epoch to compare yet."
    assert trials.said(plan(good, SLOWER)) == ""
    assert [trials.result(each) for each in (good, waits)] == ["60.0 %", "waits"]


def test_each_trial_is_trained_once() -> None:
    """Two runs may have one trial between them; each continues for itself, unless it trains already."""
    first, second = trained("a", 0.1, lr=0.1), trained("b", 0.1, lr=0.01)
    both = [(each, Finding("kind", "alarm", "", "", "", test=SLOWER)) for each in (first, second)]
    assert len(trials.missing(trials.planned(both, [first, second]))) == 1
    busy = replace(second, status="RUNNING")
    longer = [(each, Finding("kind", "alarm", "", "", "", test=LONGER)) for each in (first, busy)]
    assert [each.run for each in trials.missing(trials.planned(longer, [first, busy]))] == [first]
    assert trials.planned([(first, Finding("kind", "alarm", "", "", ""))], [first]) == []


def test_a_trial_that_cannot_be_trained_is_none() -> None:
    impossible = Trial("Try 5 pictures", {"limit_train": 5})
    assert trials.planned([(STALLED, Finding("kind", "alarm", "", "", "", test=impossible))], [STALLED]) == []
