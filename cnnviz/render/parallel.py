"""Many runs as lines over parallel axes: from the parameters that differ to the best test accuracy."""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from cnnviz.analysis import leaderboard
from cnnviz.render.colours import DARK, Theme
from cnnviz.store.runs import Run

BRUSH = "brush"  # the name of what is selected by dragging
LAST = "best test accuracy"  # the last axis
MOST_PLACES = 8  # of a number's values: more are placed by their size
_WIDEST_BUNDLE = 0.07  # of the height: runs with one value are laid side by side
_DOTS = 5  # ticks of an axis of numbers

# Drawn as SVG, the brush is two rectangles without a name for a screen reader; the page names the chart.
_ONE_PICTURE = {"embedOptions": {"renderer": "canvas"}}


@dataclass(frozen=True)
class Axis:
    """A parameter. Places are shares of the height."""

    name: str
    title: str
    places: dict[str, float]  # value, as text → place
    ticks: tuple[str, ...]  # the values that are written beside it


def axes(runs: Sequence[Run]) -> list[Axis]:
    """One for each parameter in which the runs differ."""
    return [_axis(runs, name) for name in leaderboard.columns(runs)]


def _axis(runs: Sequence[Run], name: str) -> Axis:
    texts = leaderboard.values(runs, name)
    numbers = sorted({vars(run.config)[name] for run in runs})
    if len(numbers) <= MOST_PLACES or isinstance(numbers[0], str):
        places = {value: index / (len(texts) - 1) for index, value in enumerate(texts)}
        ticks = texts
    else:
        is_log = numbers[0] > 0 and numbers[-1] / numbers[0] >= 30
        sizes = [math.log(number) if is_log else number for number in numbers]
        span = sizes[-1] - sizes[0]
        places = {value: (size - sizes[0]) / span for value, size in zip(texts, sizes, strict=True)}
        ticks = [min(places, key=lambda value: abs(places[value] - at / (_DOTS - 1))) for at in range(_DOTS)]
    return Axis(name, leaderboard.heading(name), places, tuple(dict.fromkeys(ticks)))


def span(runs: Sequence[Run]) -> tuple[float, float]:
    """Lowest and highest best test accuracy, apart enough to draw."""
    found = [run.best[1] for run in runs if run.best]
    low, high = min(found), max(found)
    return (low, high) if high - low > 0.01 else (max(low - 0.005, 0.0), max(low - 0.005, 0.0) + 0.01)


def between(axis: Axis, low: float, high: float) -> list[str]:
    """The values whose runs cross the axis between these places, as chart() lays them."""
    room = _room(axis)
    return [value for value, place in axis.places.items() if low <= place + room and place - room <= high]


def accuracy_between(runs: Sequence[Run], low: float, high: float) -> tuple[int, int]:
    """Percents of the best test accuracy between these places, rounded outwards."""
    first, last = span(runs)
    percents = [100 * (first + (last - first) * min(max(place, 0.0), 1.0)) for place in (low, high)]
    return max(math.floor(percents[0]), 0), min(math.ceil(percents[1]), 100)


def _room(axis: Axis) -> float:
    """Half the height of one value's bundle."""
    places = sorted(axis.places.values())
    gap = min((b - a for a, b in itertools.pairwise(places)), default=1.0)
    return min(_WIDEST_BUNDLE, 0.35 * gap)


def chart(runs: Sequence[Run], shown: Collection[str], theme: Theme, height: int) -> Any:
    """The chart of the runs that have a best test accuracy, and differ in something. shown: ids; the others are grey.

    Its selection `BRUSH` has the titles of the axes that it covers, as "axis", and its lowest and highest "place".
    """
    runs = leaderboard.ordered([run for run in runs if run.best])[::-1]  # the best on top
    found, (low, high) = axes(runs), span(runs)
    names = [axis.name for axis in found]
    rows: list[dict[str, Any]] = []
    for run in runs:
        best = run.best_accuracy
        told = {"run": run.id, "label": leaderboard.label(run, names), "best": best, "shown": run.id in shown}
        rows.append(told | {"axis": LAST, "place": (best - low) / (high - low)})
    for axis in found:
        rows += _bundles(runs, axis, rows[: len(runs)])
    frame = pd.DataFrame(rows)
    order = [*(axis.title for axis in found), LAST]
    written = [(axis.title, axis.places[value], value) for axis in found for value in axis.ticks]
    written += [(LAST, at / 4, f"{100 * (low + (high - low) * at / 4):.0f} %") for at in range(5)]
    marks = pd.DataFrame(written, columns=["axis", "place", "text"])

    ink, paper, grey = (_hex(colour) for colour in (theme.ink, theme.paper, theme.faint))
    x = alt.X(
        "axis:N",
        sort=order,
        title=None,
        axis=alt.Axis(orient="top", labelAngle=0, labelColor=ink, labelFontSize=13, domain=False, ticks=False),
    )
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.08, 1.08], nice=False))
    # the part of the scale that stands out from the page
    extent = [0.35, 1.0] if theme is DARK else [0.0, 0.56]
    scale = alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=extent), domain=[low, high])
    hue = alt.condition("datum.shown", alt.Color("best:Q", scale=scale, legend=None), alt.value(grey))
    pointer = alt.selection_point(
        name="pointer", on="pointerover", clear="pointerout", fields=["run"], nearest=True, empty=False
    )
    brush = alt.selection_interval(name=BRUSH, encodings=["x", "y"])
    clear = 0.9 if sum(run.id in shown for run in runs) <= 100 else 0.7
    seen = [
        alt.when(pointer).then(alt.value(1)).when("datum.shown").then(alt.value(clear)).otherwise(alt.value(0.12)),
        alt.when(pointer).then(alt.value(4)).otherwise(alt.value(1.4)),
    ]
    tips = [alt.Tooltip("label:N", title="run"), alt.Tooltip("best:Q", title=LAST, format=".2%")]
    rules = alt.Chart(pd.DataFrame({"axis": order})).mark_rule(color=ink, opacity=0.5).encode(x=x)
    lines = alt.Chart(frame).mark_line(strokeJoin="round").encode(
        x=x, y=y, detail="run:N", color=hue, opacity=seen[0], strokeWidth=seen[1], tooltip=tips
    )  # fmt: skip
    points = alt.Chart(frame).mark_point(opacity=0, size=50).encode(x=x, y=y, tooltip=tips)
    texts = alt.Chart(marks).encode(x=x, y=y, text="text:N")
    beside: dict[str, Any] = {"align": "left", "dx": 7, "fontSize": 12}
    halo = texts.mark_text(stroke=paper, strokeWidth=4, strokeJoin="round", opacity=0.85, color=paper, **beside)
    return alt.layer(
        rules, lines, points.add_params(pointer, brush), halo, texts.mark_text(color=ink, **beside)
    ).properties(width="container", height=height, usermeta=_ONE_PICTURE)


def _bundles(runs: Sequence[Run], axis: Axis, told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where each run crosses the axis: those of one value side by side, the best on top."""
    room, rows = _room(axis), []
    for value, place in axis.places.items():
        those = [each for run, each in zip(runs, told, strict=True) if leaderboard.value(run, axis.name) == value]
        for index, each in enumerate(those):
            aside = 2 * index / (len(those) - 1) - 1 if len(those) > 1 else 0.0
            rows.append(each | {"axis": axis.title, "place": place + room * aside})
    return rows


def _hex(colour: Sequence[int]) -> str:
    return "#" + bytes(colour).hex()
