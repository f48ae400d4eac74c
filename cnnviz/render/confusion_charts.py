"""A confusion matrix in colours that are written on, and the figures that follow from it as Altair charts.

Right answers are blue and mistakes orange, each on a scale of its own: on one scale the diagonal would leave all
mistakes as good as white.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from cnnviz.inspection.calibration import Calibration
from cnnviz.inspection.mistakes import Share
from cnnviz.render.colours import LIGHT, NEUTRAL, PALETTE, Theme
from cnnviz.render.heat import ink
from cnnviz.render.live_charts import spread

RIGHT, WRONG = PALETTE[:2]
HUES = (PALETTE[0], PALETTE[1])  # of the first network and of the second
FIGURES = {"recall": "Accuracy (recall)", "precision": "Precision", "f1": "F1"}
_DASHES = ([1, 0], [6, 3])  # of the first network and of the second; of colours that come a second time
_NOTHING = {True: (244, 246, 248), False: (27, 34, 43)}  # the surfaces of the light and of the dark theme
_FONT = 12


# -- the matrix ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What the strongest colours mean."""

    right: float  # on the diagonal
    wrong: float

    @classmethod
    def of(cls, matrices: Sequence[np.ndarray]) -> "Limits":
        """Of all these matrices, which are compared. Signed ones have one limit, that of the mistakes."""
        diagonal = np.eye(len(matrices[0]), dtype=bool)
        sizes = [np.nan_to_num(np.abs(each)) for each in matrices]
        return cls(
            max(float(each[diagonal].max()) for each in sizes) or 1.0,
            max(float(each[~diagonal].max()) for each in sizes) or 1.0,
        )


def papers(matrix: np.ndarray, limits: Limits, theme: Theme) -> list[list[tuple[str, str]]]:
    """For each cell its colour and the ink on it: blue for right answers, orange for mistakes; NaN as 0."""
    diagonal = np.eye(len(matrix), dtype=bool)
    strength = np.nan_to_num(matrix) / np.where(diagonal, limits.right, limits.wrong)
    return _inked(np.where(diagonal, strength, -strength), theme)


def papers_of_difference(matrix: np.ndarray, limits: Limits, theme: Theme) -> list[list[tuple[str, str]]]:
    """Blue where the second network is better: more right answers, fewer of that mistake; orange: worse."""
    better = np.where(np.eye(len(matrix), dtype=bool), 1, -1)
    return _inked(better * np.nan_to_num(matrix) / limits.wrong, theme)


def gradient(theme: Theme, low: float = 0.0, high: float = 1.0) -> str:
    """The colour bar, as CSS: -1 is the strongest orange, 0 nothing, 1 the strongest blue."""
    stops = _inked(np.linspace(low, high, 9)[None], theme)[0]
    return f"linear-gradient(to right, {', '.join(paper for paper, _ in stops)})"


def figure(value: float, share: Share, signed: bool = False) -> str:
    """What is written in a cell: a count, or a share in whole per cent.

    >>> figure(0.314, "true"), figure(-12, "count", signed=True), figure(float("nan"), "true")
    ('31', '−12', '–')
    """
    if np.isnan(value):
        return "–"
    number = round(value if share == "count" else 100 * value)
    return (f"{number:+,}" if signed and number else f"{number:,}").replace("-", "−")


def _inked(strength: np.ndarray, theme: Theme) -> list[list[tuple[str, str]]]:
    base = np.array(_NOTHING[theme == LIGHT], float)
    ends = np.where(strength[..., None] >= 0, np.array(theme.right, float), np.array(theme.wrong, float))
    mixed = base + np.abs(strength).clip(0, 1)[..., None] * (ends - base)
    return [[("#" + bytes(rgb).hex(), ink(rgb)) for rgb in row] for row in mixed.round().astype(np.uint8)]


# -- by class ------------------------------------------------------------------------------------


def class_bars(frame: pd.DataFrame, title: str, order: Sequence[str], ink: str) -> Any:
    """A bar for each class and network, the second one's hollow: columns class, network, value (0…1, NaN: none)."""
    names = list(dict.fromkeys(frame.network))
    frame = frame.assign(
        share=100 * frame.value,
        text=["–" if np.isnan(value) else f"{100 * value:.1f} %" for value in frame.value],
    )
    y = alt.Y("class:N", sort=list(order), title=None, axis=alt.Axis(labelOverlap=False, labelFontSize=13))
    x = alt.X("share:Q", title=f"{title} (%)", scale=alt.Scale(domain=[0, 108], nice=False), axis=_percent_axis())
    offset = {"yOffset": alt.YOffset("network:N", sort=names)} if len(names) > 1 else {}
    tips = ["class:N", "network:N", alt.Tooltip("share:Q", format=".1f", title=f"{title} (%)")]
    scale = alt.Scale(domain=names, range=list(HUES[: len(names)]))
    legend = _legend() if len(names) > 1 else None
    hollow = alt.Scale(domain=names, range=[1.0, 0.15][: len(names)])
    bars = (
        alt.Chart(frame)
        .mark_bar(strokeWidth=1.5)
        .encode(
            x=x,
            y=y,
            color=alt.Color("network:N", scale=scale, legend=legend, title=None),
            stroke=alt.Stroke("network:N", scale=scale, legend=None),
            fillOpacity=alt.FillOpacity("network:N", scale=hollow, legend=None),
            tooltip=tips,
            **offset,
        )
    )
    words = alt.Chart(frame.fillna({"share": 0.0})).mark_text(align="left", dx=4, color=ink, fontSize=_FONT)
    words = words.encode(x=x, y=y, text="text:N", **offset)
    return alt.layer(bars, words).properties(height=alt.Step(15 if len(names) > 1 else 28))


