"""What the curves show: which runs, of what, against what, in which groups. All of it is in the address."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import PARAMETERS
from cnnviz.analysis.curves import AXES, MEASURES, SPLITS
from cnnviz.app import widgets
from cnnviz.app.state import list_key, number_key, text_key
from cnnviz.render.curve_charts import View
from cnnviz.store.runs import Run

BATCH_SECONDS = 120  # runs launched within this of the newest are what one wants to see first
SMOOTHINGS = (1, 3, 5, 9, 15)  # epochs
OPTIONS = ("one y-axis", "log y", "log x", "findings", "seeds apart", "forks at 0")
BY_SPLIT = "split"  # the stroke that tells train from test

RUNS = list_key(
    "runs",
    key="curve_runs",
    parse=lambda text: text[:8],
    pinned=True,
    wrong="{text} from the address is not in this store; it is left out",
)
MEASURE = text_key("measure", "Loss")
AXIS = text_key("axis", "Epochs")
SPLIT = list_key("splits", SPLITS)
FACETS = list_key("facets")
COLOUR = text_key("colour")
STROKE = text_key("stroke", BY_SPLIT)
SMOOTHING = number_key("smoothing", SMOOTHINGS[0])
SHOW = list_key("show", ("one y-axis", "findings"))
KEYS = (RUNS, MEASURE, AXIS, SPLIT, FACETS, COLOUR, STROKE, SMOOTHING, SHOW)


def runs(found: Sequence[Run]) -> list[Run]:
    by_id = {run.id[:8]: run for run in found}
    RUNS.offer(by_id, [run.id[:8] for run in newest(found)])
    keys = st.multiselect("Runs", list(by_id), format_func=lambda key: widgets.label(by_id[key]), key=RUNS.widget)
    return [by_id[key] for key in keys]


def newest(found: Sequence[Run]) -> list[Run]:
    """What was launched last, and whatever trains or waits."""
    return [run for run in found if run.active or (found[0].created - run.created).total_seconds() < BATCH_SECONDS]


def view(chosen: Sequence[Run]) -> tuple[View, frozenset[str]]:
    """How to show them, from the widgets."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    MEASURE.offer(MEASURES)
    measure = row.segmented_control("Measure", list(MEASURES), required=True, key=MEASURE.widget)
    AXIS.offer(AXES)
    axis = row.segmented_control("Against", list(AXES), required=True, key=AXIS.widget)
    SPLIT.offer(SPLITS)
    splits = row.pills("Figures", SPLITS, selection_mode="multi", key=SPLIT.widget)
    with row.popover("Groups", icon=":material/tune:"):
        facets, colour, stroke = _groups(chosen)
        SMOOTHING.offer(SMOOTHINGS)
        smoothing = st.select_slider("Smoothing, in epochs (the raw line stays)", SMOOTHINGS, key=SMOOTHING.widget)
    SHOW.offer(OPTIONS)
    shown = row.pills("Show", OPTIONS, selection_mode="multi", key=SHOW.widget)
    if stroke != BY_SPLIT:
        splits = splits[-1:]  # the stroke does not tell them apart any more
    return View(
        str(measure),
        str(axis),
        tuple(facets),
        colour,
        stroke,
        tuple(splits or SPLITS[-1:]),
        same_axis="one y-axis" in shown,
        log_x="log x" in shown,
        log_y="log y" in shown,
        smoothing=smoothing,
    ), frozenset(shown)


def _groups(chosen: Sequence[Run]) -> tuple[list[str], str, str]:
    """Facets, colour and stroke; until one is chosen, they follow what differs among the runs."""
    facets, colour = curves.default_grouping(chosen)
    FACETS.offer(PARAMETERS, facets, most=2)
    facets = st.multiselect("A panel for each", PARAMETERS, max_selections=2, key=FACETS.widget)
    rest = [name for name in PARAMETERS if name not in facets]
    COLOUR.offer(rest, colour if colour in rest else rest[0])
    colour = st.selectbox("Colour", rest, key=COLOUR.widget)
    strokes = [BY_SPLIT, *(name for name in rest if name != colour)]
    STROKE.offer(strokes)
    stroke = st.selectbox("Stroke", strokes, format_func=_stroke_name, key=STROKE.widget)
    return facets, colour, stroke


def _stroke_name(name: str) -> str:
    return "train / test" if name == BY_SPLIT else name
