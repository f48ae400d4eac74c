"""Mistakes: what a network gets wrong, epoch by epoch, network against network."""

from collections.abc import Callable

import streamlit as st
import torch

from cnnviz.app import cache, networks, shell
from cnnviz.app.mistakes import calibrated, classes, gallery, many, matrix, over_epochs, pair
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Address, text_key
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError

# In this order; of the two networks compared, only if there are two.
VIEWS: dict[str, tuple[str, Callable[[list[Chosen], Dataset], None]]] = {
    "matrix": ("Confusion matrix", matrix.draw),
    "classes": ("By class", classes.draw),
    "calibration": ("Calibration", calibrated.draw),
    "epochs": ("Over epochs", over_epochs.draw),
    "pair": ("Two networks", pair.draw),
    "many": ("Many networks", many.draw),
}
VIEW = text_key("view", "matrix")
ADDRESS = Address(
    "pages/mistakes.py",
    (VIEW, *networks.KEYS, *gallery.KEYS, *matrix.KEYS, *classes.KEYS, *over_epochs.KEYS, *pair.KEYS, *many.KEYS),
)


def page() -> None:
    torch.set_num_threads(1)  # outputs of epochs are computed side by side, and beside a training
    with ADDRESS.on_show():
        with st.container(key="mistakes_line", horizontal=True, vertical_alignment="bottom", gap="small"):
            st.title("Mistakes", anchor=False, width="content")
            chosen = networks.choose(cache.runs())
        if not chosen:
            return
        if len({one.run.config.dataset for one in chosen}) > 1:
            raise CnnvizError("the two networks learned different data sets: choose two of the same")
        dataset = networks.load_dataset(chosen[0].run.config.dataset)
        options = [view for view in VIEWS if view != "pair" or len(chosen) > 1]
        VIEW.offer(options)
        st.segmented_control(
            "View",
            options,
            format_func=lambda view: VIEWS[view][0],
            required=True,
            key=VIEW.widget,
            label_visibility="collapsed",
            on_change=gallery.restart,
        )
        ADDRESS.update()  # before what may take seconds
        with shell.readable_errors():
            VIEWS[VIEW.get()][1](chosen, dataset)
