"""Tidy frames → Altair charts. Colours are Okabe and Ito's (2008), told apart by colour-blind readers too."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a", "#b8a900")
MEASURES = {  # name → (metric without its split, axis title, unit factor, whether less is better)
    "Loss": ("loss", "loss (mean over pictures)", 1.0, True),
    "Error": ("accuracy", "error (%)", 100.0, True),
    "Accuracy": ("accuracy", "accuracy (%)", 100.0, False),
}
SPLITS = ("train", "test")
GROUPS = ("activation", "loss", "lr", "model", "optimizer", "momentum", "batch_size", "pooling", "seed", "dataset")
_LEGEND: dict[str, Any] = {
    "orient": "top",
    "direction": "horizontal",
    "titleOrient": "left",
    "symbolType": "stroke",
    "offset": 4,
}
CLIP = 4.0  # a diverging run may not stretch the axis past so many times the others' third quartile


@dataclass(frozen=True)
class Panel:
    """One group of runs and its chart."""

    title: str
    chart: Any  # an alt.LayerChart


def tidy(history: pd.DataFrame, runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Recorded values as the curves need them: one row a run, split and epoch, with the run's parameters beside it.

    history: columns run_id, metric, epoch, value; runs: run_id, name and a column for each parameter.
    """
    metric, _, factor, _ = MEASURES[measure]
    frame = history[history.metric.isin([f"{split}_{metric}" for split in SPLITS])].copy()
    frame["split"] = frame.metric.str.split("_").str[0]
    frame["value"] = (1 - frame.value if measure == "Error" else frame.value) * factor
    return frame.drop(columns="metric").merge(runs, on="run_id").sort_values(["run_id", "split", "epoch"])


def differing(runs: pd.DataFrame) -> list[str]:
    """The parameters in which these runs differ, the study's first."""
    return [name for name in GROUPS if name in runs and runs[name].nunique() > 1]


def default_grouping(runs: pd.DataFrame) -> tuple[list[str], str]:
    """Facets and colour that suit what differs: activation and loss side by side, the learning rate in colour."""
    names = differing(runs)
    facets: list[str] = [name for name in ("activation", "loss") if name in names]
    rest = [name for name in names if name not in facets]
    if not rest and facets:
        return facets[:-1], facets[-1]
    return facets, "lr" if "lr" in rest or not rest else rest[0]


def panels(
    frame: pd.DataFrame,
    measure: str,
    facets: Sequence[str],
    colour: str,
    splits: Sequence[str] = SPLITS,
    same_axis: bool = True,
    log: bool = False,
    height: int = 280,
    legend: bool = False,
) -> list[Panel]:
    """A chart for each combination of the facets' values; one y-axis for all that compare, or each its own."""
    frame = frame[frame.split.isin(splits)]
    if frame.empty:
        return []
    colours = sorted(frame[colour].unique())
    groups = frame.groupby(list(facets), sort=True) if facets else [((), frame)]
    made = []
    for values, part in groups:
        title = ", ".join(_words(name, value) for name, value in zip(facets, values, strict=True))
        # one axis for all, but for losses of one kind only: a cross-entropy of 2.3 and an MSE of 0.1 do not compare
        alike = frame[frame.loss.isin(part.loss.unique())] if measure == "Loss" else frame
        domain = _domain(alike if same_axis else part, log)
        made.append(Panel(title, _panel(part, measure, colour, colours, splits, domain, log, height, legend)))
    return made


def hues(values: Sequence[Any]) -> dict[str, str]:
    """The colour of each value, in their order: one legend then serves all panels."""
    return {_text(value): PALETTE[index % len(PALETTE)] for index, value in enumerate(sorted(set(values)))}


