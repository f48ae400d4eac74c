"""Curves, and how the gradient gets through the layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import labels, text
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import FLOWS, MARKS, View
from cnnviz.render.report.pieces import Chart, Charts, Heading, Piece, Text
from cnnviz.render.report.sources import Sources
from cnnviz.store.runs import Run, figure_to_rank

HEIGHT = 240
FEW_FLOWS = 6  # heat maps that are shown; of more runs the best and the worst
HIDDEN = "hidden"  # the chart's parameter that names the values not shown


def grouped(sources: Sources) -> Iterator[Piece]:
    """Loss and error against the epochs, train and test, in the groups that the settings make."""
    yield from drawn(sources, sources.of_part("1a"))


def drawn(sources: Sources, runs: Sequence[Run], measures: Sequence[str] = ("Loss", "Error")) -> Iterator[Piece]:
    """A chart a group and measure; of different data sets apart, whose figures do not compare."""
    for dataset in dict.fromkeys(run.config.dataset for run in runs):
        some = [run for run in runs if run.config.dataset == dataset and run.epoch >= 0]
        for measure in measures if some else ():
            yield Heading(measure if measure != "Error" else "Error on train and test pictures")
            yield _charts(sources, some, measure)


def _charts(sources: Sources, runs: Sequence[Run], measure: str) -> Piece:
    facets, colour = curves.default_grouping(runs)
    view = View(measure, facets=tuple(facets), colour=colour)
    frame = curves.lines(sources.history, runs, sources.every, measure)
    lines = curves.collapse(frame, view.parameters)
    hues = _hues(sources, runs, colour)
    marks = [(run.id, each.epoch, each.sentence) for run in runs for each in sources.findings[run.id] if each.epoch]
    found = pd.DataFrame(marks, columns=["run_id", "epoch", "what"])
    segments = curves.segment_starts(frame, runs)
    made = curve_charts.panels(lines, view, hues, segments, found, height=HEIGHT)
    there = [kind for kind in MARKS if any(kind in panel.marks for panel in made)]
    notes = [" ".join(MARKS[kind]) for kind in there]
    notes.append("train: the mean over the epoch as it trains, half an epoch behind test")
    if (end := curve_charts.ends_at(lines, view)) is not None:
        notes.append(f"a loss above {end:.3g} runs out of the top of its axis")
    charts = [Chart(_hideable(panel.drawing.whole()), panel.name) for panel in made]
    shown = {text(value): hues[text(value)] for value in curves.in_order(vars(run.config)[colour] for run in runs)}
    columns = 2 if len(charts) > 1 else 1
    of = colour.replace("_", " ")
    dashes = {split: dash for split, dash in curve_charts.SPLIT_DASHES.items() if split in set(lines.split)}
    return Charts(charts, shown, of, dashes, " · ".join(notes), columns)


def _hues(sources: Sources, runs: Sequence[Run], parameter: str) -> dict[str, str]:
    """As on the screen: in the order in which values came into the store."""
    known = [vars(run.config)[parameter] for run in reversed(sources.newest)]
    return curve_charts.hues([vars(run.config)[parameter] for run in runs], known)


def _hideable(spec: dict[str, Any]) -> dict[str, Any]:
    """The chart with a parameter, the list of values whose lines and marks are not shown."""
    spec["params"] = [*spec.get("params", []), {"name": HIDDEN, "value": []}]
    for layer in spec["layer"]:
        kind = layer["mark"]["type"]
        if kind == "area" or "series" not in str(layer["encoding"].get("color")):
            continue
        shown = layer["encoding"].get("opacity", {"value": layer["mark"].get("opacity", 1)})
        hidden = {"test": f"indexof({HIDDEN}, datum.series) >= 0", "value": 0}
        conditions = shown.get("condition", [])
        conditions = conditions if isinstance(conditions, list) else [conditions]
        layer["encoding"]["opacity"] = {"condition": [hidden, *conditions], "value": shown.get("value", 1)}
    return spec


def flow(sources: Sources) -> Iterator[Piece]:
    """The gradient's norm by layer and epoch."""
    runs = several(sources.of_part("1a"))
    layers = {run.id: [layer.name for layer in run.architecture.measured_layers] for run in runs}
    ids = set(layers)
    history = sources.history[sources.history.run_id.isin(ids)]
    names, some = labels(runs), False
    for kind in ("grad_norm", "saturation"):
        made = curve_charts.flow(history, kind, layers)
        if not made:
            continue
        some = True
        what = FLOWS[kind][1]
        yield Heading(f"{what[0].upper()}{what[1:]}")
        charts = []
        for run in runs:
            if run.id in made:
                title = {"text": names[run.id], "anchor": "start"}
                spec = made[run.id].whole() | {"title": title, "height": 22 * len(layers[run.id])}
                charts.append(Chart(spec, f"{names[run.id]}: {what}, by layer and epoch"))
        yield Charts(charts, columns=3)
    if not some and runs:
        yield Text("These runs have no figures by layer: they were trained before cnnviz recorded them.", "missing")


def several(runs: Sequence[Run]) -> list[Run]:
    """All of a few; of many the best and the worst."""
    ordered = sorted((run for run in runs if run.best), key=figure_to_rank(runs), reverse=True)
    half = FEW_FLOWS // 2
    return ordered if len(ordered) <= FEW_FLOWS else [*ordered[:half], *ordered[-half:]]