def class_lines(frame: pd.DataFrame, title: str, order: Sequence[str], epoch: int, ink: str, height: int = 320) -> Any:
    """A line for each class over the epochs, its name at its end: columns class, epoch, value (0…1); epoch: marked."""
    frame = frame.assign(share=100 * frame.value)
    ends = _span(frame.epoch)
    colours, patterns = _styles(order)
    last = frame.dropna(subset=["share"]).sort_values("epoch").groupby("class", sort=False).tail(1)
    top, room = 100.0, 100 * (_FONT + 2) / height
    away = 0.025 * (ends[1] - ends[0])
    named = last.assign(y=spread(last.share.tolist(), room, 0.0, top), x2=last.epoch + away)
    base: dict[str, Any] = {
        "x": _epochs(ends),
        "color": alt.Color("class:N", scale=colours, legend=None),
    }
    y = alt.Y("share:Q", title=f"{title} (%)", scale=alt.Scale(domain=[0, top]))
    lines = alt.Chart(frame).mark_line(strokeWidth=2, point=_points(frame))
    lines = lines.encode(
        **base,
        y=y,
        strokeDash=alt.StrokeDash("class:N", scale=patterns, legend=None),
        tooltip=["class:N", "epoch:Q", alt.Tooltip("share:Q", format=".1f", title=f"{title} (%)")],
    )
    leads = alt.Chart(named).mark_rule(strokeWidth=1.2).encode(**base, y=y, x2="x2:Q", y2="y:Q")
    words = alt.Chart(named).mark_text(align="left", dx=3, color=ink, fontSize=_FONT)
    words = words.encode(x=alt.X("x2:Q"), y=alt.Y("y:Q"), text="class:N")
    made = alt.layer(_now(epoch, ends, ink), lines, leads, words)
    return made.properties(height=height, padding={"left": 4, "top": 8, "bottom": 4, "right": 8})


def class_panel(frame: pd.DataFrame, name: str, epoch: int, ink: str) -> Any:
    """One class of two networks over the epochs, the second one dashed: columns network, epoch, value (0…1)."""
    names = list(dict.fromkeys(frame.network))
    frame = frame.assign(share=100 * frame.value)
    ends = _span(frame.epoch)
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, point=_points(frame))
        .encode(
            x=_epochs(ends, None),
            y=alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=3)),
            color=alt.Color("network:N", scale=alt.Scale(domain=names, range=list(HUES)), legend=None),
            strokeDash=alt.StrokeDash("network:N", scale=alt.Scale(domain=names, range=list(_DASHES)), legend=None),
            tooltip=["network:N", "epoch:Q", alt.Tooltip("share:Q", format=".1f", title="%")],
        )
    )
    title = alt.Title(name, anchor="start", fontSize=13, offset=4)
    return alt.layer(_now(epoch, ends, ink, None), lines).properties(height=150, title=title)


# -- calibration ---------------------------------------------------------------------------------


def reliability(found: Calibration, ink: str) -> tuple[Any, Any]:
    """Accuracy by confidence against the diagonal, and below it how many pictures each bin has."""
    frame = pd.DataFrame(
        {
            "low": 100 * found.edges[:-1],
            "high": 100 * found.edges[1:],
            "accuracy": 100 * found.accuracies,
            "confidence": 100 * found.confidence,
            "pictures": found.counts,
        }
    )
    frame = frame[frame.pictures > 0]
    wide = alt.Scale(domain=[0, 100], nice=False)
    axis = alt.Axis(minExtent=46, maxExtent=46)
    tips = [
        alt.Tooltip("low:Q", format=".1f", title="confidence from (%)"),
        alt.Tooltip("high:Q", format=".1f", title="to (%)"),
        alt.Tooltip("confidence:Q", format=".1f", title="mean confidence (%)"),
        alt.Tooltip("accuracy:Q", format=".1f", title="right (%)"),
        alt.Tooltip("pictures:Q", format=",", title="pictures"),
    ]
    x = alt.X("low:Q", title=None, scale=wide, axis=alt.Axis(labels=False, ticks=False))
    y = alt.Y("accuracy:Q", title="right (%)", scale=wide, axis=axis)
    bars = alt.Chart(frame).mark_rect(color=RIGHT, stroke=ink, strokeWidth=0.5)
    bars = bars.encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tips)
    gaps = alt.Chart(frame).mark_rule(color=WRONG, strokeWidth=3)
    gaps = gaps.encode(x=alt.X("confidence:Q", title=None, scale=wide), y=y, y2="confidence:Q", tooltip=tips)
    ideal = alt.Chart(pd.DataFrame({"at": [0, 100]})).mark_line(color=ink, strokeDash=[5, 4], strokeWidth=1.5)
    ideal = ideal.encode(x=alt.X("at:Q", title=None, scale=wide), y=alt.Y("at:Q", scale=wide))
    counts = alt.Chart(frame).mark_rect(color=NEUTRAL)
    counts = counts.encode(
        x=alt.X("low:Q", title="confidence (%)", scale=wide, axis=_percent_axis()),
        x2="high:Q",
        y=alt.Y("pictures:Q", title="pictures", axis=alt.Axis(minExtent=46, maxExtent=46, tickCount=3, format="~s")),
        y2=alt.datum(0),
        tooltip=tips,
    )
    return alt.layer(bars, gaps, ideal).properties(height=260), counts.properties(height=140)


