"""Accuracy, precision and F1 by class: after this epoch as bars, over the epochs as lines."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from cnnviz.analysis.evidence import accuracy
from cnnviz.app.answers import Epochs
from cnnviz.app.mistakes import answered
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key, text_key
from cnnviz.app.widgets import one_of, theme
from cnnviz.data import Dataset
from cnnviz.inspection.mistakes import Mistakes
from cnnviz.render import confusion_charts
from cnnviz.render.confusion_charts import FIGURES

MEANS = {
    "recall": "Of a class's pictures, the share that is recognised.",
    "precision": "Of the pictures that it calls by a class, the share that is of it; none if it never does.",
    "f1": "The harmonic mean of precision and recall.",
}
SORTS = {"class": "In their order", "value": "Best first"}
FIGURE = text_key("figure", "recall")
SORT = text_key("sort", "class")
KEYS: tuple[Key, ...] = (FIGURE, SORT)


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of one network or of two."""
    found = [(one, answered.at_epoch(one, dataset).mistakes) for one in chosen]
    known = [(one, each) for one, each in found if each is not None]
    if not known:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="classes_controls"):
        figure = one_of("Figure", FIGURES, FIGURE)
        one_of("Order of the classes", SORTS, SORT)
    st.caption(MEANS[figure])
    networks = {one.side: letter for letter, one in zip(("A", "B"), chosen, strict=False)}
    values = {networks[one.side]: _values(each, figure) for one, each in known}
    with st.container(key="classes_stage", horizontal=True):
        with st.container(key="classes_bars"):
            _bars(values, figure, dataset.classes)
        with st.container(key="classes_lines"):
            every = [(networks[one.side], answered.every_epoch(one, dataset)) for one, _ in known]
            _lines(every, figure, chosen, dataset.classes)


def _values(found: Mistakes, figure: str) -> np.ndarray:
    """(classes,); NaN for the precision of a class that is never predicted."""
    values = np.array(getattr(found, figure), float)
    return np.where(found.predicted > 0, values, np.nan) if figure == "precision" else values


def _bars(values: dict[str, np.ndarray], figure: str, classes: Sequence[str]) -> None:
    frame = pd.DataFrame(
        [
            {"class": name, "network": network, "value": value}
            for network, each in values.items()
            for name, value in zip(classes, each, strict=True)
        ]
    )
    first = np.nan_to_num(next(iter(values.values())), nan=-1)
    order = list(classes)
    if SORT.get() == "value":
        order = [classes[each] for each in np.argsort(-first, kind="stable")]
    best, worst = int(first.argmax()), int(first.argmin())
    said = f"{FIGURES[figure]} by class: best {classes[best]}, {accuracy(first[best])}; worst {classes[worst]}"
    said += f", {accuracy(first[worst])}" if first[worst] >= 0 else ", never predicted"
    drawn = confusion_charts.class_bars(frame, FIGURES[figure], order, ink())
    st.altair_chart(drawn, width="stretch", key="class_bars", alt=said)


def _lines(every: Sequence[tuple[str, Epochs]], figure: str, chosen: Sequence[Chosen], classes: Sequence[str]) -> None:
    frames = []
    for network, found in every:
        table = np.stack(
            [np.full(len(classes), np.nan) if each is None else _values(each, figure) for each in found.mistakes]
        )
        frame = pd.DataFrame(table, columns=list(classes)).assign(epoch=found.epochs, network=network)
        frames.append(frame.melt(["epoch", "network"], var_name="class", value_name="value"))
    frame = pd.concat(frames)
    if frame.epoch.nunique() < 2:
        st.caption("One epoch was kept: there are no lines to draw. A run that trains further keeps more.")
        return
    title, epoch = FIGURES[figure], chosen[0].epoch
    if len(every) == 1:
        drawn = confusion_charts.class_lines(frame, title, classes, epoch, ink())
        said = f"{title} of each class over epochs {frame.epoch.min()} to {frame.epoch.max()}"
        st.altair_chart(drawn, width="stretch", key="class_lines", alt=said)
        return
    st.caption("Over the epochs, in per cent: A as a line, B dashed. The dotted line is the epoch on show.")
    with st.container(horizontal=True, gap="small", key="class_panels"):
        for name in classes:
            part = frame[frame["class"] == name]
            drawn = confusion_charts.class_panel(part, name, epoch, ink())
            said = f"{title} of {name} over the epochs in both networks"
            st.altair_chart(drawn, width=210, key=f"class_panel {name}", alt=said)


def ink() -> str:
    """Of what is written on a chart."""
    return "#" + bytes(theme().ink).hex()
