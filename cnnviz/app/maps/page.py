"""Feature maps: what every layer of a trained network makes of a picture, and what it is good for."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
import torch

from cnnviz.app import cache, shell, widgets
from cnnviz.app.maps import layers, networks, pictures, views
from cnnviz.app.maps.networks import Looked
from cnnviz.app.maps.pictures import Choice
from cnnviz.app.state import remembered
from cnnviz.app.widgets import enlarge
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.inspection.network import predict
from cnnviz.render import network_charts
from cnnviz.render.maps import caption

VIEWS = {"maps": "Maps", "why": "Why this class", "match": "Two networks compared", "sheet": "Ten pictures"}
ADDRESS: dict[str, Any] = {  # what the address keeps, with what it leaves out
    "run": None, "other": networks.NONE, "epoch": None, "other_epoch": networks.FOLLOW, "source": "test",
    "order": "index", "seed": 0, "class": "all", "page": 1, "picture": None, "view": "maps", "scale": "locked",
    "before": False, "of": "run", "layer": None, "channel": None, "cell": None,
    "target": views.PREDICTED, "matched": None, "sheet_layer": None, "change": [],
}  # fmt: skip


def verdicts(looked: list[Looked], choice: Choice, pictures: Dataset) -> None:
    columns = st.columns([2, *([4] * len(looked))])
    columns[0].image(enlarge(choice.pixels, 5), caption=f"{choice.name}, as the network sees it")
    for one, column in zip(looked, columns[1:], strict=True):
        with column:
            verdict(one, choice, pictures)


def verdict(one: Looked, choice: Choice, pictures: Dataset) -> None:
    trained, now = (predict(net, choice.pixels[None]) for net in (one.trained, one.network))
    st.caption(widgets.plain(one.title))
    st.markdown(f"**{widgets.plain(caption(now, 0, choice.label, pictures.classes))}**")
    if not bool(now.logits.isfinite().all()):
        st.warning("This network diverged: its logits are not finite. Choose an earlier epoch.")
        return
    before, after = (each.probabilities[0].tolist() for each in (trained, now))
    if one.changes:
        drawn = network_charts.before_after(pictures.classes, before, after, choice.label)
        words = ", ".join(change.words for change in one.changes[:6])
        more = f" and {len(one.changes) - 6} more" if len(one.changes) > 6 else ""
        was, has = networks.accuracies(one, pictures)
        st.caption(
            widgets.plain(
                f"With {words}{more}: accuracy on {networks.ACCURACY_PICTURES:,} test images {was:.1%} → {has:.1%} "
                f"({100 * (has - was):+.1f} points)."
            )
        )
    else:
        drawn = network_charts.probabilities(pictures.classes, after, choice.label)
    st.altair_chart(drawn.properties(height=320 if one.changes else 250), width="stretch", key=f"bars {one.side}")
    if one.run.config.loss == "mse":
        st.caption("Trained with MSE, its logits aim at 0 and 1: their softmax stays flat even where it is sure.")


def address(looked: list[Looked]) -> None:
    """Everything that is chosen, so that the address alone shows the same again."""
    # What is not on show in this view stays as the address has it.
    kept = {name: st.session_state.get(name, st.query_params.get(name, default)) for name, default in ADDRESS.items()}
    if kept["channel"] is None:
        kept |= {"layer": None, "of": "run", "cell": None}
    said = {name: value for name, value in kept.items() if value is not None and str(value) != str(ADDRESS[name])}
    st.query_params.from_dict({name: value if isinstance(value, list) else str(value) for name, value in said.items()})


def recall() -> None:
    """What has no widget of its own: the clicked channel, from the address at first."""
    query = st.query_params
    if "run" not in st.session_state:  # the page is entered: what was chosen when it was left is the address's to say
        for name in ADDRESS:
            st.session_state.pop(name, None)
    for name in ("of", "layer", "cell", "channel"):
        if name not in st.session_state:
            st.session_state[name] = query.get(name, "run" if name == "of" else None)
    channel = str(st.session_state.channel)
    st.session_state.channel = int(channel) if channel.isdigit() else None


def page() -> None:
    # A picture's tensors are small: more threads would only wait for one another, all the longer beside a training.
    torch.set_num_threads(1)
    st.title("Feature maps")
    recall()
    looked = networks.choose(cache.runs())
    if not looked:
        return
    if looked[0].run.config.dataset != looked[-1].run.config.dataset:
        raise CnnvizError("the two networks learned different data sets: choose two of the same")
    dataset = pictures.dataset(looked[0].run.config.dataset)
    predictions = [partial(networks.prediction, one, dataset.test_images) for one in looked]
    choice = None
    with shell.readable_errors():
        choice = pictures.choose(dataset, predictions)
    if choice is None:
        address(looked)
        return
    verdicts(looked, choice, dataset)
    options = [view for view in VIEWS if view != "match" or len(looked) > 1]
    remembered("view", options, "maps")
    view = st.segmented_control("Look at", options, format_func=VIEWS.__getitem__, required=True, key="view")
    address(looked)
    with shell.readable_errors():
        if view == "why":
            views.why(looked, choice, dataset)
        elif view == "match":
            views.compared(looked, choice, dataset)
        elif view == "sheet":
            views.ten_pictures(looked, choice, dataset)
        else:
            panels = layers.draw(looked, choice, dataset)
            views.exports(panels, choice)
    layer_tables(looked)
    address(looked)


def layer_tables(looked: list[Looked]) -> None:
    for arch in dict.fromkeys(one.run.architecture for one in looked):
        with st.expander(f"Layers of {widgets.plain(arch.name)}"):
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
