"""One line about what trains, on every page but Home, which shows more; a click leads there."""

from typing import Any

import streamlit as st

from cnnviz.app import cache, shell
from cnnviz.app.markdown import plain
from cnnviz.app.watching import batch, style
from cnnviz.jobs import control, stages
from cnnviz.jobs.status import workers
from cnnviz.store.runs import Run

SECONDS = 2.0  # between two looks
HOME, RUNS = ("", "home"), "runs"


def pill(page: Any) -> None:
    """Nothing as long as nothing trains or waits; page: the st.Page on show."""
    if page.url_path in HOME:
        return
    with shell.readable_errors():
        found = cache.runs()
        if not any(run.active for run in found):
            batch.forget()  # its end has been seen
            return
        style.once()
        follows = page.url_path == RUNS  # its table does not follow the training by itself
        st.fragment(_live, run_every=SECONDS)(_state(found, follows), follows)


def _state(found: list[Run], epochs: bool) -> tuple[tuple[str, str, int], ...]:
    return tuple((run.id, run.status, run.epoch if epochs else 0) for run in found)


def _live(known: tuple[tuple[str, str, int], ...], follows: bool) -> None:
    with shell.readable_errors():  # app.py's are not around a fragment that runs by itself
        found = cache.runs()
        if _state(found, follows) != known:
            st.rerun(scope="app")
        with st.container(key="pill"):
            st.page_link("pages/home.py", label=plain(_line(found)), icon=":material/model_training:")


def _line(found: list[Run]) -> str:
    statuses, active = workers(), [run for run in found if run.active]
    if active and not any(status.alive for status in statuses):
        control.ensure_worker()
    if troubles := control.troubles(statuses, active):
        return f"⚠ {troubles[0]}"
    if any(status.hangs_for is not None for status in statuses):
        return "⚠ Training does not move: see Home"
    return stages.one_line(statuses, active)
