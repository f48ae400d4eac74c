"""What trains now and what waits, drawn anew while it does."""

from collections.abc import Sequence

import streamlit as st

from cnnviz import wording
from cnnviz.analysis import curves
from cnnviz.app import cache, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.jobs import control
from cnnviz.jobs.status import WorkerStatus, workers
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import View
from cnnviz.store.runs import Run

PANEL_WIDTH = 215  # pixels of a live chart; the study's four stand side by side on a laptop


def section(found: Sequence[Run]) -> None:
    """Nothing, if nothing trains or waits."""
    if any(run.active for run in found):
        st.fragment(live, run_every=1.5)(state(found))


def state(found: Sequence[Run]) -> tuple[tuple[str, str, int], ...]:
    return tuple((run.id, run.status, run.epoch) for run in found)


def live(known: tuple[tuple[str, str, int], ...]) -> None:
    with shell.readable_errors():  # app.py's are not around a fragment that runs by itself
        watch(known)


def watch(known: tuple[tuple[str, str, int], ...]) -> None:
    found = cache.runs()
    if state(found) != known:
        st.rerun(scope="app")
    active = [run for run in found if run.active]
    statuses = workers()
    if active and not any(status.alive for status in statuses):
        control.ensure_worker()
    for line in control.troubles(statuses):
        st.warning(plain(line), icon=":material/warning:")
    for status in statuses:
        hung(status)
        moving = [status.runs[run.id] for run in active if run.id in status.runs]
        if not status.alive or not moving:
            if status.alive and active:
                st.progress(0.0, text=f"**{status.phase}** on {status.device} {plain(status.message)}")
            continue
        left = [each.seconds_left for each in moving if each.seconds_left is not None]
        words = [f"**{status.phase}** {wording.count(len(moving), 'run')} on {status.device}"]
        words += [f"epoch {min(each.epoch for each in moving)} of {max(each.target for each in moving)}"]
        rate = sum(each.images_per_second for each in moving)
        words += [f"{rate:,.0f} images/s"] if rate else []
        words += [f"{wording.duration(max(left))} left"] if left else []
        share = sum(each.fraction for each in moving) / len(moving)
        st.progress(min(share, 1.0), text=" · ".join(words))
    waiting = [run for run in active if run.status == "SCHEDULED"]
    if waiting:
        st.caption(f"{len(waiting)} waiting: " + plain(", ".join(run.name for run in waiting[:6])))
    training = [run for run in active if run.status == "RUNNING" and run.epoch >= 0]
    if training:
        history = cache.history(training, curves.metrics("Accuracy"))
        lines = curves.lines(history, training, {run.id: run for run in found}, "Accuracy")
        facets, colour = curves.default_grouping(training)
        view = View("Accuracy", facets=tuple(facets), colour=colour, splits=("test",))
        row = st.container(horizontal=True)
        for panel in curve_charts.panels(lines, view, widgets.hues(colour, training), height=150):
            with row.container(width=PANEL_WIDTH):
                st.caption(plain(panel.title or "test accuracy"))
                st.altair_chart(panel.chart, width="stretch", key=f"live {panel.title}")


def hung(status: WorkerStatus) -> None:
    if (seconds := status.hangs_for) is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"The worker on {status.device} has not moved for {wording.duration(seconds)}. "
            "Replaced, it goes on from the last complete epochs.",
            icon=":material/warning:",
        )
        if st.button("Replace it", key=f"replace {status.device}", icon=":material/restart_alt:"):
            control.replace_worker(status.device)
            st.rerun()
