"""Mistakes: what a network gets wrong, epoch by epoch, network against network."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st
import torch

from cnnviz.analysis.findings import ANSWER_KINDS
from cnnviz.app import answers, cache, networks, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import answered, calibrated, classes, gallery, many, matrix, over_epochs, pair
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Address, text_key
from cnnviz.app.widgets import one_of
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.render import mistake_words

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
    st.html(Path(__file__).with_name("mistakes.css"))
    torch.set_num_threads(1)  # outputs of epochs are computed side by side, and beside a training
    with ADDRESS.on_show():
        with st.container(key="mistakes_line", horizontal=True, vertical_alignment="bottom", gap="small"):
            st.title("Mistakes", anchor=False, width="content")
            chosen = networks.choose(cache.runs())
        if not chosen:
            return
        if len({one.run.config.dataset for one in chosen}) > 1:
            raise CnnvizError("the two networks learned different data sets: choose two of the same")
        dataset = answers.load_dataset(chosen[0].run.config.dataset)
        if VIEW.get() != "many":
            with shell.readable_errors():
                _headline(chosen, dataset)
        views = {view: title for view, (title, _) in VIEWS.items() if view != "pair" or len(chosen) > 1}
        one_of("View", views, VIEW, on_change=gallery.restart)
        ADDRESS.update()  # before what may take seconds
        with shell.readable_errors():
            VIEWS[VIEW.get()][1](chosen, dataset)


def _headline(chosen: Sequence[Chosen], dataset: Dataset) -> None:
    """The answer first: what is right and what is the most frequent mistake; and what is found, folded."""
    with st.container(key="mistakes_headline", gap="xsmall"):
        for letter, one in zip(("A", "B"), chosen, strict=False):
            who = f"**{letter}**, {plain(one.short)}: " if len(chosen) > 1 else ""
            found = answered.at_epoch(one, dataset).mistakes
            st.markdown(who + plain(mistake_words.headline(found, one.epoch, dataset.classes)))
        widgets.say_mode([one.run for one in chosen])
    _findings(chosen)


def _findings(chosen: Sequence[Chosen]) -> None:
    """Those on answers, once they are known of every epoch."""
    runs = {one.run.id: one.run for one in chosen}
    letters = dict(zip(runs, ("**A** ", "**B** "), strict=False)) if len(runs) > 1 else dict.fromkeys(runs, "")
    every = cache.findings(list(runs.values()))
    found = [(letters[run_id], each) for run_id in runs for each in every.get(run_id, []) if each.kind in ANSWER_KINDS]
    if not found:
        return
    titles = " · ".join(f"{letter}{plain(each.title)}" for letter, each in found)
    with st.expander(f"**Findings.** {titles}", icon=":material/info:", key="mistakes_findings", type="compact"):
        for letter, each in found:
            st.markdown(f"{letter}{plain(each.sentence)}")
            st.caption(plain(f"What would prove it wrong: {each.refutes}"))
