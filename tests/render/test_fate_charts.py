"""What became of pictures over the epochs: bands that add up to the accuracy, and bars of forgetting events."""

import json

import numpy as np
import pytest

from cnnviz.inspection.forgetting import Learned, learned
from cnnviz.inspection.mistakes import NO_ANSWER
from cnnviz.render import fate_charts
from cnnviz.render.epoch_strips import as_html, story

LABELS = np.array([0, 1, 2, 0, 1])
ANSWERS = np.array([[0, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 1, 1, 0, 1], [0, 1, 1, 1, 0]])
EPOCHS = [1, 2, 3, 4]


def found() -> Learned:
    it = learned(EPOCHS, ANSWERS, LABELS)
    assert it is not None
    return it


def test_an_epochs_bands_add_up_to_its_accuracy() -> None:
    shares = fate_charts.right_by_fate(found(), ANSWERS, LABELS)
    assert shares.groupby("epoch").share.sum().tolist() == pytest.approx([60, 40, 80, 40])
    last = shares[shares.epoch == 4].set_index("fate").share
    assert (last["early"], last["forgotten"]) == (40, 0)
    drawn = json.dumps(fate_charts.over_epochs(shares).to_dict())
    assert "learned early" in drawn
    assert "never right" not in drawn


def test_forgetting_events_of_what_was_ever_right() -> None:
    assert fate_charts.events(found()) == [("0", 2), ("1", 0), ("2", 2)]
    (rows,) = fate_charts.forgettings([("0", 2), ("8+", 1)]).to_dict()["datasets"].values()
    assert rows == [{"times": "0", "pictures": 2}, {"times": "8+", "pictures": 1}]


def test_many_forgetting_events_share_a_bar() -> None:
    flips = np.array([[index % 2 == 0] for index in range(30)]).astype(int)
    it = learned(range(1, 31), flips, np.array([1]))
    assert it is not None
    assert fate_charts.events(it)[-1] == ("8+", 1)


def test_a_pictures_epochs_in_words_and_as_cells() -> None:
    line, names = np.array([1, 1, 0, NO_ANSWER, 1]), ("cat", "<dog>")
    assert story([1, 2, 3, 4, 6], line, 0, names) == "epoch 1 to 2 <dog>, 3 cat ✓, 4 no class, 6 <dog>"
    cells = as_html([1, 2, 3, 4, 6], line, 0, names)
    assert cells.count("<li") == 5
    assert cells.count('class="right"') == 1
    assert "&lt;dog&gt;" in cells
    assert "<dog>" not in cells
