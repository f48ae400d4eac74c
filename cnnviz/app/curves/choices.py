"""What the curves show: which runs, of what, against what, in which groups. All of it is in the address."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.analysis import curves, launches
from cnnviz.analysis.comparison import PARAMETERS, noun
from cnnviz.analysis.curves import AXES, MEASURES, SPLITS
from cnnviz.app import widgets
from cnnviz.app.state import Slot, list_key, number_key, text_key
from cnnviz.render.curve_charts import View
from cnnviz.store.runs import Run
from cnnviz.wording import count

SMOOTHINGS = (1, 3, 5, 9, 15)  # epochs
OPTIONS = ("one y-axis", "log y", "log x", "findings", "seeds apart", "forks at 0")
BY_SPLIT = "split"  # the stroke that tells train from test
ALL = "all"  # every experiment

RUNS = list_key(
    "runs",
    key="curve_runs",
    parse=lambda text: text[:8],
    pinned=True,
    wrong="{text} from the address is not in this store; it is left out",
)
MEASURE = text_key("measure", "Error")
AXIS = text_key("axis", "Epochs")
SPLIT = list_key("splits", SPLITS)
FACETS = list_key("facets")
COLOUR = text_key("colour")
STROKE = text_key("stroke", BY_SPLIT)
SMOOTHING = number_key("smoothing", SMOOTHINGS[0])
SHOW = list_key("show", ("one y-axis", "findings"))
KEYS = (RUNS, MEASURE, AXIS, SPLIT, FACETS, COLOUR, STROKE, SMOOTHING, SHOW)
_EXPERIMENT = Slot[str | None]("curve_experiment", None)


def runs(found: Sequence[Run]) -> list[Run]:
    """Those chosen; the button that says how many there are opens their list."""
    by_id = {run.id[:8]: run for run in found}
    RUNS.offer(by_id, [run.id[:8] for run in newest(found)])
    # Drawn only while it is open: closed, the browser would go on reporting what it last showed there.
    place = st.popover(count(len(RUNS.get()), "run"), key="curves_runs", on_change="rerun")
    if place.open:
        with place:
            _experiment(found)
            st.multiselect("Runs", list(by_id), format_func=lambda key: widgets.label(by_id[key]), key=RUNS.widget)
    return [by_id[key] for key in RUNS.get()]


def newest(found: Sequence[Run]) -> list[Run]:
    """The newest experiment, and whatever trains or waits."""
    last = {run.id for run in launches.experiments(found)[0]}
    return [run for run in found if run.active or run.id in last]


def _experiment(found: Sequence[Run]) -> None:
    """All runs of one launch at once."""
    groups = {each[0].id[:8]: each for each in launches.experiments(found)}
    titles = {key: f"{launches.title(each)} · {each[0].created:%d %b, %H:%M}" for key, each in groups.items()}
    chosen = set(RUNS.get())
    if len(groups) > 1:
        groups, titles = groups | {ALL: list(found)}, titles | {ALL: f"All {len(found)} runs"}
    now = (key for key, each in groups.items() if {run.id[:8] for run in each} == chosen)
    _EXPERIMENT.set(next(now, None))

    def take() -> None:
        if key := _EXPERIMENT.get():
            RUNS.set([run.id[:8] for run in groups[key]])

    st.selectbox(
        "Experiment",
        list(groups),
        format_func=titles.__getitem__,
        placeholder="Choose an experiment",
        key=_EXPERIMENT.name,
        on_change=take,
    )


def view(chosen: Sequence[Run]) -> tuple[View, frozenset[str]]:
    """How to show them: what is measured, and the button that opens everything else."""
    MEASURE.offer(MEASURES)
    st.selectbox("Measure", list(MEASURES), key=MEASURE.widget, label_visibility="collapsed", width=130)
    AXIS.offer(AXES)
    there = curves.splits(chosen, MEASURE.get())
    if len(there) > 1:
        SPLIT.offer(there, list(there))
    else:
        SPLIT.keep()
    facets, colour = curves.default_grouping(chosen)
    FACETS.offer(PARAMETERS, facets, most=2)
    rest = [name for name in PARAMETERS if name not in FACETS.get()]
    COLOUR.offer(rest, colour if colour in rest else rest[0])
    strokes = [BY_SPLIT, *(name for name in rest if name != COLOUR.get())]
    STROKE.offer(strokes)
    SMOOTHING.offer(SMOOTHINGS)
    SHOW.offer(OPTIONS)
    place = st.popover("Layout", key="curves_layout", on_change="rerun")
    if place.open:
        with place:
            _layout(rest, strokes, there)
    splits, shown = tuple(each for each in there if each in SPLIT.get()) or there[-1:], frozenset(SHOW.get())
    if STROKE.get() != BY_SPLIT:
        splits = splits[-1:]  # the stroke does not tell them apart any more
    return View(
        MEASURE.get(),
        AXIS.get(),
        tuple(FACETS.get()),
        COLOUR.get(),
        STROKE.get(),
        splits,
        same_axis="one y-axis" in shown,
        log_x="log x" in shown,
        log_y="log y" in shown,
        smoothing=SMOOTHING.get(),
    ), shown


def _layout(colours: Sequence[str], strokes: Sequence[str], splits: Sequence[str]) -> None:
    st.multiselect("Panels: one for each", PARAMETERS, max_selections=2, format_func=_name, key=FACETS.widget)
    left, right = st.columns(2)
    left.selectbox("Colour", colours, format_func=_name, key=COLOUR.widget)
    right.selectbox("Stroke", strokes, format_func=_name, key=STROKE.widget)
    if len(splits) > 1:
        st.pills("Lines", splits, selection_mode="multi", key=SPLIT.widget)
    st.segmented_control("Against", list(AXES), required=True, key=AXIS.widget)
    st.select_slider("Smoothing, in epochs (the raw line stays)", SMOOTHINGS, key=SMOOTHING.widget)
    st.pills("Show", OPTIONS, selection_mode="multi", key=SHOW.widget)


def _name(name: str) -> str:
    return "train, validation, test" if name == BY_SPLIT else noun(name)