def _words(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _domain(frame: pd.DataFrame, log: bool) -> list[float]:
    """Lowest and highest finite value, the highest held down where single runs explode."""
    finite = frame.value[frame.value.map(math.isfinite)]
    if log:
        finite = finite[finite > 0]
    if finite.empty:
        return [0.1, 1.0]
    low, high = float(finite.min()), float(finite.max())
    high = min(high, max(CLIP * float(finite.quantile(0.75)), low + 1e-9))
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.1
    return [low * 0.95, high * 1.05] if log else [max(low - margin, 0.0) if low >= 0 else low - margin, high + margin]


def clipped(frame: pd.DataFrame, log: bool = False) -> bool:
    """Whether some values lie above the shared axis."""
    finite = frame.value[frame.value.map(math.isfinite)]
    return bool((finite > _domain(frame, log)[1]).any())


def _panel(
    frame: pd.DataFrame,
    measure: str,
    colour: str,
    colours: Sequence[Any],
    splits: Sequence[str],
    domain: list[float],
    log: bool,
    height: int,
    legend: bool,
) -> Any:
    _, title, _, less_is_better = MEASURES[measure]
    frame = frame.assign(
        series=frame[colour].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    )
    finite = frame[frame.value.map(math.isfinite)]
    labels = [_text(value) for value in colours]
    scale = alt.Scale(domain=domain, type="log" if log else "linear", nice=False, clamp=False)
    epochs = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"))
    values = alt.Y("value:Q", title=title, scale=scale)
    hue = alt.Color(
        "series:N",
        title=colour.replace("_", " "),
        scale=alt.Scale(domain=labels, range=list(hues(colours).values())),
        legend=alt.Legend(symbolStrokeWidth=3, **_LEGEND) if legend else None,
    )
    dash = alt.StrokeDash(
        "split:N",
        title=None,
        scale=alt.Scale(domain=list(SPLITS), range=[[5, 4], [1, 0]]),
        legend=alt.Legend(symbolSize=600, **_LEGEND) if legend and len(splits) > 1 else None,
    )
    few = int(finite.epoch.nunique()) < 3
    lines = (
        alt.Chart(finite)
        .mark_line(clip=True, strokeWidth=1.8, point={"size": 40, "filled": True} if few else False)
        .encode(x=epochs, y=values, color=hue, strokeDash=dash, detail="run_id:N")
    )
    layers = [lines]
    marks = _best(finite, less_is_better)
    if not marks.empty:
        layers.append(_points(marks, "circle", 55, epochs, values, hue, "best test epoch"))
    ends = _deaths(frame)
    if not ends.empty:
        layers.append(_points(ends, "cross", 130, epochs, values, hue, "diverged: no finite value after this epoch"))
    return alt.layer(*layers, _ruler(finite, epochs)).properties(width="container", height=height)


def _points(frame: pd.DataFrame, shape: str, size: int, x: alt.X, y: alt.Y, hue: alt.Color, what: str) -> alt.Chart:
    tips = [
        alt.Tooltip("what:N", title=" "),
        alt.Tooltip("name:N", title="run"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("value:Q", format=".4g"),
    ]
    marks = alt.Chart(frame.assign(what=what)).mark_point(shape=shape, size=size, filled=True, clip=True, opacity=1)
    return marks.encode(x=x, y=y, color=hue, tooltip=tips)


def _best(frame: pd.DataFrame, less_is_better: bool) -> pd.DataFrame:
    tested = frame[(frame.split == "test") & (frame.epoch > 0)]
    best = tested.groupby("run_id").value
    return tested.loc[best.idxmin() if less_is_better else best.idxmax()] if len(tested) else tested


def _deaths(frame: pd.DataFrame) -> pd.DataFrame:
    """The last finite point of each line that is not finite after it."""
    found = []
    for _, line in frame.groupby(["run_id", "split"]):
        finite = line.value.map(math.isfinite)
        if not finite.iloc[-1] and finite.any():
            found.append(line[finite].iloc[-1:])
    return pd.concat(found) if found else frame.iloc[:0]


def _ruler(frame: pd.DataFrame, x: alt.X) -> alt.Chart:
    """A rule at the pointer's epoch that tells every line's value there."""
    lines = list(frame.groupby(["series", "split", "run_id"], sort=True))[:24]
    wide = pd.DataFrame({"epoch": sorted(frame.epoch.unique())})
    tips = [alt.Tooltip("epoch:Q", title="epoch")]
    for index, ((series, split, _), line) in enumerate(lines):
        # plain column names: a dot in one would draw an empty chart
        wide = wide.merge(line[["epoch", "value"]].rename(columns={"value": f"line{index}"}), on="epoch", how="left")
        tips.append(alt.Tooltip(f"line{index}:Q", title=f"{series} {split}", format=".4g"))
    pointer = alt.selection_point(fields=["epoch"], nearest=True, on="pointerover", empty=False, clear="pointerout")
    return (
        alt.Chart(wide)
        .mark_rule(strokeWidth=1)
        .encode(x=x, opacity=alt.condition(pointer, alt.value(0.6), alt.value(0)), tooltip=tips)
        .add_params(pointer)
    )


def together(made: Sequence[Panel], columns: int = 2) -> alt.ConcatChart:
    """The panels as one chart, for a file."""
    charts = [panel.chart.properties(title=panel.title, width=420) for panel in made]
    return alt.concat(*charts, columns=columns).configure(background="white")


def as_file(chart: alt.ConcatChart, kind: str) -> bytes:
    """The chart as "png", "svg" or a self-contained "html" file that opens offline."""
    if kind == "html":
        text = io.StringIO()
        chart.save(text, format="html", inline=True)
        return text.getvalue().encode()
    if kind == "svg":
        text = io.StringIO()
        chart.save(text, format="svg")
        return text.getvalue().encode()
    image = io.BytesIO()
    chart.save(image, format="png", scale_factor=2)
    return image.getvalue()


def probabilities(classes: Sequence[str], shares: Sequence[float], true: int | None = None) -> Any:
    """Class probabilities as bars from 0 to 100 %; the true class is marked in words."""
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
    """Class probabilities before and after a change, two bars a class, in %."""
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


def distribution(counts: Sequence[int], edges: Sequence[float], unit: str) -> Any:
    """A histogram: counts of len(edges) - 1 bins, drawn from the first to the last that is not empty."""
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
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], titles: tuple[str, str]
) -> Any:
    """A table of similarities from 0 to 1 as colours with their numbers; what is not finite stays empty."""
    cells = [
        {"row": row, "column": column, "value": value, "text": f"{value:.2f}"}
        for row, line in zip(rows, values, strict=True)
        for column, value in zip(columns, line, strict=True)
        if math.isfinite(value)
    ]
    frame = pd.DataFrame(cells, columns=["row", "column", "value", "text"])
    x = alt.X("column:N", sort=list(columns), title=titles[1], axis=alt.Axis(labelAngle=0, orient="top"))
    y = alt.Y("row:N", sort=list(rows), title=titles[0])
    hue = alt.Color("value:Q", title="CKA", scale=alt.Scale(domain=[0, 1], scheme="viridis"))
    ink = alt.condition("datum.value > 0.6", alt.value("#000"), alt.value("#fff"))
    base = alt.Chart(frame).encode(x=x, y=y)
    made = alt.layer(base.mark_rect().encode(color=hue), base.mark_text().encode(text="text:N", color=ink))
    return made.properties(width=alt.Step(46), height=alt.Step(32))
