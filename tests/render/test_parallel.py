"""Parallel coordinates: where runs cross the axes, and what a part of an axis stands for."""

import math
from dataclasses import replace
from typing import Any

import pytest

from cnnviz.analysis import leaderboard
from cnnviz.render import colours, parallel
from cnnviz.render.colours import DARK, LIGHT
from cnnviz.store.runs import Run
from tests.helpers.runs import run

RATES = (0.1, 0.01, 0.001)


def made(name: str, best: float, **settings: Any) -> Run:
    return replace(run(name, **settings), accuracy=(0.1, best))


GRID = [
    made(f"{activation}{lr}", 0.1 * index + 0.1, activation=activation, lr=lr)
    for index, (activation, lr) in enumerate((activation, lr) for activation in ("relu", "tanh") for lr in RATES)
]


def spec(runs: list[Run], shown: set[str] | None = None, theme: Any = LIGHT) -> dict[str, Any]:
    every = {run.id for run in runs} if shown is None else shown
    return dict(parallel.chart(runs, every, theme, 230).to_dict())


def rows(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the lines."""
    (name,) = {layer["data"]["name"] for layer in made["layer"] if layer["mark"]["type"] == "line"}
    return list(made["datasets"][name])


def test_an_axis_for_what_differs_with_its_values_in_order() -> None:
    activation, lr = parallel.axes(GRID)
    assert (activation.title, lr.title) == ("activation", "lr")
    assert activation.places == {"relu": 0.0, "tanh": 1.0}
    assert lr.places == {"0.001": 0.0, "0.01": 0.5, "0.1": 1.0}
    assert lr.ticks == ("0.001", "0.01", "0.1")


def test_many_numbers_are_placed_by_their_size() -> None:
    (axis,) = parallel.axes([made(str(index), 0.5, lr=10.0**-index) for index in range(9)])
    assert [round(place, 6) for place in axis.places.values()] == [index / 8 for index in range(9)]
    assert axis.ticks == ("1e-08", "1e-06", "0.0001", "0.01", "1")
    (axis,) = parallel.axes([made(str(seed), 0.5, seed=seed) for seed in (*range(9), 16)])
    assert axis.places["8"] == 0.5


def test_every_run_crosses_every_axis_once_in_order_of_its_accuracy() -> None:
    drawn = rows(spec(GRID))
    assert len(drawn) == len(GRID) * 3
    for axis in parallel.axes(GRID):
        crossed = {row["run"]: row["place"] for row in drawn if row["axis"] == axis.title}
        assert set(crossed) == {run.id for run in GRID}
        for each in GRID:
            own = axis.places[leaderboard.value(each, axis.name)]
            assert abs(crossed[each.id] - own) < 0.0701
        assert crossed["tanh0.001"] > crossed["tanh0.01"] or axis.name != "activation"
    last = {row["run"]: row["place"] for row in drawn if row["axis"] == parallel.LAST}
    assert (last["relu0.1"], last["tanh0.001"]) == (0.0, 1.0)


def test_dragging_over_a_bundle_stands_for_its_value() -> None:
    _, lr = parallel.axes(GRID)
    assert parallel.between(lr, 0.4, 0.6) == ["0.01"]
    assert parallel.between(lr, 0.52, 1.3) == ["0.01", "0.1"]
    assert parallel.between(lr, 0.2, 0.3) == []
    assert parallel.between(lr, -1, 2) == ["0.001", "0.01", "0.1"]


def test_dragging_over_the_accuracies_stands_for_percents_rounded_outwards() -> None:
    assert parallel.accuracy_between(GRID, -1, 2) == (10, 60)
    assert parallel.accuracy_between(GRID, 0.511, 0.55) == (35, 38)


def test_runs_that_a_filter_hides_are_told_apart() -> None:
    drawn = rows(spec(GRID, {"relu0.1"}, DARK))
    assert {row["run"] for row in drawn if row["shown"]} == {"relu0.1"}


def test_runs_without_figures_are_left_out_and_equal_ones_still_have_a_scale() -> None:
    equal = [made(name, 0.5, lr=lr) for name, lr in (("a", 0.1), ("b", 0.2))]
    drawn = rows(spec([*equal, replace(run("c"), accuracy=()), made("d", math.nan)]))
    assert {row["run"] for row in drawn} == {"a", "b"}
    assert all(0 <= row["place"] <= 1 for row in drawn if row["axis"] == parallel.LAST)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_lines_stand_out_from_the_page(theme: Any) -> None:
    """The ends of the part of viridis that is used, at 3:1 or more."""
    (line,) = [layer for layer in spec(GRID, theme=theme)["layer"] if layer["mark"]["type"] == "line"]
    low, high = line["encoding"]["color"]["condition"]["scale"]["scheme"]["extent"]
    table = colours._VIRIDIS.split()
    for share in (low, high):
        colour = tuple(bytes.fromhex(table[round(share * (len(table) - 1))]))
        assert _contrast(colour, theme.paper) >= 3


def _contrast(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    def luminance(colour: tuple[int, ...]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
