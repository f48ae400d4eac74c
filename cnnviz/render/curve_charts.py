"""Frames of lines → Altair charts, in colours that colour-blind readers can distinguish."""

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import altair as alt
import pandas as pd

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import text, words
from cnnviz.analysis.curves import AXES, MEASURES, SPLITS, is_finite
from cnnviz.render.colours import PALETTE
from cnnviz.render.drawings import Drawing, Rows, fingerprint

DASHES = ([1, 0], [6, 4], [2, 3], [10, 3, 2, 3])  # of a parameter's values
SPLIT_DASHES = {"train": [5, 4], "validation": [2, 3], "test": [1, 0]}
CLIP = (
    1.5  # a loss axis ends at this many times the third quartile, or at the untrained runs: a diverged one is cut off
)
MOST_TIPS = 8  # lines of a panel that a tooltip lists; of more it tells the nearest alone
MOST_TICKS = 4  # of a colour bar
FAINT = 0.25  # opacity of what is smoothed
_DRAWN = ("run_id", "name", "split", "epoch", "x", "value", "best", "low", "high", "repeats", "series", "pattern")
_NOWHERE = pd.DataFrame(columns=["run_id", "epoch", "what"])
_LEGEND: dict[str, Any] = {
    "orient": "top",
    "direction": "horizontal",
    "titleOrient": "left",
    "symbolType": "stroke",
    "offset": 4,
}
_MARKS: dict[str, dict[str, Any]] = {
    "segment": {"shape": "stroke", "angle": 90, "size": 160, "strokeWidth": 2},
    "best": {"shape": "circle", "size": 55, "filled": True},
    "death": {"shape": "cross", "angle": 45, "size": 130, "filled": True},
    "finding": {"shape": "triangle-down", "size": 110, "filled": False, "strokeWidth": 2, "yOffset": -11},
}
MARKS = {  # each mark's sign and what it says, in words
    "best": ("●", "best epoch"),
    "finding": ("▽", "finding"),
    "death": ("✕", "diverged: no finite value after this epoch"),
    "segment": ("│", "training was continued, or a fork left its parent"),
}


