"""Runs: every run there is, the best first."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.app import cache, shell, widgets
from cnnviz.app.runs import actions, board, filters, parallel, program
from cnnviz.app.state import Address, Slot
from cnnviz.jobs import mlflow_ui
from cnnviz.store import addresses
from cnnviz.store.runs import Run

MLFLOW_URL = Slot("mlflow_url", "")
ADDRESS = Address("pages/runs.py", filters.KEYS)


def show() -> None:
    """All that a search or a filter changes, drawn anew by itself."""
    with shell.readable_errors():
        _show(cache.runs())
    ADDRESS.update()


def _show(found: Sequence[Run]) -> None:
    shown = filters.controls(found)
    if not shown:
        widgets.empty_state("No run is like that. Search for something else, or click **Show all**.")
        return
    useful, many = parallel.is_useful(found), len(found) >= parallel.MANY_RUNS
    place = parallel.room(many) if useful and many else None
    st.fragment(rows)([run.id for run in found])  # before the chart, which takes longer
    if useful and not many:
        place = parallel.room(many)
    if place is not None:
        with place:
            parallel.section(found, shown)


def rows(known: Sequence[str]) -> None:
    """The table and what is done with the ticked runs: all that a tick changes, drawn anew by itself."""
    with shell.readable_errors():
        found = cache.runs()
        if [run.id for run in found] != known:
            st.rerun(scope="app")
        board.forget(found)
        ticked = board.board(filters.passing(found))
        if hidden := len(board.TICKED.get()) - len(ticked):
            st.caption(f"{hidden} more are ticked, but not shown: nothing is done with them.")
        actions.row(ticked)
    ADDRESS.update()


def link_to_mlflow() -> None:
    with st.container(horizontal=True):
        if addresses.is_server():
            MLFLOW_URL.set(mlflow_ui.start())  # its own
        elif st.button("Open MLflow's UI", icon=":material/open_in_new:", key="mlflow", help="On this machine only"):
            with shell.readable_errors(), st.spinner("Starting MLflow's UI …"):
                MLFLOW_URL.set(mlflow_ui.start())
        if url := MLFLOW_URL.get():
            st.link_button(f"MLflow: {url}", url)


def page() -> None:
    st.title("Runs")
    with ADDRESS.on_show():
        found = cache.runs()
        if found:
            st.fragment(show)()
        else:
            widgets.no_runs()
        actions.undo()
        actions.question(found)
        program.dialog(found)
        if found:
            st.divider()
            link_to_mlflow()
