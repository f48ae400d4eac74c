"""A run in plain PyTorch: to read, to copy and to download."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from cnnviz.app import shell
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.render import code
from cnnviz.store import artifacts
from cnnviz.store.runs import Run

HEIGHT = 430  # of the script, pixels; the rest is scrolled to
OPEN = Slot("run_as_pytorch", "")  # id, while it is shown


def dialog(found: Sequence[Run]) -> None:
    """The run that is asked for, while it is: drawn anew with the page, or a page drawn meanwhile would close it."""
    if not OPEN.get():
        return
    if run := next((run for run in found if run.id == OPEN.get()), None):
        st.dialog("In plain PyTorch", width="large", on_dismiss=_close)(_show)(run)
    else:
        OPEN.pop()  # it was deleted elsewhere


def _close() -> None:
    OPEN.pop()


def _show(run: Run) -> None:
    st.caption(plain(f"{run.name} · {run.id[:6]}"))
    with shell.readable_errors():
        _tabs(run)


def _tabs(run: Run) -> None:
    """Files are made when they are asked for."""
    script, weights = st.tabs(["Script", "Weights"])
    with script:
        text = code.script(run)
        with st.container(horizontal=True):
            _download("Script", code.file_name(run, "script"), lambda: text)
            _download("Notebook", code.file_name(run, "notebook"), partial(code.notebook, run))
            if run.parent:
                _download("Start weights", code.start_file(run), partial(code.start_weights, run))
        if run.parent:
            st.caption("A fork: keep the start weights in the script's folder.")
        st.code(text, "python", height=HEIGHT)
    with weights:
        if not (kept := artifacts.checkpoint_epochs(run.id)):
            st.caption("No weights are kept yet.")
            return
        epoch = st.selectbox("After epoch", kept[::-1], key="runs_code_epoch")
        name = code.file_name(run, "weights", epoch)
        _download("Weights", name, partial(code.weights, run, epoch))
        st.code(code.loading(run, name), "python")


def _download(label: str, name: str, content: Callable[[], str | bytes]) -> None:
    st.download_button(label, content, name, icon=":material/download:", on_click="ignore", key=f"runs_code_{label}")
