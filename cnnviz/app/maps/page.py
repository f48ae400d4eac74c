"""Feature maps: what every layer of a trained network makes of a picture, and what it is good for."""

from functools import partial

import pandas as pd
import streamlit as st
import torch

from cnnviz.app import cache, shell
from cnnviz.app.maps import exports, layers, networks, pictures, selection, views
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import ACCURACY_PICTURES, Looked, accuracies, prediction
from cnnviz.app.markdown import plain
from cnnviz.app.state import Address
from cnnviz.app.widgets import enlarge
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.inspection.network import predict
from cnnviz.render import network_charts
from cnnviz.render.maps import caption

VIEWS = {
    selection.MAPS: "Maps",
    selection.WHY: "Why this class",
    selection.MATCH: "Two networks compared",
    selection.SHEET: "Ten pictures",
}
ADDRESS = Address("pages/feature_maps.py", (*networks.KEYS, *pictures.KEYS, *selection.KEYS, *layers.KEYS, *views.KEYS))


def verdicts(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    columns = st.columns([2, *([4] * len(looked))])
    words = f"{choice.name}, as the network sees it"
    columns[0].image(enlarge(choice.pixels, 5), caption=words, alt=words)
    for one, column in zip(looked, columns[1:], strict=True):
        with column:
            verdict(one, choice, dataset)


def verdict(one: Looked, choice: Choice, dataset: Dataset) -> None:
    trained, now = (predict(net, choice.pixels[None]) for net in (one.trained, one.network))
    st.caption(plain(one.title))
    st.markdown(f"**{plain(caption(now, 0, choice.label, dataset.classes))}**")
    if not bool(now.logits.isfinite().all()):
        st.warning("This network diverged: its logits are not finite. Choose an earlier epoch.")
        return
    before, after = (each.probabilities[0].tolist() for each in (trained, now))
    if one.changes:
        drawn = network_charts.before_after(dataset.classes, before, after, choice.label)
        words = ", ".join(change.words for change in one.changes[:6])
        more = f" and {len(one.changes) - 6} more" if len(one.changes) > 6 else ""
        was, has = accuracies(one, dataset)
        st.caption(
            plain(
                f"With {words}{more}: accuracy on {ACCURACY_PICTURES:,} test images {was:.1%} → {has:.1%} "
                f"({100 * (has - was):+.1f} points)."
            )
        )
    else:
        drawn = network_charts.probabilities(dataset.classes, after, choice.label)
    st.altair_chart(drawn.properties(height=320 if one.changes else 250), width="stretch", key=f"bars {one.side}")
    if one.run.config.loss == "mse":
        st.caption("Trained with MSE, its logits aim at 0 and 1: their softmax stays flat even when it is sure.")


def page() -> None:
    # A picture's tensors are small: more threads would only wait for one another, all the longer beside a training.
    torch.set_num_threads(1)
    st.title("Feature maps")
    with ADDRESS.on_show():
        looked = networks.choose(cache.runs())
        if looked:
            look(looked)


def look(looked: list[Looked]) -> None:
    if looked[0].run.config.dataset != looked[-1].run.config.dataset:
        raise CnnvizError("the two networks learned different data sets: choose two of the same")
    selection.check(looked)
    dataset = pictures.load_dataset(looked[0].run.config.dataset)
    predictions = [partial(prediction, one, dataset.test_images) for one in looked]
    choice = None
    with shell.readable_errors():
        choice = pictures.choose(dataset, predictions)
    if choice is None:
        return
    verdicts(looked, choice, dataset)
    options = [view for view in VIEWS if view != selection.MATCH or len(looked) > 1]
    selection.VIEW.offer(options)
    key = selection.VIEW.widget
    view = st.segmented_control("Look at", options, format_func=VIEWS.__getitem__, required=True, key=key)
    ADDRESS.update()  # before what may take seconds
    with shell.readable_errors():
        if view == selection.WHY:
            views.why(looked, choice, dataset)
        elif view == selection.MATCH:
            views.compared(looked, choice, dataset)
        elif view == selection.SHEET:
            views.ten_pictures(looked, choice, dataset)
        else:
            exports.draw(layers.draw(looked, choice, dataset), choice)
    layer_tables(looked)


def layer_tables(looked: list[Looked]) -> None:
    for arch in dict.fromkeys(one.run.architecture for one in looked):
        with st.expander(f"Layers of {plain(arch.name)}"):
            rows = [
                {
                    "layer": layer.name,
                    "kind": layer.kind,
                    "output": "×".join(map(str, layer.output)),
                    "parameters": layer.parameters,
                    "receptive field": f"{layer.receptive_field}×{layer.receptive_field}",
                    "multiply-adds": layer.multiply_adds,
                }
                for layer in arch.layers
            ]
            st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Layer table")
            st.caption(f"{arch.parameters:,} parameters, {arch.multiply_adds:,} multiply-adds for one picture.")
