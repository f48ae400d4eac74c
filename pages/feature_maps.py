"""Feature maps: what every layer of a trained network makes of a picture."""

import io
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from cnnviz import charts, data, features, images, sheet, tracking, ui
from cnnviz.errors import CnnvizError
from cnnviz.features import LayerMaps, Network
from cnnviz.tracking import TrackedRun

GALLERY = 11  # thumbnails at once
SHEET = 10  # pictures of the study's sheet

ui.guard()


@st.cache_resource(max_entries=4, show_spinner="Loading the data set …")
def dataset(name: str, root: str) -> data.Dataset:
    return data.load(name)


@st.cache_resource(max_entries=64, show_spinner=False)
def network(store: str, run_id: str, epoch: int) -> Network:
    run = tracking.run(run_id)
    weights = tracking.load_checkpoint(run, epoch)
    return features.load_network(run.architecture, run.config.activation, run.config.pooling, weights)


def choose_run(found: list[TrackedRun]) -> tuple[TrackedRun, int] | None:
    by_id = {run.id[:8]: run for run in found if run.epoch >= 0}
    if not by_id:
        ui.empty_state("No network to look into yet. Choose a preset in the sidebar and click **Train**.")
        return None
    asked = st.query_params.get("run", "")[:8]
    if asked and asked not in by_id:
        st.warning(ui.plain(f"run {asked} from the address is not in this store; here is the newest instead."))
    keys = list(by_id)
    left, right = st.columns([3, 2])
    key = left.selectbox(
        "Run", keys, keys.index(asked) if asked in by_id else 0, format_func=lambda key: ui.label(by_id[key])
    )
    st.query_params["run"] = key
    kept = tracking.checkpoint_epochs(by_id[key].id)
    if not kept:
        raise CnnvizError(f"{by_id[key].name} has no checkpoint in {tracking.home()}: train it again, or move it here")
    wanted = st.query_params.get("epoch", "")
    epoch = int(wanted) if wanted.isdigit() and int(wanted) in kept else kept[-1]
    if len(kept) > 1:
        epoch = right.select_slider(
            "Epoch", kept, epoch, key=f"epoch {key} {len(kept)}", help="0 is the untrained network"
        )
    st.query_params["epoch"] = str(epoch)
    return by_id[key], epoch


def choose_picture(run: TrackedRun) -> tuple[torch.Tensor, int | None, str] | None:
    """The picture as the network sees it, uint8 (32, 32, 3), its class where known, and what it is called."""
    source = st.segmented_control(
        "Picture from", ["Test set", "Upload"], default="Test set", required=True, key="source"
    )
    return upload() if source == "Upload" else from_test_set(run)


def upload() -> tuple[torch.Tensor, int | None, str] | None:
    left, right = st.columns([3, 1])
    file = left.file_uploader("A picture (JPEG, PNG, WebP, GIF or BMP; at most 20 MB)", key="upload")
    how = right.radio("Make it square", images.HOWS, format_func={"crop": "cut", "fit": "pad"}.__getitem__, key="how")
    if file is None:
        ui.empty_state("Upload a picture: it is shrunk to 32×32 pixels, and shown as the network gets it.")
        return None
    picture = images.open_picture(file.getvalue(), file.name)
    prepared = images.prepare(picture, how)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    thumbnail = picture.image.copy()
    thumbnail.thumbnail((220, 160))
    row.image(thumbnail, caption="original")
    row.image(prepared.square.resize((160, 160)), caption="square")
    row.image(enlarge(prepared.pixels, 5), caption="32×32, as the network gets it")
    st.caption(ui.plain(prepared.note))
    return prepared.pixels, None, picture.name


def from_test_set(run: TrackedRun) -> tuple[torch.Tensor, int | None, str]:
    pictures = dataset(run.config.dataset, str(data.data_root()))
    first, second = st.columns([2, 1])
    wanted = first.pills("Class", pictures.classes, key="class")
    rows = torch.arange(len(pictures.test_labels))
    if wanted:
        rows = rows[pictures.test_labels == pictures.classes.index(wanted)]
    asked = st.query_params.get("picture", "0")
    default = min(int(asked), len(pictures.test_labels) - 1) if asked.isdigit() else 0
    index = int(second.number_input("Test picture", 0, len(pictures.test_labels) - 1, default, key="picture_number"))
    shown = rows[:GALLERY].tolist()
    mosaic = st.container(horizontal=True, gap="small")
    for row in shown:
        with mosaic.container(width=66):
            st.image(enlarge(pictures.test_images[row], 2), width=64)
            st.button(str(row), key=f"take {row}", on_click=take, args=(row,), width="stretch")
    st.query_params["picture"] = str(index)
    return pictures.test_images[index], int(pictures.test_labels[index]), f"test picture {index}"


def take(row: int) -> None:
    st.session_state.picture_number = row


