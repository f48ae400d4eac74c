"""Confusion matrices and charts by class: what is in their data, and that it can be read."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.network import Prediction
from cnnviz.render import confusion_charts
from cnnviz.render.colours import DARK, LIGHT, Theme
from cnnviz.render.confusion_charts import Limits
from tests.render.test_heat import contrast

MATRIX = np.array([[60.0, 9, 31], [2, 90, 8], [0, 25, 75]])
CLASSES = ["cat", "dog", "frog"]


def rgb(colour: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(colour[1:])), int)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_mistakes_and_right_answers_have_scales_of_their_own(theme: Theme) -> None:
    limits = Limits.of([MATRIX])
    assert (limits.right, limits.wrong) == (90, 31)
    cells = confusion_charts.papers(MATRIX, limits, theme)
    assert np.array_equal(rgb(cells[0][2][0]), theme.wrong)  # the most frequent mistake is the strongest
    assert np.array_equal(rgb(cells[1][1][0]), theme.right)
    nothing = rgb(cells[2][0][0])
    distances = [np.abs(rgb(cells[0][column][0]) - nothing).sum() for column in (1, 2)]
    assert 0 < distances[0] < distances[1]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_what_is_written_on_a_cell_can_be_read(theme: Theme) -> None:
    steps = np.linspace(-1, 1, 400).reshape(20, 20)
    for cells in (
        confusion_charts.papers(np.abs(steps), Limits(1, 1), theme),
        confusion_charts.papers_of_difference(steps, Limits(1, 1), theme),
    ):
        assert all(contrast(paper, ink) >= 4.5 for row in cells for paper, ink in row)


def test_of_a_difference_blue_is_better_on_the_diagonal_and_off_it() -> None:
    change = np.array([[10.0, -10.0], [10.0, -10.0]])
    (better, fewer), (more, worse) = confusion_charts.papers_of_difference(change, Limits.of([change]), LIGHT)
    assert better == fewer
    assert more == worse
    assert np.array_equal(rgb(better[0]), LIGHT.right)
    assert np.array_equal(rgb(worse[0]), LIGHT.wrong)


def test_an_empty_class_has_no_figure_and_nothings_colour() -> None:
    matrix = np.array([[np.nan, 0.0], [np.nan, 1.0]])
    cells = confusion_charts.papers(matrix, Limits.of([matrix]), LIGHT)
    assert cells[0][0] == cells[1][0] == cells[0][1]
    assert confusion_charts.figure(float("nan"), "predicted") == "–"
    assert confusion_charts.figure(0.0, "count", signed=True) == "0"


def rows(chart: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return list(chart["datasets"].values())


def test_bars_by_class_have_their_figures_in_words_and_two_networks_differ_by_more_than_colour() -> None:
    frame = pd.DataFrame({"class": CLASSES, "network": "A", "value": [0.6, float("nan"), 0.75]})
    chart = confusion_charts.class_bars(frame, "Precision", ["frog", "cat", "dog"], "#000").to_dict()
    bars, words = (chart["datasets"][layer["data"]["name"]] for layer in chart["layer"])
    assert [row["share"] for row in bars] == [60, None, 75]
    assert [(row["share"], row["text"]) for row in words] == [(60, "60.0 %"), (0, "–"), (75, "75.0 %")]
    assert chart["layer"][0]["encoding"]["y"]["sort"] == ["frog", "cat", "dog"]
    two = confusion_charts.class_bars(pd.concat([frame, frame.assign(network="B")]), "F1", CLASSES, "#000").to_dict()
    assert two["layer"][0]["encoding"]["fillOpacity"]["scale"]["range"] == [1.0, 0.15]
    assert two["layer"][0]["encoding"]["yOffset"]["field"] == "network"


def test_lines_by_class_are_named_at_their_ends_and_no_two_look_alike() -> None:
    names = [f"class {number}" for number in range(10)]
    frame = pd.DataFrame(
        [{"class": name, "epoch": epoch, "value": 0.5} for name in names for epoch in range(4)],
    )
    chart = confusion_charts.class_lines(frame, "F1", names, 2, "#000").to_dict()
    ends = next(data for data in rows(chart) if "x2" in data[0])
    places = sorted(float(str(row["y"])) for row in ends)
    assert sorted(str(row["class"]) for row in ends) == names
    assert all(after - before >= 4 for before, after in itertools.pairwise(places))
    line = chart["layer"][1]["encoding"]
    looks = zip(line["color"]["scale"]["range"], map(str, line["strokeDash"]["scale"]["range"]), strict=True)
    assert len(set(looks)) == 10
    assert [{"epoch": 2}] in rows(chart)
    panel = confusion_charts.class_panel(frame.assign(network=["A", "B"] * 20), "cat", 2, "#000").to_dict()
    assert len(panel["layer"][1]["encoding"]["strokeDash"]["scale"]["range"]) == 2


def sure(seed: int) -> Calibration:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(500, 10, generator=generator)
    found = calibration(Prediction(logits), torch.randint(10, (500,), generator=generator))
    assert found is not None
    return found


def test_a_reliability_diagram_has_every_bin_that_is_not_empty() -> None:
    found = sure(0)
    diagram, counts = (chart.to_dict() for chart in confusion_charts.reliability(found, "#000"))
    for chart in (diagram, counts):
        data = next(data for data in rows(chart) if "pictures" in data[0])
        assert [row["pictures"] for row in data] == [count for count in found.counts if count]
        assert sum(row["pictures"] for row in data) == 500


def test_confidence_and_accuracy_are_lines_over_the_epochs_that_have_answers() -> None:
    chart = confusion_charts.confidence_lines([0, 1, 2], [sure(0), None, sure(1)], 1, "#000").to_dict()
    lines = max(rows(chart), key=len)
    assert {(row["epoch"], row["line"]) for row in lines} == {
        (epoch, line) for epoch in (0, 2) for line in ("mean confidence", "accuracy", "calibration error")
    }
