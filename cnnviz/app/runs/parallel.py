"""Which settings work: each run a line over parallel axes. Dragging over an axis is a filter like any other."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from cnnviz.app import widgets
from cnnviz.app.runs import filters
from cnnviz.app.state import Slot, reported
from cnnviz.render import parallel
from cnnviz.store.runs import Run

LEAST_RUNS = 8  # below it, a table shows as much
MANY_RUNS = 30  # from it on, the chart is open and above the table
HEIGHT = 230  # pixels
_DRAGGED = Slot("parallel_dragged", 0)  # times: the chart is a new one then, without the rectangle


def is_useful(found: Sequence[Run]) -> bool:
    trained = [run for run in found if run.best]
    return len(trained) >= LEAST_RUNS and len(parallel.axes(trained)) > 1


def room(many: bool) -> Any:
    """Where section() is to be drawn, as high as it will be; None while it is folded. many: open at first."""
    place = st.expander(
        "Which settings work: every run as a line", expanded=many, key=f"parallel_open {many}", on_change="rerun"
    )
    return place.container(height=HEIGHT + 70, border=False) if place.open else None


def section(found: Sequence[Run], shown: Sequence[Run]) -> None:
    trained = [run for run in found if run.best]
    key = f"parallel {_DRAGGED.get()}"
    st.caption("Drag over a part of an axis to show only the runs that cross it; **Filter** does the same.")
    st.altair_chart(
        parallel.chart(trained, {run.id for run in shown}, widgets.theme(), HEIGHT),
        key=key,
        on_select=partial(_dragged, key, trained),
        selection_mode=parallel.BRUSH,
        alt="Parallel coordinates: the parameters that differ, and the best test accuracy, a line for each run",
    )


def _dragged(key: str, trained: Sequence[Run]) -> None:
    area = reported(key).selection.get(parallel.BRUSH) or {}
    titles, places = area.get("axis", []), area.get("place", [])
    if not titles or len(places) != 2:
        return
    low, high = min(places), max(places)
    axes = parallel.axes(trained)
    for axis in axes:
        values = parallel.between(axis, low, high)
        if axis.title in titles and values:
            filters.VALUES[axis.name].set(values)
    if parallel.LAST in titles:
        filters.ACCURACY.set(parallel.accuracy_between(trained, low, high))
    _DRAGGED.set(_DRAGGED.get() + 1)