@dataclass(frozen=True)
class View:
    """How lines are shown. Facets, colour and stroke carry one parameter each."""

    measure: str = "Loss"  # of curves.MEASURES
    axis: str = "Epochs"  # of curves.AXES
    facets: tuple[str, ...] = ()  # parameters: a panel for each combination of their values
    colour: str = "lr"  # a parameter
    stroke: str = "split"  # train and test, or a parameter
    splits: tuple[str, ...] = SPLITS
    same_axis: bool = True  # one y-axis for all panels that compare
    log_x: bool = False
    log_y: bool = False
    smoothing: int = 1  # epochs averaged; the raw line stays, faint

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that distinguish lines."""
        return (*self.facets, self.colour, *([self.stroke] if self.stroke != "split" else []))


@dataclass(frozen=True)
class Panel:
    """One group of runs and its chart."""

    title: str
    drawing: Drawing
    name: str = ""  # what it shows, for who cannot see it
    marks: tuple[str, ...] = ()  # of MARKS, those that it has


def hues(values: Iterable[Hashable], known: Iterable[Hashable] = ()) -> dict[str, str]:
    """A colour for each value. A value among the known ones keeps its colour there, unless another has it already."""
    places = {text(value): place for place, value in enumerate(dict.fromkeys(known))}
    found: dict[str, str] = {}
    for name in sorted({text(value) for value in values}, key=lambda name: places.get(name, len(places))):
        start = places.get(name, len(found))
        order = [PALETTE[(start + step) % len(PALETTE)] for step in range(len(PALETTE))]
        found[name] = next((hue for hue in order if hue not in found.values()), order[0])
    return found


def dashes(values: Iterable[Hashable]) -> dict[str, list[int]]:
    """A stroke for each value of a parameter, in the order of the legend."""
    return {text(value): DASHES[place % len(DASHES)] for place, value in enumerate(curves.in_order(values))}


def panels(
    frame: pd.DataFrame,
    view: View,
    colours: Mapping[str, str],
    segments: pd.DataFrame | None = None,
    findings: pd.DataFrame | None = None,
    chosen: pd.DataFrame | None = None,
    height: int = 280,
    legend: bool = False,
) -> list[Panel]:
    """A chart for each combination of the facets' values, all with the same x-axis.

    frame: of curves.lines(); colours: of hues(); segments: of curves.segment_starts(); findings: columns run_id, epoch
    and what, a sentence, each shown on its run's test line; chosen: rows of curves.lines() that get a ring; height:
    pixels; legend: drawn in each chart.
    """
    frame = _on_axis(frame, view)
    if frame.empty:
        return []
    patterns = SPLIT_DASHES if view.stroke == "split" else dashes(frame[view.stroke])
    ringed = frame.iloc[:0] if chosen is None else _on_axis(chosen, view)
    segments, findings = (_NOWHERE if some is None else some for some in (segments, findings))
    columns = [*_DRAWN, *{*view.facets, "loss"}]
    frame, ringed = frame[columns], ringed[columns]
    spans = frame.x[is_finite(frame.value)]
    span = [float(spans.min()), float(spans.max())] if len(spans) else [0.0, 1.0]
    groups = frame.groupby(list(view.facets), sort=True) if view.facets else [((), frame)]
    made = []
    for values, part in groups:
        title = ", ".join(words(name, value) for name, value in zip(view.facets, values, strict=True))
        domain = _domain(_comparable(frame, part, view) if view.same_axis else part, view)
        points = [
            some.loc[some.run_id.isin(part.run_id), names]
            for some, names in ((segments, ["run_id", "epoch"]), (findings, ["run_id", "epoch", "what"]))
        ]
        here = ringed[(ringed[list(view.facets)] == list(values)).all(axis=1)] if view.facets else ringed
        key = (
            *(fingerprint(each) for each in (part, here, *points)),
            *(repr(each) for each in (view, title, domain, span, colours, patterns, height, legend)),
        )
        panel = _made.get(key)
        if panel is None:
            look = _Look(view, title, domain, span, colours, patterns, height, legend)
            panel = _made.keep(key, _panel(look, part, here, *points))
        made.append(panel)
    return made


class _Made:
    """Panels as they were drawn last, by what they are drawn from: whoever adds a run or chooses a point changes one of
    several. Bounded; shared by all sessions."""

    MOST = 64

    def __init__(self) -> None:
        self.lock, self.kept = Lock(), OrderedDict[tuple[str, ...], Panel]()

    def get(self, key: tuple[str, ...]) -> Panel | None:
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
            return self.kept.get(key)

    def keep(self, key: tuple[str, ...], panel: Panel) -> Panel:
        with self.lock:
            self.kept[key] = panel
            while len(self.kept) > self.MOST:
                self.kept.popitem(last=False)
        return panel


_made = _Made()


@dataclass(frozen=True)
class _Look:
    """How a panel looks, whatever it shows."""

    view: View
    title: str
    domain: list[float]
    span: list[float]
    colours: Mapping[str, str]
    patterns: Mapping[str, list[int]]
    height: int
    legend: bool


def _panel(
    look: _Look,
    part: pd.DataFrame,
    ringed: pd.DataFrame,
    segments: pd.DataFrame,
    findings: pd.DataFrame,
) -> Panel:
    best = curves.best(part, look.view.measure)
    marks = {
        "segment": _at(part, segments, MARKS["segment"][1]),
        "best": best.assign(what=MARKS["best"][1]),
        "death": curves.deaths(part).assign(what=MARKS["death"][1]),
        "finding": _at(part, findings),
    }
    rows = Rows()
    chart = _chart(part, marks, ringed, look, rows)
    present = tuple(kind for kind, points in marks.items() if len(points))
    return Panel(look.title, Drawing.of(chart, rows), _name(part, best, look.view, look.title), present)


def _on_axis(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The rows that the view shows, with the values that colour and stroke stand for."""
    frame = frame[frame.split.isin(view.splits)]
    if view.log_x:
        frame = frame[frame.x > 0]
    return frame.assign(
        series=frame[view.colour].map(text),
        pattern=frame.split if view.stroke == "split" else frame[view.stroke].map(text),
    )