CONFIDENCE, ACCURACY, ERROR = "mean confidence", "accuracy", "calibration error"
_LINES: Mapping[str, tuple[str, list[int]]] = {
    CONFIDENCE: (WRONG, [6, 3]),
    ACCURACY: (RIGHT, [1, 0]),
    ERROR: (NEUTRAL, [2, 2]),
}


def confidence_lines(
    epochs: Sequence[int], found: Sequence[Calibration | None], epoch: int, ink: str, height: int = 260
) -> Any:
    """Mean confidence against accuracy over the epochs, and the expected calibration error; epoch: marked."""
    rows = [
        {"epoch": at, "line": line, "share": 100 * share}
        for at, each in zip(epochs, found, strict=True)
        if each is not None
        for line, share in zip(_LINES, (each.mean_confidence, each.accuracy, each.error), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["epoch", "line", "share"])
    ends = _span(pd.Series(list(epochs)))
    last = frame.groupby("line", sort=False).tail(1)
    named = last.assign(y=spread(last.share.tolist(), 100 * (_FONT + 3) / height, 0.0, 100.0))
    styles = list(zip(*_LINES.values(), strict=True))
    colours = alt.Scale(domain=list(_LINES), range=list(styles[0]))
    patterns = alt.Scale(domain=list(_LINES), range=list(styles[1]))
    y = alt.Y("share:Q", title="%", scale=alt.Scale(domain=[0, 100]))
    lines = alt.Chart(frame).mark_line(strokeWidth=2, point=_points(frame))
    lines = lines.encode(
        x=_epochs(ends),
        y=y,
        color=alt.Color("line:N", scale=colours, legend=None),
        strokeDash=alt.StrokeDash("line:N", scale=patterns, legend=None),
        tooltip=["line:N", "epoch:Q", alt.Tooltip("share:Q", format=".1f", title="%")],
    )
    words = alt.Chart(named).mark_text(align="left", dx=6, color=ink, fontSize=_FONT)
    words = words.encode(x=_epochs(ends), y=alt.Y("y:Q"), text="line:N")
    return alt.layer(_now(epoch, ends, ink), lines, words).properties(height=height)


# -- what they share -----------------------------------------------------------------------------


def _styles(order: Sequence[str]) -> tuple[Any, Any]:
    """A colour for each class; where colours come a second time their lines are dashed."""
    hues = [PALETTE[place % len(PALETTE)] for place in range(len(order))]
    strokes = [_DASHES[place // len(PALETTE) % len(_DASHES)] for place in range(len(order))]
    return alt.Scale(domain=list(order), range=hues), alt.Scale(domain=list(order), range=strokes)


def _span(epochs: pd.Series) -> tuple[int, int]:
    return int(epochs.min()), max(int(epochs.max()), int(epochs.min()) + 1)


def _epochs(ends: tuple[int, int], title: str | None = "epoch") -> Any:
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    return alt.X("epoch:Q", title=title, axis=axis, scale=alt.Scale(domain=list(ends), nice=False))


def _now(epoch: int, ends: tuple[int, int], ink: str, title: str | None = "epoch") -> Any:
    """The epoch that the page shows."""
    rule = alt.Chart(pd.DataFrame({"epoch": [epoch]})).mark_rule(color=ink, strokeDash=[2, 3], opacity=0.8)
    return rule.encode(x=_epochs(ends, title))


def _points(frame: pd.DataFrame) -> Any:
    """A line of few epochs shows each of them."""
    return {"size": 40, "filled": True} if frame.epoch.nunique() < 3 else False


def _percent_axis() -> Any:
    return alt.Axis(values=[0, 20, 40, 60, 80, 100])


def _legend() -> Any:
    return alt.Legend(orient="top", direction="horizontal", labelLimit=400)
