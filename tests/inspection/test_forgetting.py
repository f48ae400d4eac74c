"""Fates and forgetting events against loops over every picture."""

import numpy as np
import pytest
import torch

from cnnviz.inspection.forgetting import FATES, learned
from cnnviz.inspection.mistakes import NO_ANSWER


def naive(epochs: list[int], right: list[bool]) -> tuple[int, int, int, str]:
    """First right, right since, forgetting events, fate: of one picture."""
    first, since, events = -1, -1, 0
    before = False
    for epoch, now in zip(epochs, right, strict=True):
        if now and first < 0:
            first = epoch
        if now and not before:
            since = epoch
        if before and not now:
            events, since = events + 1, -1
        before = now
    if first < 0:
        return first, since, events, "never"
    if since < 0:
        return first, since, events, "forgotten"
    return first, since, events, "early" if since <= (epochs[0] + epochs[-1]) / 2 else "late"


@pytest.mark.parametrize("epochs", [list(range(1, 21)), [1, 2, 4, 8, 9], [3], [7, 8]])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_picture_as_a_loop_has_it(epochs: list[int], share: float) -> None:
    random = np.random.default_rng(len(epochs))
    labels = random.integers(0, 10, 400)
    wrong = np.where(random.random(400) < 0.1, NO_ANSWER, (labels + 1) % 10)
    answers = np.where(random.random((len(epochs), 400)) < share, labels, wrong)
    found = learned(epochs, answers, torch.from_numpy(labels))
    assert found is not None
    for picture, right in enumerate((answers == labels).T.tolist()):
        got = (
            found.first_right[picture],
            found.right_since[picture],
            found.forgettings[picture],
            FATES[found.fate[picture]],
        )
        assert got == naive(epochs, right), right
    counts = found.counts()
    assert sum(counts.values()) == 400
    for fate in FATES:
        pictures = found.pictures(fate)
        assert len(pictures) == counts[fate]
        assert {FATES[each] for each in found.fate[pictures]} <= {fate}


def test_the_clearest_come_first() -> None:
    # A picture a column, an epoch a row; 1: right.
    right = np.array(
        [[0, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 1], [1, 0, 1, 0, 1, 1]]
    )
    found = learned([1, 2, 3, 4, 5], right, np.ones(6, int))
    assert found is not None
    assert found.pictures("early").tolist() == [2, 0, 5]
    assert found.pictures("late").tolist() == [4]
    assert found.pictures("forgotten").tolist() == [1, 3]
    assert found.forgettings.tolist() == [0, 2, 0, 2, 0, 0]


def test_an_untrained_networks_luck_does_not_count() -> None:
    found = learned([0, 1, 2], np.array([[1, 1], [0, 0], [0, 1]]), np.array([1, 1]))
    assert found is not None
    assert found.counts() == {"early": 0, "late": 1, "forgotten": 0, "never": 1}
    assert found.forgettings.tolist() == [0, 0]
    assert learned([0], np.array([[1, 1]]), np.array([1, 1])) is None