def _name(part: pd.DataFrame, found: pd.DataFrame, view: View, title: str) -> str:
    """ "Error of tanh, mse against epochs: 3 runs. Best: lenet5x5 …, 36.5 at epoch 12"."""
    count = part.run_id.nunique()
    of = f" of {title}" if title else ""
    said = f"{view.measure}{of} against {view.axis.lower()}: {count} {'line' if count == 1 else 'lines'}"
    is_validated = set(part.run_id) == set(part.run_id[part.split == "validation"])
    by = "judged" if is_validated else "value"
    found = found.sort_values(by, ascending=MEASURES[view.measure].less_is_better)
    for row in found.head(1).itertuples():
        how = "by validation" if is_validated else "on test pictures"
        said += f". Best {how}: {row.name}, {row.value:.4g} at epoch {row.epoch}"
    return said


def ends_at(frame: pd.DataFrame, view: View) -> float | None:
    """Where the axis of a panel ends if values lie above it; None if all of them are in view."""
    frame = frame[frame.split.isin(view.splits)]
    groups = [part for _, part in frame.groupby(list(view.facets))] if view.facets else [frame]
    for part in groups:
        high = _domain(_comparable(frame, part, view) if view.same_axis else part, view)[1]
        if bool((part.value[is_finite(part.value)] > high).any()):
            return high
    return None


def _comparable(frame: pd.DataFrame, part: pd.DataFrame, view: View) -> pd.DataFrame:
    """The rows that share the part's axis: a cross-entropy of 2.3 and an MSE of 0.1 do not compare."""
    return frame[frame.loss.isin(part.loss.unique())] if view.measure == "Loss" else frame


def _at(part: pd.DataFrame, points: pd.DataFrame, what: str = "") -> pd.DataFrame:
    """The points with their place on the part's test lines, or on its train lines if only those are shown. A mean over
    seeds has none: what happened to one of its runs did not happen to the mean."""
    if points.empty:
        return part.iloc[:0]
    split = "test" if "test" in set(part.split) else "train"
    lines = part[(part.split == split) & (part.repeats == 1)]
    said = points.assign(what=what) if what else points
    return lines[is_finite(lines.value)].merge(said, on=["run_id", "epoch"])


def _domain(frame: pd.DataFrame, view: View) -> list[float]:
    """Lower and upper end of the y-axis. Only a loss may be cut off, from above, so that a run that explodes does not
    flatten the others; of accuracy and error everything is in view."""
    finite = pd.concat([frame.low, frame.high])
    finite = finite[is_finite(finite)]
    if view.log_y:
        finite = finite[finite > 0]
    if finite.empty:
        return [0.1, 1.0]
    low, high = float(finite.min()), float(finite.max())
    if not MEASURES[view.measure].bounded:
        untrained = frame.high[(frame.epoch == 0) & is_finite(frame.high)].max()
        high = min(high, max(CLIP * float(finite.quantile(0.75)), low + 1e-9, 0.0 if pd.isna(untrained) else untrained))
    missing = max(MEASURES[view.measure].least_span - (high - low), 0.0)
    low, high = low - min(missing / 2, low), high + missing - min(missing / 2, low)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.1
    return (
        [low * 0.95, high * 1.05]
        if view.log_y
        else [max(low - margin, 0.0) if low >= 0 else low - margin, high + 3 * margin]  # marks stand above their line
    )


