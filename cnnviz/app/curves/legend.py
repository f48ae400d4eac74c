"""What colours, strokes and marks of the curves mean, once for all panels: in each it would take the curves' room."""

import html
import itertools
from collections.abc import Sequence

import pandas as pd

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import text
from cnnviz.app import widgets
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import MARKS, Panel, View
from cnnviz.store.runs import Run

_SWATCH = (
    '<span style="white-space:nowrap"><span style="display:inline-block;width:30px;height:3px;margin-right:.35em;'
    'vertical-align:middle;background:repeating-linear-gradient(90deg,{pattern})"></span>{words}</span>'
)
_GREY = "#808080"


def colours(view: View, chosen: Sequence[Run]) -> dict[str, str]:
    """A value's colour, in the order of the legend."""
    hues = widgets.hues(view.colour, chosen)
    return {
        text(value): hues[text(value)] for value in curves.in_order(vars(run.config)[view.colour] for run in chosen)
    }


def swatches(view: View, hues: dict[str, str], chosen: Sequence[Run]) -> str:
    """Colours and strokes, as HTML."""
    parts = [_heading(view.colour), *(_swatch(hue, [1, 0], value) for value, hue in hues.items())]
    if view.stroke != "split":
        dashes = curve_charts.dashes(vars(run.config)[view.stroke] for run in chosen)
        parts += [_heading(view.stroke), *(_swatch(_GREY, dash, value) for value, dash in dashes.items())]
    elif len(view.splits) > 1:
        parts += [_swatch(_GREY, curve_charts.SPLIT_DASHES[split], split) for split in view.splits]
    return f'<div class="curves-legend">{"".join(parts)}</div>'


def _heading(name: str) -> str:
    return f"<span>{html.escape(name.replace('_', ' '))}</span>"


def _swatch(hue: str, dash: Sequence[int], words: str) -> str:
    stops, at = [], 0
    for length, colour in zip(dash, itertools.cycle((hue, "transparent")), strict=False):
        stops.append(f"{colour} {at}px {at + length}px")
        at += length
    return _SWATCH.format(pattern=",".join(stops), words=html.escape(words))


def notes(frame: pd.DataFrame, lines: pd.DataFrame, view: View, made: Sequence[Panel]) -> str:
    """The marks that are there, and what else must be known to read these lines."""
    there = {kind for panel in made for kind in panel.marks}
    said = [" ".join(MARKS[kind]) for kind in MARKS if kind in there]
    said.append("◯ chosen: click a line to choose its run and epoch")
    if "train" in view.splits:
        said.append("train: the mean over the epoch as it trains, half an epoch behind test")
    if (lines.repeats > 1).any():
        said.append("a band: mean, lowest and highest of the runs that differ in their seed alone")
    if (end := curve_charts.ends_at(lines, view)) is not None:
        said.append(f"⇡ a loss above {end:.3g} runs out of the top of its axis")
    return " · ".join(said)
