"""The curves while they grow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import differing, labels, text, words
from cnnviz.app import cache, widgets
from cnnviz.app.markdown import plain
from cnnviz.render import live_charts
from cnnviz.store import addresses
from cnnviz.store.runs import Run

MOST_PANELS = 4
FEW = 6  # lines that one panel has room for, whatever differs
METRICS = ("test_loss",)


@dataclass(frozen=True)
class Size:
    height: int  # pixels of all panels together
    font: int
    letters: int  # of a name; the board has all of it


SMALL, LARGE = Size(420, 12, 24), Size(560, 18, 34)


@dataclass(frozen=True)
class Grouping:
    facets: tuple[str, ...]
    colour: str
    hues: Mapping[str, str]  # by the colour's value

    def hue(self, run: Run) -> str:
        return self.hues[text(vars(run.config)[self.colour])]


def grouping(runs: Sequence[Run]) -> Grouping:
    """Panels where they make groups that one sees at once, as in the study's grid: else one panel."""
    facets, colour = curves.default_grouping(runs)
    if differing(runs) == ["seed"]:
        colour = "seed"
    groups = {tuple(vars(run.config)[name] for name in facets) for run in runs}
    if len(runs) <= FEW or len(groups) > MOST_PANELS:
        facets = []
    return Grouping(tuple(facets), colour, widgets.hues(colour, runs))


def lost(runs: Sequence[Run]) -> set[str]:
    """The ids of those that have diverged."""
    begun = [run for run in runs if run.epoch >= 0]
    history = cache.history(begun, METRICS) if begun else pd.DataFrame(columns=["run_id", "metric", "epoch", "value"])
    losses = history[history.metric == "test_loss"]
    return set(losses.run_id[~curves.is_finite(losses.value)])


def chart(runs: Sequence[Run], group: Grouping, size: Size) -> None:
    """All panels, at the height that they keep."""
    key = tuple((run.id, run.epoch, run.config.epochs) for run in runs)
    uri, dark = addresses.tracking_uri(), widgets.is_dark()
    panels, spec = _panels(uri, key, group.facets, group.colour, size, dark, runs, group)
    two = len(panels) > 1
    if two:
        st.caption("Test accuracy (%) after each epoch")
    for at in range(0, len(panels), 2):
        places = st.columns(2) if two else [st.container()]
        for place, (title, rows) in zip(places, panels[at : at + 2], strict=False):
            with place:
                if title:
                    st.markdown(f"**{plain(title)}**")
                st.vega_lite_chart(rows, spec, key=f"live {title}", width="stretch", alt=told(title, rows))


def told(title: str, rows: pd.DataFrame) -> str:
    """A panel in one sentence, for a screen reader."""
    of = f", {title}" if title else ""
    if rows.empty:
        return f"Test accuracy by epoch{of}: no point yet"
    best = rows[rows.kind == "point"].sort_values("x").groupby("run_id").tail(1).sort_values("value").iloc[-1]
    return f"Test accuracy by epoch{of}: the best is {best['name']} with {best.value:.1f} %"


@st.cache_data(max_entries=16, show_spinner=False)
def _panels(
    uri: str,
    key: tuple[tuple[str, int, int], ...],
    facets: tuple[str, ...],
    colour: str,
    size: Size,
    dark: bool,
    _runs: Sequence[Run],
    _group: Grouping,
) -> tuple[list[tuple[str, pd.DataFrame]], dict[str, Any]]:
    """Each panel's title and rows, and what they are drawn by."""
    lines = pd.DataFrame(
        [
            (run.id, float(epoch), 100 * value)
            for run in _runs
            for epoch, value in enumerate(run.accuracy, run.first_epoch)
            if value == value
        ],
        columns=["run_id", "x", "value"],
    )
    ends = (float(min(run.first_epoch for run in _runs)), float(max(run.config.epochs for run in _runs)))
    groups: dict[str, list[Run]] = {}
    for run in _runs:
        groups.setdefault(", ".join(words(name, vars(run.config)[name]) for name in facets), []).append(run)
    rows_of_panels = -(-len(groups) // 2) if len(groups) > 1 else 1
    height = size.height // rows_of_panels - (46 if len(groups) > 1 else 0)
    tall = live_charts.top(lines.value.tolist())
    gap = tall * 1.25 * size.font / (height - 30)
    series = {run.id: text(vars(run.config)[colour]) for run in _runs}
    made, longest = [], 0
    for title, some in sorted(groups.items()):
        names = labels(some)
        own = lines[lines.run_id.isin(names)]
        rows = live_charts.rows(own, names, series, ends, gap, tall, size.letters)
        longest = max([longest, *rows.name[rows.kind == "name"].str.len()])
        made.append((title, rows))
    ink = "#e6ebf0" if dark else "#1c2733"
    return made, live_charts.spec(
        ends, tall, _group.hues, min(longest, size.letters), height, size.font, ink, len(groups) == 1
    )