def _chart(
    frame: pd.DataFrame, marks: Mapping[str, pd.DataFrame], chosen: pd.DataFrame, look: _Look, rows: Rows
) -> Any:
    view = look.view
    finite = frame[is_finite(frame.value)]
    scale = alt.Scale(domain=look.domain, type="log" if view.log_y else "linear", nice=False, clamp=False)
    x_axis = alt.Axis(tickMinStep=1, format="d") if view.axis == "Epochs" else alt.Axis()
    room = 6  # pixels, so that marks at the ends stay whole
    x_scale = alt.Scale(domain=look.span, type="log" if view.log_x else "linear", nice=False, padding=room)
    place: dict[str, Any] = {
        "x": alt.X("x:Q", title=AXES[view.axis], axis=x_axis, scale=x_scale),
        "y": alt.Y("value:Q", title=MEASURES[view.measure].title, scale=scale),
        "color": alt.Color(
            "series:N",
            title=view.colour.replace("_", " "),
            scale=alt.Scale(domain=list(look.colours), range=list(look.colours.values())),
            legend=alt.Legend(symbolStrokeWidth=3, **_LEGEND) if look.legend else None,
        ),
    }
    dash = alt.StrokeDash(
        "pattern:N",
        title=None if view.stroke == "split" else view.stroke.replace("_", " "),
        scale=alt.Scale(domain=list(look.patterns), range=list(look.patterns.values())),
        legend=alt.Legend(symbolSize=600, **_LEGEND) if look.legend and frame.pattern.nunique() > 1 else None,
    )
    line: dict[str, Any] = {"clip": True, "strokeWidth": 1.8}
    if int(finite.epoch.nunique()) < 3:
        line["point"] = {"size": 40, "filled": True}
    layers: list[Any] = []
    detail = ["run_id:N", "split:N"]
    shared = alt.Chart()  # of the data that layer() is given once
    if (finite.repeats > 1).any():
        low = alt.Y("low:Q", title=MEASURES[view.measure].title, scale=scale)
        band = shared.transform_filter("datum.repeats > 1").mark_area(clip=True, opacity=0.15)
        layers.append(band.encode(x=place["x"], y=low, y2="high:Q", color=place["color"], detail=detail))
    raw = line | {"opacity": FAINT} if view.smoothing > 1 else line
    layers.append(shared.mark_line(**raw).encode(**place, strokeDash=dash, detail=detail))
    if view.smoothing > 1:
        smooth = curves.smoothed(finite, view.smoothing)
        layers.append(alt.Chart(rows.add(smooth)).mark_line(**line).encode(**place, strokeDash=dash, detail=detail))
    if len(chosen):
        ring = alt.Chart(rows.add(chosen)).mark_point(size=230, strokeWidth=2.5, filled=False, opacity=1, clip=True)
        layers.append(ring.encode(**place))
    layers.append(_pointer(finite, view, place, rows))
    # above the pointer's layer, which would take their tooltips
    layers += [_points(rows.add(points), _MARKS[name], view, place) for name, points in marks.items() if len(points)]
    title = {"title": alt.Title(look.title, anchor="start", fontSize=14, offset=6)} if look.title else {}
    return alt.layer(*layers, data=rows.add(finite), width="container", height=look.height, **title)


