"""What Home shows while there are no runs, drawn before anything slow is loaded."""

import contextlib
import os

import streamlit as st

from cnnviz import paths
from cnnviz.app import shell
from cnnviz.app.home import demonstration
from cnnviz.app.state import Slot

_DRAWN = Slot("opening_drawn", False)  # by first(), in the run that draws the page


def first() -> None:
    """Draw it at once if it is certain that there are no runs; else ensure() does, once they have been looked for."""
    _DRAWN.set(_is_empty() if shell.is_loaded() else _is_new())
    if _DRAWN.get():
        draw()


def ensure() -> None:
    if not _DRAWN.pop():
        draw()


def draw() -> None:
    st.title("See what a convolutional network learns")
    st.markdown(
        "Two small networks look at the same drawn shape after every epoch of their training: one learns to "
        "recognise it, the other never does. Pick another shape, or stop at an epoch."
    )
    demonstration.show()


def _is_empty() -> bool:
    """Asked first on later reruns, too, so that the demonstration keeps its place on the page and goes on playing."""
    from cnnviz.app import cache

    with contextlib.suppress(Exception):  # the page reports it
        return not cache.runs()
    return False


def _is_new() -> bool:
    """Whether the store has not even been made."""
    return not os.environ.get("MLFLOW_TRACKING_URI") and not (paths.home() / "mlflow.db").exists()
