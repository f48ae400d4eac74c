"""One network's figures as Altair charts: probabilities, distributions, similarities."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from cnnviz.render.colours import NEUTRAL, PALETTE


def probabilities(classes: Sequence[str], shares: Sequence[float], true: int | None = None) -> Any:
    """Class probabilities, shares (classes,) of 1, as bars from 0 to 100 %; the true class is marked "(true)"."""
    names = [f"{name} (true)" if index == true else name for index, name in enumerate(classes)]
    frame = pd.DataFrame({"label": names, "share": [100 * share for share in shares]})
    frame["top"] = frame.share == frame.share.max()
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelOverlap=False))
    x = alt.X("share:Q", title="probability (%)", scale=alt.Scale(domain=[0, 100]))
    hue = alt.Color("top:N", scale=alt.Scale(domain=[True, False], range=[PALETTE[0], "#9aa5b1"]), legend=None)
    bars = alt.Chart(frame).mark_bar().encode(x=x, y=y, color=hue)
    words = alt.Chart(frame.assign(text=[f"{share:.1f} %" for share in frame.share])).mark_text(
        align="left", dx=4, color="#7a8794"
    )
    return alt.layer(bars, words.encode(x=x, y=y, text="text:N")).properties(height=250)


def before_after(classes: Sequence[str], before: Sequence[float], after: Sequence[float], true: int | None) -> Any:
    """Class probabilities before and after a change, shares (classes,) of 1, as two bars for each class in %."""
    rows = [
        {"label": f"{name} (true)" if index == true else name, "when": when, "share": 100 * shares[index]}
        for when, shares in (("before", before), ("after", after))
        for index, name in enumerate(classes)
    ]
    x = alt.X("share:Q", title="probability (%)", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelOverlap=False))
    offset = alt.YOffset("when:N", sort=["before", "after"])
    hue = alt.Color(
        "when:N",
        title=None,
        scale=alt.Scale(domain=["before", "after"], range=["#9aa5b1", PALETTE[1]]),
        legend=alt.Legend(orient="top"),
    )
    tips = ["label:N", "when:N", alt.Tooltip("share:Q", format=".2f", title="%")]
    return alt.Chart(pd.DataFrame(rows)).mark_bar().encode(x=x, y=y, yOffset=offset, color=hue, tooltip=tips)


def under_masks(
    classes: Sequence[str], evaluated: Sequence[float], masked: Sequence[Sequence[float]], true: int | None
) -> Any:
    """Class probabilities in evaluation mode, shares (classes,) of 1, as points, and under each of many masks, (masks,
    classes), as ticks."""
    names = [f"{name} (true)" if index == true else name for index, name in enumerate(classes)]
    rows = [
        {"label": name, "what": "one mask", "share": 100 * shares[index]}
        for shares in masked
        for index, name in enumerate(names)
    ]
    points = [
        {"label": name, "what": "evaluation mode", "share": 100 * share}
        for name, share in zip(names, evaluated, strict=True)
    ]
    x = alt.X("share:Q", title="probability (%)", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("label:N", sort=names, title=None, axis=alt.Axis(labelOverlap=False))
    order = ["evaluation mode", "one mask"]
    hue = alt.Color(
        "what:N",
        title=None,
        scale=alt.Scale(domain=order, range=[PALETTE[1], PALETTE[0]]),
        legend=alt.Legend(orient="top", symbolType="circle"),
    )
    tips = ["label:N", "what:N", alt.Tooltip("share:Q", format=".1f", title="%")]
    ticks = alt.Chart(pd.DataFrame(rows)).mark_tick(thickness=1.5, opacity=1)
    dots = alt.Chart(pd.DataFrame(points)).mark_point(filled=True, size=70, shape="diamond", opacity=1)
    drawn = [each.encode(x=x, y=y, color=hue, tooltip=tips) for each in (ticks, dots)]
    return alt.layer(*drawn).properties(height=250)


def statistics(batch: Sequence[float], running: Sequence[float], title: str) -> Any:
    """A figure of each channel in the batch over the running one, as points about the line on which both are equal."""
    frame = pd.DataFrame({"channel": range(len(batch)), "batch": batch, "running": running})
    ends = [min([*batch, *running]), max([*batch, *running])]
    scale = alt.Scale(zero=False, domain=ends if ends[0] < ends[1] else alt.Undefined)
    x = alt.X("running:Q", title=f"running {title}", scale=scale)
    y = alt.Y("batch:Q", title=f"the batch's {title}", scale=scale)
    tips = ["channel:O", *(alt.Tooltip(f"{name}:Q", format=".3g") for name in ("batch", "running"))]
    same = alt.Chart(pd.DataFrame({"running": ends, "batch": ends})).mark_line(color=NEUTRAL, strokeDash=[4, 3])
    points = alt.Chart(frame).mark_point(color=PALETTE[0], size=40).encode(tooltip=tips)
    return alt.layer(same.encode(x=x, y=y), points.encode(x=x, y=y)).properties(height=220)


def distribution(counts: Sequence[int], edges: Sequence[float], unit: str) -> Any:
    """A histogram: counts (bins,) between edges (bins + 1,), from the first to the last bin that is not empty."""
    filled = [index for index, count in enumerate(counts) if count] or [0]
    first, last = filled[0], filled[-1] + 1
    frame = pd.DataFrame(
        {"low": edges[first:last], "high": edges[first + 1 : last + 1], "share": [0.0] * (last - first)}
    )
    frame["share"] = [100 * count / max(sum(counts), 1) for count in counts[first:last]]
    x = alt.X("low:Q", title=unit, scale=alt.Scale(zero=False, nice=False))
    y = alt.Y("share:Q", title="cells (%)")
    tips = [alt.Tooltip(f"{name}:Q", format=".3g") for name in ("low", "high", "share")]
    bars = alt.Chart(frame).mark_rect(color=PALETTE[0])
    return bars.encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tips).properties(height=190)


def similarity(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    errors: Sequence[Sequence[float]],
    titles: tuple[str, str],
) -> Any:
    """A table of similarities up to 1 and their standard errors, (rows, columns) each, as colours and numbers; what is
    0 or less has the colour of 0, NaN stays empty."""
    cells = [
        {"row": row, "column": column, "value": value, "error": error, "text": f"{round(value, 2) + 0.0:.2f}"}
        for row, line, deviations in zip(rows, values, errors, strict=True)
        for column, value, error in zip(columns, line, deviations, strict=True)
        if math.isfinite(value)
    ]
    frame = pd.DataFrame(cells, columns=["row", "column", "value", "error", "text"])
    x = alt.X("column:N", sort=list(columns), title=titles[1], axis=alt.Axis(labelAngle=0, orient="top"))
    y = alt.Y("row:N", sort=list(rows), title=titles[0])
    hue = alt.Color("value:Q", title="CKA", scale=alt.Scale(domain=[0, 1], scheme="viridis", clamp=True))
    ink = alt.condition("datum.value > 0.6", alt.value("#000"), alt.value("#fff"))
    tips = [
        alt.Tooltip("row:N", title=titles[0]),
        alt.Tooltip("column:N", title=titles[1]),
        alt.Tooltip("value:Q", title="CKA", format=".3f"),
        alt.Tooltip("error:Q", title="standard error", format=".3f"),
    ]
    base = alt.Chart(frame).encode(x=x, y=y, tooltip=tips)
    made = alt.layer(base.mark_rect().encode(color=hue), base.mark_text().encode(text="text:N", color=ink))
    return made.properties(width=alt.Step(46), height=alt.Step(32))