def _points(points: alt.NamedData, kind: Mapping[str, Any], view: View, place: Mapping[str, Any]) -> Any:
    tips = [
        alt.Tooltip("what:N", title=" "),
        alt.Tooltip("name:N", title="run"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("value:Q", title=MEASURES[view.measure].title, format=".4g"),
    ]
    return alt.Chart(points).mark_point(clip=True, opacity=1, **kind).encode(**place, tooltip=tips)


def _pointer(frame: pd.DataFrame, view: View, place: Mapping[str, Any], rows: Rows) -> Any:
    """The point nearest to the pointer, on the nearest line; a click picks its run and epoch. Its tooltip lists all
    lines at that epoch, as long as they are few and have epochs in common."""
    nearest: dict[str, Any] = {"fields": ["run_id", "epoch"], "nearest": True, "empty": False}
    pointer = alt.selection_point(name="pointer", on="pointerover", clear="pointerout", **nearest)
    pick = alt.selection_point(name="pick", on="click", toggle=False, **nearest)
    tips = [
        alt.Tooltip("name:N", title="nearest"),
        *([alt.Tooltip("split:N", title="pictures")] if MEASURES[view.measure].by_split else []),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("value:Q", title=MEASURES[view.measure].title, format=".4g"),
    ]
    points = alt.Chart()
    if (
        view.axis == "Epochs"
        and 1 < (several := frame.groupby(["series", "pattern", "split", "run_id"])).ngroups <= MOST_TIPS
    ):
        listed = frame.assign(line=several.ngroup())
        # plain column names: a dot in one would draw an empty chart
        wide = listed.pivot_table("value", "x", "line").add_prefix("line").reset_index()
        points = points.transform_lookup("x", alt.LookupData(rows.add(wide), "x", list(wide.columns[1:])))
        for each in listed.drop_duplicates("line").sort_values("line").itertuples():
            title = f"{each.series} {each.split if view.stroke == 'split' else each.pattern}"
            title = title if MEASURES[view.measure].by_split else f"{each.series}"
            tips.append(alt.Tooltip(f"line{each.line}:Q", title=title, format=".4g"))
    shown = alt.condition(pointer, alt.value(1), alt.value(0))
    points = points.mark_point(size=60, clip=True)
    return points.encode(**place, opacity=shown, tooltip=tips).add_params(pointer, pick)


FLOWS = {  # metric's prefix → (title, what it measures, format, log scale)
    "grad_norm": ("gradient", "mean L2 norm of the gradient", ".1e", True),
    "update_ratio": ("update / weight", "mean L2 norm, update over weights", ".1e", True),
    "saturation": ("saturated or inactive", "share of units whose slope is flat", ".0%", False),
}


def ticks(low: float, high: float) -> list[float]:
    """Up to four powers of ten from low to high, for a colour bar on which more would run into one another; its ends
    if there are fewer than two."""
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    step = math.ceil(len(powers) / MOST_TICKS)
    return [10.0**power for power in powers[::step]] if len(powers) > 1 else sorted({low, high})


def flow(history: pd.DataFrame, kind: str, layers: Mapping[str, Sequence[str]]) -> dict[str, Drawing]:
    """Run id → heat map, layer × epoch, of its per-layer figures, all on one colour scale; runs without them left out.
    Exact zeros, which have no place on a log scale, are written as such.

    history: columns run_id, metric ("grad_norm/c1"), epoch, value; kind: of FLOWS; layers: run id → its layers' names,
    from the picture to the logits.
    """
    title, _, number, is_log = FLOWS[kind]
    frame = history[history.metric.str.startswith(f"{kind}/") & is_finite(history.value)]
    frame = frame.assign(layer=frame.metric.str.split("/").str[1], start=frame.epoch - 0.5, end=frame.epoch + 0.5)
    every = frame
    if is_log:
        frame = frame[frame.value > 0]
    if frame.empty:
        return {}
    domain = [float(frame.value.min()), float(frame.value.max())] if is_log else [0.0, 1.0]
    legend = alt.Legend(
        orient="top", format=number, values=ticks(*domain) if is_log else [0, 0.5, 1], gradientLength=200
    )
    scale = alt.Scale(scheme="viridis", type="log" if is_log else "linear", domain=domain)
    made = {}
    for run_id, part in every.groupby("run_id"):
        names = list(layers[str(run_id)])
        epochs = history.epoch[history.run_id == run_id]  # of all kinds: their pictures are aligned
        rows, columns = Rows(), ["layer", "epoch", "start", "end", "value"]
        zeros = part[part.value == 0] if is_log else part[:0]
        place = alt.Y("layer:N", scale=alt.Scale(domain=names), title=None, axis=alt.Axis(labelOverlap=False))
        chart: Any = (
            alt.Chart(rows.add(part.drop(zeros.index)[columns]))
            .mark_rect()
            .encode(
                x=alt.X(
                    "start:Q",
                    title="epoch",
                    axis=alt.Axis(tickMinStep=1, format="d"),
                    scale=alt.Scale(domain=[epochs.min() - 0.5, epochs.max() + 0.5], nice=False),
                ),
                x2="end:Q",
                y=place,
                color=alt.Color("value:Q", title=title, scale=scale, legend=legend),
                tooltip=["layer:N", "epoch:Q", alt.Tooltip("value:Q", title=title, format=number)],
            )
        )
        if len(zeros):
            written = alt.Chart(rows.add(zeros[columns])).mark_text(text="0", color="gray", fontSize=10)
            chart = alt.layer(chart, written.encode(x="epoch:Q", y=place, tooltip=["layer:N", "epoch:Q", "value:Q"]))
        made[str(run_id)] = Drawing.of(chart.properties(width="container", height=24 * len(names) + 150), rows)
    return made
