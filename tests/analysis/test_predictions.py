"""What was expected of runs, beside what came."""

from dataclasses import replace

import pytest

from cnnviz.analysis.evidence import Finding
from cnnviz.analysis.predictions import Verdict, answered, predictions, verdicts
from cnnviz.store.runs import Run
from tests.helpers.runs import run

STALLED = Finding("chance_level", "alarm", "Never left chance level", "", "")
EARLY = Finding("chance_level", "note", "Still at chance level", "", "")


def launched(best: int | None, stalled: list[int], overfits: int | None, accuracies: list[float]) -> list[Run]:
    runs = [run(f"r{index}", lr=0.1 / 10**index) for index in range(len(accuracies))]
    said = predictions([each.config for each in runs], 5.0, best, stalled, overfits)
    return [
        replace(each, predicted=expected, accuracy=(0.1, accuracy), epoch=20)
        for each, expected, accuracy in zip(runs, said, accuracies, strict=True)
    ]


def test_what_was_right_and_what_was_not() -> None:
    runs = launched(1, [2], 10, [0.6, 0.5, 0.1])
    overfits = Finding("overfitting", "alarm", "", "", "", 12)
    assert verdicts(runs, {"r0": [overfits], "r1": [EARLY], "r2": [STALLED]}) == [
        Verdict("Which is best?", "lr 0.01", "lr 0.1, 60.0 %; yours ranks 2 of 3", False),
        Verdict("Which do not learn?", "1: lr 0.001", "1: lr 0.001", True),
        Verdict("When does the best one overfit?", "from epoch 10 on", "since epoch 12, 2 epochs later", None),
    ]


@pytest.mark.parametrize(
    ("said", "since", "came", "right"),
    [
        (0, None, "not within 20 epochs", True),
        (0, 7, "since epoch 7", False),
        (7, 7, "since epoch 7", True),
        (8, 7, "since epoch 7, 1 epoch earlier", None),
        (8, None, "not within 20 epochs", False),
    ],
)
def test_when_it_overfits(said: int, since: int | None, came: str, right: bool | None) -> None:
    runs = launched(0, [], said, [0.6, 0.5])
    found = [Finding("overfitting", "alarm", "", "", "", since)] if since else []
    assert verdicts(runs, {"r0": found})[-1] == Verdict(
        "When does the best one overfit?", f"from epoch {said} on" if said else "never", came, right
    )


def test_a_run_alone_is_asked_whether_it_learns() -> None:
    assert verdicts(launched(0, [0], None, [0.5]), {}) == [Verdict("Does it learn?", "no", "yes", False)]
    assert verdicts(launched(0, [], None, [0.1]), {"r0": [STALLED]}) == [Verdict("Does it learn?", "yes", "no", False)]
    early = verdicts(launched(0, [], None, [0.1]), {"r0": [EARLY]})
    assert early == [Verdict("Does it learn?", "yes", "not yet, after 20 epochs", None)]


def test_a_tie_for_the_best_is_right() -> None:
    assert verdicts(launched(1, [], None, [0.6, 0.6]), {})[0].right


def test_what_was_answered_last_comes_first() -> None:
    newest, older = launched(0, [], None, [0.1, 0.2]), launched(0, [], None, [0.3])
    older = [replace(each, predicted=replace(each.predicted, at=1.0)) for each in older if each.predicted]
    assert answered([run("unasked"), *older, *newest]) == [newest, older]
    assert answered([run("unasked")]) == []
