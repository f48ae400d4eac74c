"""Feature maps: what every layer of a trained network makes of a picture, and what it is good for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
import torch

from cnnviz.app import answers, cache, networks, shell, widgets
from cnnviz.app.maps import changes, channel, exports, kernels, layers, mistakes, pictures, selection, training, views
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.layers import Shown
from cnnviz.app.maps.looked import Looked, prediction
from cnnviz.app.markdown import plain
from cnnviz.app.state import Address
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.inspection.training_mode import has_modes

ADDRESS = Address(
    "pages/feature_maps.py",
    (
        *changes.KEYS,
        *pictures.KEYS,
        *selection.KEYS,
        *layers.KEYS,
        *views.KEYS,
        *kernels.KEYS,
        *mistakes.KEYS,
        *training.KEYS,
    ),
)


def page() -> None:
    # A picture's tensors are small: more threads would only wait for one another, all the longer beside a training.
    torch.set_num_threads(1)
    st.html(Path(__file__).with_name("maps.css"))
    with st.container(key="maps_title"):  # for screen readers: the maps have its room
        st.title("Feature maps")
    with ADDRESS.on_show():
        line = st.container(key="maps_line", horizontal=True, vertical_alignment="bottom", gap="small")
        notes = st.container()
        with line:
            chosen = networks.choose(cache.runs())
        if chosen:
            with notes:
                widgets.say_mode([one.run for one in chosen])
            look(changes.load(chosen, notes), line)


def look(looked: list[Looked], line: st.delta_generator.DeltaGenerator) -> None:
    if looked[0].run.config.dataset != looked[-1].run.config.dataset:
        raise CnnvizError("the two networks learned different data sets: choose two of the same")
    selection.check(looked)
    dataset = answers.load_dataset(looked[0].run.config.dataset)
    predictions = [partial(prediction, one, dataset) for one in looked]
    choice = None
    with line, shell.readable_errors():
        choice = pictures.choose(dataset, predictions, [one.network for one in looked])
    if choice is None:
        return
    stage = st.container(key="maps_stage", horizontal=True, gap="small")
    with stage.container(key="maps_diagram"):
        shown = layers.draw(looked, choice, dataset)
    finish = _detail(stage, shown, choice, dataset)
    with st.container(key="maps_views", horizontal=True, horizontal_alignment="distribute"):
        options = [view for view in VIEWS if _is_there(view, looked)]
        selection.VIEW.offer([selection.MAPS, *options])
        st.segmented_control(
            "More of it",
            options,
            format_func=lambda view: VIEWS[view][0],
            key=selection.VIEW.widget,
            label_visibility="collapsed",
        )
        with st.container(horizontal=True, width="content"):
            _layout(looked)
            _export(shown, choice, dataset)
    if looked[0].changes and not finish:
        with st.container(horizontal=True, vertical_alignment="center"):
            channel.effect(shown[0], dataset)
            st.button("Restore all", key="restore", icon=":material/undo:", on_click=changes.restore)
    ADDRESS.update()  # before what may take seconds
    with shell.readable_errors():
        if view := selection.VIEW.get():
            VIEWS[view][1](looked, choice, dataset)
    if finish:
        finish()


def _is_there(view: str, looked: list[Looked]) -> bool:
    if view == selection.TRAINING:
        return any(has_modes(one.run.config) for one in looked)
    return view != selection.MATCH or len(looked) > 1


def _detail(
    stage: st.delta_generator.DeltaGenerator, shown: list[Shown], choice: Choice, dataset: Dataset
) -> Callable[[], None] | None:
    """The channel that is chosen, beside the diagram; what remains to be done of it comes back."""
    # Always there: the diagram would be made anew, and lose the focus, if what stands beside it came and went.
    place = stage.container(key="maps_detail", border=True)
    chosen = selection.selected()
    its = next((each for each in shown if chosen and each.one.side == chosen.side), None)
    if chosen is None or its is None or chosen.step not in its.scales:
        return None
    with place, shell.readable_errors():
        return channel.detail(its, its.maps[chosen.step], chosen.channel, choice, dataset)


def _layout(looked: list[Looked]) -> None:
    # Drawn only while it is open: closed, the browser would go on reporting what it last showed there.
    place = st.popover("Layout", icon=":material/tune:", key="maps_layout", on_change="rerun")
    if place.open:
        with place:
            st.radio(
                "Colours",
                list(layers.SCALES),
                format_func=layers.SCALES.__getitem__,
                key=layers.SCALE.widget,
                help="Locked, one colour means one value in both networks and at every epoch.",
            )
            st.toggle("Values before the activation too", key=layers.BEFORE.widget)
            changes.layout(looked)


def _export(shown: list[Shown], choice: Choice, dataset: Dataset) -> None:
    place = st.popover("Export", icon=":material/download:", key="maps_export", on_change="rerun")
    if place.open:
        with place:
            exports.draw(shown, choice, dataset.classes)


def layer_tables(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    for arch in dict.fromkeys(one.run.architecture for one in looked):
        rows = [
            {
                "layer": layer.name,
                "kind": f"{layer.kind} of {layer.shortcut}" if layer.shortcut else layer.kind,
                "kernel": f"{layer.kernel}×{layer.kernel}" if layer.kernel else "–",
                "stride": str(layer.stride) if layer.stride else "–",
                "padding": str(layer.padding) if layer.kind == "convolution" else "–",
                "output": "×".join(map(str, layer.output)),
                "parameters": layer.parameters,
                "receptive field": f"{layer.receptive_field}×{layer.receptive_field}",
                "multiply-adds": layer.multiply_adds,
            }
            for layer in arch.layers
        ]
        st.markdown(f"**Layers of {plain(arch.name)}**")
        thousands = st.column_config.NumberColumn(format="localized")
        config = {"parameters": thousands, "multiply-adds": thousands}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Layer table")
        folded = " Its batch norm is folded into the weights that the pages show." if arch.batch_norm else ""
        st.caption(f"{arch.parameters:,} parameters, {arch.multiply_adds:,} multiply-adds for one picture.{folded}")


# What may stand below the diagram, in this order; of the two networks compared, only if there are two, and of training
# mode only if a network has dropout or batch norm.
VIEWS: dict[str, tuple[str, Callable[[list[Looked], Choice, Dataset], None]]] = {
    selection.WHY: ("Why this class", views.why),
    selection.KERNELS: ("Kernels", kernels.kernels),
    selection.MISTAKES: ("Mistakes", mistakes.mistakes),
    selection.SHEET: ("Ten pictures", views.ten_pictures),
    selection.TRAINING: ("Training mode", training.training_mode),
    selection.MATCH: ("Two networks compared", views.compared),
    selection.LAYERS: ("Layers", layer_tables),
}
