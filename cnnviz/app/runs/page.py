"""Runs: every run there is."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from cnnviz import wording
from cnnviz.app import cache, launch, shell, watching, widgets
from cnnviz.app.state import Address, Slot, open_page
from cnnviz.jobs import control, mlflow_ui
from cnnviz.store import addresses, artifacts, changes
from cnnviz.store.runs import Run

DELETED = Slot[list[str]]("deleted", [])  # what the last click on Delete deleted
MLFLOW_URL = Slot("mlflow_url", "")
ADDRESS = Address("pages/runs.py")


def table(found: Sequence[Run]) -> list[Run]:
    """The table; returns the chosen runs."""
    rows = [
        {
            "status": "◌ stopping" if run.stopping else widgets.STATUS[run.status],
            "run": run.name,
            "data": "synthetic" if run.config.dataset == "synthetic" else "CIFAR-10",
            "epochs": f"{max(run.epoch, 0)} / {run.config.epochs}",
            "best": 100 * run.best[1] if run.best else None,
            "@": run.best[0] if run.best else None,
            "last": 100 * run.accuracy[-1] if run.accuracy else None,
            "test accuracy": [100 * value for value in run.accuracy if value == value],
            "time": wording.duration(run.seconds) if run.segments else "",
            "started": run.created,
            "id": run.id[:6],
            "note": run.message,
        }
        for run in found
    ]
    columns = {
        "best": st.column_config.NumberColumn("best", width=76, format="%.2f %%", help="best test accuracy"),
        "@": st.column_config.NumberColumn("@ epoch", help="epoch of the best test accuracy"),
        "last": st.column_config.NumberColumn(
            "last", width=76, format="%.2f %%", help="test accuracy after the last epoch"
        ),
        "test accuracy": st.column_config.LineChartColumn("test accuracy", y_min=0, y_max=100, help="0 to 100 %"),
        "run": st.column_config.TextColumn("run", width=290),
        "started": st.column_config.DatetimeColumn("started", format="D MMM, HH:mm"),
    }
    height = min(38 + 35 * len(rows), 520)
    event = st.dataframe(
        pd.DataFrame(rows),
        column_config=columns,
        hide_index=True,
        on_select="rerun",
        key="table",
        height=height,
        alt="All runs",
    )
    return [found[row] for row in event.selection.rows if row < len(found)]


def actions(chosen: Sequence[Run]) -> None:
    ids = [run.id for run in chosen]
    row = st.container(horizontal=True)
    if row.button("Compare curves", disabled=not chosen, icon=":material/show_chart:", key="compare"):
        open_page("pages/curves.py", runs=[run_id[:8] for run_id in ids])
    if row.button("Feature maps", disabled=len(chosen) != 1, icon=":material/grid_view:", key="inspect"):
        open_page("pages/feature_maps.py", run=ids[0][:8])
    idle = bool(chosen) and not any(run.active for run in chosen)
    with row.popover("Continue", disabled=not idle, icon=":material/resume:"):
        launch.more_epochs(chosen, "runs")
    with row.popover("Fork", disabled=len(chosen) != 1, icon=":material/call_split:"):
        if len(chosen) == 1 and (kept := artifacts.checkpoint_epochs(ids[0])):
            launch.fork(chosen[0], st.selectbox("After epoch", kept[::-1], key="fork_epoch"), "runs")
    stoppable = bool(chosen) and all(run.active for run in chosen)
    if row.button("Stop", disabled=not stoppable, icon=":material/stop:", key="stop"):
        with shell.readable_errors():
            control.stop(ids, ended_ok=True)
            widgets.refresh()
    deletable = bool(chosen) and not any(run.status == "RUNNING" for run in chosen)
    with row.popover("Delete", disabled=not deletable, icon=":material/delete:"):
        st.write(f"Delete {wording.count(len(chosen), 'run')}? You can undo it.")
        if st.button("Delete", type="primary", key="delete"):
            with shell.readable_errors():
                changes.delete(ids)
                DELETED.set(ids)
                widgets.refresh()
    if not chosen:
        st.caption("Tick runs in the table to compare, inspect, continue, fork, stop or delete them.")


def undo() -> None:
    ids = DELETED.get()
    if ids and st.button(f"Undo deleting {wording.count(len(ids), 'run')}", icon=":material/undo:", key="undo"):
        changes.restore(ids)
        DELETED.pop()
        widgets.refresh()


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
        watching.section(found)
        if found:
            picked = table(found)
            actions(picked)
        else:
            widgets.empty_state(
                "No runs yet. Choose a preset in the sidebar and click **Train**: "
                "the curves grow here while the networks learn."
            )
        undo()
        if found:
            st.divider()
            link_to_mlflow()
