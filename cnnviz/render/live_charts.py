"""Lines that grow while networks train: axes that stay, and names at the lines' ends that do not overlap."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

LEAST_TOP = 30.0  # per cent: an axis shorter than this would make noise look like learning
STEP = 10.0  # per cent by which the axis grows, so that it seldom does
ROOM = 2.0  # per cent that stay free above the best
LETTER = 0.56  # a letter's width, of its height
MOST_NAMED = 16  # lines; of more, the best
COLUMNS = {"kind": "str", "run_id": "str", "x": "float", "y": "float", "x2": "float", "y2": "float", "value": "float"}


def top(values: Sequence[float]) -> float:
    """The upper end of an accuracy axis in per cent: above the best, in whole tens, so that no winner is cut off."""
    best = max((value for value in values if math.isfinite(value)), default=0.0)
    return min(max(STEP * math.ceil((best + ROOM) / STEP), LEAST_TOP), 100.0)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved as little as can be (least squares) to lie `gap` apart between low and high, in their order.

    >>> spread([50.0, 51.0, 10.0], 4.0, 0.0, 100.0)
    [48.5, 52.5, 10.0]
    """
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    moved = isotonic_regression(np.asarray(places, float)[order] - steps).x
    moved = np.clip(moved, low, max(high - steps[-1], low) if len(steps) else high) + steps
    found = np.empty(len(places))
    found[order] = moved
    return [float(place) for place in found]


def rows(
    lines: pd.DataFrame,
    names: Mapping[str, str],
    series: Mapping[str, str],
    ends: tuple[float, float],
    gap: float,
    tall: float,
    letters: int,
) -> pd.DataFrame:
    """What spec() draws: a row for each point, and one for each line's name.

    lines: columns run_id, x, value (per cent), finite; names and series: run id → its name and its colour's value;
    ends: of the x-axis, tall: of the y-axis; gap: per cent between two names; letters: what is shown of a name.
    A name that would be cut to the same letters as another's tells nothing, and is left out.
    """
    points = lines.assign(kind="point", y=lines.value, x2=np.nan, y2=np.nan)
    last = lines.sort_values("x").groupby("run_id").tail(1)
    cut = Counter(name[:letters] for name in names.values() if len(name) > letters)
    alike = [run_id for run_id, name in names.items() if len(name) > letters and cut[name[:letters]] > 1]
    last = last[~last.run_id.isin(alike)].sort_values("value", ascending=False).head(MOST_NAMED)
    away = 0.025 * (ends[1] - ends[0])
    named = last.assign(kind="name", y=last.value, x2=last.x + away, y2=spread(last.value.tolist(), gap, 0.0, tall))
    made = pd.concat([points, named])[list(COLUMNS)].astype(COLUMNS)
    return made.assign(name=made.run_id.map(dict(names)), series=made.run_id.map(dict(series)))


def spec(
    ends: tuple[float, float],
    tall: float,
    colours: Mapping[str, str],
    longest: int,
    height: int,
    font: int,
    ink: str,
    titled: bool = True,
) -> dict[str, Any]:
    """A Vega-Lite chart of rows(), which are given apart: as long as it stays the same, only its data are redrawn.

    ends: of the x-axis, tall: of the y-axis; longest: letters of a name; ink: of names, as CSS writes it;
    titled: the axes are.
    """
    text = {"labelFontSize": font, "titleFontSize": font}
    x_axis = {"tickMinStep": 1, "format": "d", "grid": False, "title": "epoch" if titled else None, **text}
    y_axis = {"title": "test accuracy (%)" if titled else None, "tickCount": 5, **text}
    x = {"field": "x", "type": "quantitative", "scale": {"domain": list(ends), "nice": False}, "axis": x_axis}
    y = {"field": "y", "type": "quantitative", "scale": {"domain": [0, tall], "nice": False}, "axis": y_axis}
    scale = {"domain": list(colours), "range": list(colours.values())}
    colour = {"field": "series", "type": "nominal", "scale": scale, "legend": None}
    tips = [
        {"field": "name", "type": "nominal", "title": "run"},
        {"field": "x", "type": "quantitative", "title": "epoch"},
        {"field": "value", "type": "quantitative", "title": "test accuracy (%)", "format": ".1f"},
    ]
    points, names = ([{"filter": {"field": "kind", "equal": kind}}] for kind in ("point", "name"))
    far = {"x": {**x, "field": "x2"}, "y": {**y, "field": "y2"}}
    room = round(longest * font * LETTER) + 10
    line = {"type": "line", "strokeWidth": font / 6, "point": {"size": 1.5 * font, "filled": True}}
    return {
        "height": height,
        "padding": {"left": 4, "top": font, "bottom": 4, "right": 8},  # the room for names is found by Vega
        "layer": [
            {
                "transform": points,
                "mark": line,
                "encoding": {"x": x, "y": y, "color": colour, "detail": {"field": "run_id"}, "tooltip": tips},
            },
            {
                "transform": names,
                "mark": {"type": "rule", "strokeWidth": 1.2},
                "encoding": {
                    "x": x,
                    "y": y,
                    "x2": {"field": "x2"},
                    "y2": {"field": "y2"},
                    "color": colour,
                },
            },
            {
                "transform": names,
                "mark": {"type": "text", "align": "left", "dx": 3, "fontSize": font, "color": ink, "limit": room},
                "encoding": {**far, "text": {"field": "name", "type": "nominal"}},
            },
        ],
    }
