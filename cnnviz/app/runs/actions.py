"""What is done with the ticked runs."""

from collections.abc import Sequence

import streamlit as st

from cnnviz import wording
from cnnviz.analysis import leaderboard
from cnnviz.app import launch, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.runs import program
from cnnviz.app.state import Slot, open_page
from cnnviz.jobs import control
from cnnviz.store import artifacts, changes
from cnnviz.store.runs import Run

MOST_NAMED = 5  # runs in the question whether to delete them
ASKED = Slot[list[str]]("asked_to_delete", [])  # ids, while the question is open
DELETED = Slot[list[str]]("deleted", [])  # what the last deletion deleted


def row(ticked: Sequence[Run]) -> None:
    """A button for each thing that can be done with them."""
    if not ticked:
        st.caption("Tick runs to compare their curves, look inside one, continue, fork, stop or delete them.")
        return
    ids, many = [run.id for run in ticked], len(ticked)
    place = st.container(horizontal=True)
    if place.button(f"Compare {many}" if many > 1 else "Curves", icon=":material/show_chart:", key="compare"):
        open_page("pages/curves.py", runs=[run_id[:8] for run_id in ids])
    one = many == 1
    only_one = None if one else "of one run: tick only one"
    if place.button("Feature maps", disabled=not one, icon=":material/grid_view:", key="inspect", help=only_one):
        open_page("pages/feature_maps.py", run=ids[0][:8])
    few = None if many < 3 else "of one run or of two: tick no more"
    if place.button("Mistakes", disabled=many > 2, icon=":material/rule:", key="mistakes", help=few):
        open_page("pages/mistakes.py", run=ids[0][:8], **({"other": ids[1][:8]} if many == 2 else {}))
    idle = not any(run.active for run in ticked)
    with place.popover(_many("Continue", many), disabled=not idle, icon=":material/resume:", key="runs_continue"):
        launch.more_epochs(ticked, "runs")
    fork = place.popover(
        "Fork", disabled=not one, icon=":material/call_split:", key="runs_fork", help=only_one, on_change="rerun"
    )
    if one and fork.open and (kept := artifacts.checkpoint_epochs(ids[0])):  # a remote store's are read slowly
        with fork:
            launch.fork(ticked[0], st.selectbox("After epoch", kept[::-1], key="fork_epoch"), "runs")
    if place.button("As PyTorch", disabled=not one, icon=":material/code:", key="as_pytorch", help=only_one):
        program.OPEN.set(ids[0])
        st.rerun()
    stoppable = all(run.active for run in ticked)
    if place.button(_many("Stop", many), disabled=not stoppable, icon=":material/stop:", key="stop"):
        with shell.readable_errors():
            control.stop(ids, ended_ok=True)
            widgets.refresh()
    trains = any(run.status == "RUNNING" for run in ticked)
    if place.button(
        _many("Delete", many),
        disabled=trains,
        icon=":material/delete:",
        key="ask_to_delete",
        help="one of them is training: stop it first" if trains else None,
    ):
        ASKED.set(ids)
        st.rerun()


def _many(word: str, number: int) -> str:
    return f"{word} {number}" if number > 1 else word


def question(found: Sequence[Run]) -> None:
    """Whether to delete, while that is asked: drawn anew with the page, or a page drawn meanwhile would close it."""
    by_id = {run.id: run for run in found}
    runs = [by_id[run_id] for run_id in ASKED.get() if run_id in by_id]
    if runs:
        st.dialog(f"Delete {wording.count(len(runs), 'run')}?", on_dismiss=_keep)(_question)(runs)
    elif ASKED.get():
        ASKED.pop()  # they were deleted elsewhere


def _question(runs: Sequence[Run]) -> None:
    names = leaderboard.columns(runs)
    lines = [f"- {plain(leaderboard.label(run, names))}" for run in runs[:MOST_NAMED]]
    if (more := len(runs) - MOST_NAMED) > 0:
        lines.append(f"- and {more} more")
    st.markdown("\n".join(lines))
    if len(runs) > 1:
        st.caption(plain(f"All: {leaderboard.shared(runs)}"))
    st.caption("You can undo it.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete", icon=":material/delete:"):
            ids = [run.id for run in runs]
            with shell.readable_errors():
                changes.delete(ids)
                DELETED.set(ids)
                ASKED.pop()
                widgets.refresh()
        if st.button("Keep", key="keep"):
            _keep()
            st.rerun()


def _keep() -> None:
    ASKED.pop()


def undo() -> None:
    ids = DELETED.get()
    if ids and st.button(f"Undo deleting {wording.count(len(ids), 'run')}", icon=":material/undo:", key="undo"):
        with shell.readable_errors():
            changes.restore(ids)
            DELETED.pop()
            widgets.refresh()