def enlarge(pixels: torch.Tensor, zoom: int) -> np.ndarray:
    return pixels.numpy().repeat(zoom, 0).repeat(zoom, 1)


def verdict(
    net: Network, run: TrackedRun, picture: torch.Tensor, label: int | None, name: str, classes: tuple[str, ...]
) -> None:
    prediction = features.predict(net, picture[None])
    left, right = st.columns([1, 3])
    left.image(enlarge(picture, 7), caption=f"{name}, as the network sees it")
    right.markdown(f"**{ui.plain(sheet.caption(prediction, 0, label, classes))}**")
    if bool(prediction.logits.isfinite().all()):
        right.altair_chart(
            charts.probabilities(classes, prediction.probabilities[0].tolist(), label), width="stretch", key="bars"
        )
    else:
        right.warning("This network diverged: its logits are not finite. Choose an earlier epoch.")
    if run.config.loss == "mse":
        right.caption("Trained with MSE, its logits aim at 0 and 1: their softmax stays flat even where it is sure.")


def all_maps(net: Network, picture: torch.Tensor) -> dict[str, LayerMaps]:
    theme = sheet.DARK if ui.is_dark() else sheet.LIGHT
    every = features.activations(net, picture[None])
    before = st.toggle("Show values before the activation too", key="before")
    for name, maps in every.items():
        dense = len(maps.layer.output) == 1
        last = maps.layer == net.arch.layers[-1]
        if name == maps.layer.name and maps.layer.kind != "pooling" and not before and not last:
            continue
        scale = sheet.Scale.of([maps])
        what = "logits" if last else ("before " if name == maps.layer.name else "after ") + net.activation
        what = f"{net.pooling} pooling" if maps.layer.kind == "pooling" else what
        shape = "×".join(str(size) for size in maps.layer.output)
        st.markdown(f"**{maps.layer.name}** · {maps.layer.kind}, {what} · {shape} · {maps.low:.3g} to {maps.high:.3g}")
        st.image(sheet.legend(scale, theme))
        st.image(sheet.tile(maps.values[0], scale, theme=theme))
        if not dense and maps.layer.kind == "convolution":
            badges(every[maps.layer.name], net.activation)
    return every


def badges(maps: LayerMaps, activation: str) -> None:
    facts = [fact for fact in features.channel_facts(maps, activation) if fact.badges]
    if facts:
        words = "; ".join(f"channel {fact.channel}: {', '.join(fact.badges)}" for fact in facts[:12])
        more = f" and {len(facts) - 12} more" if len(facts) > 12 else ""
        st.caption(ui.plain(f"On this picture, {words}{more}."))


def exports(net: Network, run: TrackedRun, epoch: int, every: dict[str, LayerMaps]) -> None:
    layers = [name for name, maps in every.items() if len(maps.layer.output) == 3]
    default = f"{net.arch.conv_layers[-1].name}_activation" if net.arch.conv_layers else layers[0] if layers else ""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    stem = f"{run.id[:8]}-epoch-{epoch}"
    if layers:
        layer = row.selectbox("Layer of the sheet", layers, layers.index(default), key="sheet_layer", width=220)

        def ten() -> bytes:
            pictures = dataset(run.config.dataset, str(data.data_root()))
            drawn = sheet.sheet(
                net, pictures.test_images[:SHEET], pictures.test_labels[:SHEET], layer, pictures.classes
            )
            return sheet.png(drawn)

        row.download_button("Ten-picture sheet (PNG)", ten, f"{stem}-{layer}.png", "image/png", on_click="ignore")

    def arrays() -> bytes:
        file = io.BytesIO()
        values: dict[str, Any] = {name: maps.values[0].numpy() for name, maps in every.items()}
        np.savez_compressed(file, **values)
        return file.getvalue()

    row.download_button("All maps (NPZ)", arrays, f"{stem}-maps.npz", "application/octet-stream", on_click="ignore")


def layer_table(net: Network) -> None:
    with st.expander("Layers"):
        rows = [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "output": "×".join(map(str, layer.output)),
                "parameters": layer.parameters,
                "receptive field": f"{layer.receptive_field}×{layer.receptive_field}",
                "multiply-adds": layer.multiply_adds,
            }
            for layer in net.arch.layers
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Layer table")
        st.caption(f"{net.arch.parameters:,} parameters, {net.arch.multiply_adds:,} multiply-adds for one picture.")


def page() -> None:
    st.title("Feature maps")
    chosen = choose_run(ui.runs())
    if chosen is None:
        return
    run, epoch = chosen
    net = network(tracking.tracking_uri(), run.id, epoch)
    picture = None
    with ui.readable_errors():
        picture = choose_picture(run)
    if picture is None:
        return
    pixels, label, name = picture
    classes = data.class_names(run.config.dataset)
    verdict(net, run, pixels, label, name, classes)
    every = all_maps(net, pixels)
    exports(net, run, epoch, every)
    layer_table(net)


with ui.readable_errors():
    page()
