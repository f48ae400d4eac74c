"""The run and epoch that are chosen, by a click on a line or by keys, and what can be done with them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from cnnviz.analysis import curves
from cnnviz.analysis.comparison import labels
from cnnviz.analysis.curves import MEASURES, SPLITS
from cnnviz.app import launch, shell
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot, number_key, open_page, text_key
from cnnviz.store.runs import Run, figure_to_rank

RUN = text_key("at", key="curve_run", pinned=True)
EPOCH = number_key("epoch", key="curve_epoch", pinned=True)  # the feature maps have an epoch of their own
KEYS = (RUN, EPOCH)
_RENEWED = Slot[dict[str, int]]("curves_renewed", {})


def offer(chosen: Sequence[Run], joined: bool) -> tuple[Run, int] | None:
    """The chosen point, the best one's best epoch until another is chosen; None as long as there is no point."""
    begun = {run.id[:8]: run for run in chosen if run.epoch >= 0}
    if not begun:
        return None
    if (asked := RUN.get()) and asked not in begun:  # its run is not on show any more
        EPOCH.set(-1)
    best = max(begun.values(), key=figure_to_rank(begun.values()))
    run = begun[RUN.offer(begun, best.id[:8])]
    default = run.best[0] if run.best else run.epoch
    return run, EPOCH.offer(range(_first(run, joined), run.epoch + 1), default)


def _first(run: Run, joined: bool) -> int:
    return 0 if joined and run.parent else run.first_epoch


def key_of(panel: str, on_show: Collection[str], point: tuple[Run, int] | None) -> str:
    """The key of a panel's chart. A chart reports a click only if it differs from its last one, so one whose last
    click is not what is chosen any more gets a new key, and with it forgets that click."""
    renewed = _RENEWED.get()
    key = f"panel {panel} {renewed.get(panel, 0)}"
    last = _clicked(key)
    if last and point and last != (point[0].id, point[1]) and last[0] in on_show:
        renewed = renewed | {panel: renewed.get(panel, 0) + 1}
        _RENEWED.set(renewed)
    return f"panel {panel} {renewed.get(panel, 0)}"


def take(key: str) -> None:
    """A click on that chart: the run and epoch of the nearest point are chosen."""
    if clicked := _clicked(key):
        RUN.set(clicked[0][:8])
        EPOCH.set(clicked[1])


def _clicked(key: str) -> tuple[str, int] | None:
    state = Slot[Any](key, None).get()  # None before the chart is first drawn
    points = state.selection.get("pick") if state else None
    return (str(points[0]["run_id"]), int(points[0]["epoch"])) if points else None


def line(chosen: Sequence[Run], every: Mapping[str, Run], frame: pd.DataFrame, measure: str, joined: bool) -> None:
    """The chosen run and epoch, which keys change too, with its figures; look inside, fork, continue."""
    begun = {run.id[:8]: run for run in chosen if run.epoch >= 0}
    run, epoch, names = begun[RUN.get()], EPOCH.get(), labels(chosen)
    figures = {split: curves.point(frame, run.id, epoch, [split]).value for split in reversed(SPLITS)}
    written = "{:.1f} %" if MEASURES[measure].factor == 100 else "{:.4g}"
    of = {split: f"{split} " if MEASURES[measure].by_split else "" for split in SPLITS}
    said = ", ".join(f"{of[split]}{written.format(value)}" for split, values in figures.items() for value in values)
    row = st.container(horizontal=True, vertical_alignment="bottom", key="curves_point")
    row.selectbox("Run", list(begun), format_func=lambda key: names[begun[key].id], key=RUN.widget, width=230)
    row.number_input("Epoch", _first(run, joined), max(run.epoch, 1), key=EPOCH.widget, width=110)
    with row.container(width="content", key="curves_doing"):
        st.fragment(_doing)(chosen, every, run, epoch)  # so that what opens need not wait for the charts
    value = f"{measure}: {said}" if said else f"no finite {measure.lower()}"
    st.caption(plain(f"◯ {names[run.id]} at epoch {epoch}. {value}."))


def _doing(chosen: Sequence[Run], every: Mapping[str, Run], run: Run, epoch: int) -> None:
    with shell.readable_errors(), st.container(horizontal=True, vertical_alignment="bottom"):
        _done_with(chosen, every, run, epoch)


def _done_with(chosen: Sequence[Run], every: Mapping[str, Run], run: Run, epoch: int) -> None:
    begun, names = {each.id[:8]: each for each in chosen if each.epoch >= 0}, labels(chosen)
    others = [key for key, each in begun.items() if each is not run and each.first_epoch <= epoch <= each.epoch]
    beside = st.selectbox(
        "Compare with",
        ["", *others],
        int(len(others) == 1),
        format_func=lambda key: names[begun[key].id] if key else "–",
        key=f"beside {run.id} {len(others)}",
        width=230,
    )
    holder = _holder(run, epoch, every)
    if st.button("Look inside", icon=":material/grid_view:", key="maps", help="Its feature maps after this epoch"):
        beside_it = {"other": beside[:8]} if beside else {}
        open_page("pages/feature_maps.py", run=holder.id[:8], epoch=str(epoch), **beside_it)
    place = st.popover("Fork", icon=":material/call_split:", key="curves_fork", on_change="rerun")
    if place.open:
        with place:
            launch.fork(holder, epoch, f"{holder.id} {epoch}")
    place = st.popover("Continue", icon=":material/resume:", key="curves_continue", on_change="rerun")
    if place.open:
        with place:
            _continue(run, chosen)


def _continue(run: Run, chosen: Sequence[Run]) -> None:
    several = [run]
    if len(chosen) > 1:
        which = st.segmented_control(
            "Which", ("This run", f"All {len(chosen)} runs"), default="This run", required=True, key="which"
        )
        several = [run] if which == "This run" else list(chosen)
    launch.more_epochs(several, "curves")


def _holder(run: Run, epoch: int, every: Mapping[str, Run]) -> Run:
    """The run that has the weights of that epoch: before a fork began, one that it was forked from."""
    while epoch < run.first_epoch and run.parent in every:
        run = every[run.parent]
    return run
