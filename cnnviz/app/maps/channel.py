"""One channel on the page: its map, its kernel, a cell's arithmetic, its top pictures, and what it is good for."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
import torch
from PIL import Image
from torch import Tensor

from cnnviz import wording
from cnnviz.app import networks
from cnnviz.app.components.pictures import cell_map, tiles
from cnnviz.app.maps import changes
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.layers import Shown
from cnnviz.app.maps.looked import ACCURACY_PICTURES, Looked, accuracies, scan
from cnnviz.app.maps.pictures import choose_picture
from cnnviz.app.maps.selection import CELL, close_channel
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.app.widgets import save_as_png, theme
from cnnviz.data import Dataset
from cnnviz.inspection import cells, edits
from cnnviz.inspection.network import LayerMaps, layer_maps, layer_name, predict
from cnnviz.render import network_charts
from cnnviz.render.colours import Scale, colour
from cnnviz.render.exports import captioned
from cnnviz.render.maps import boxed, legend, mosaic, tile, verdict
from cnnviz.store import artifacts

AS_TRAINED = "as trained"
WIDTH = 370  # pixels that it has


def detail(shown: Shown, maps: LayerMaps, channel: int, choice: Choice, dataset: Dataset) -> Callable[[], None]:
    """Everything about one channel of the maps of one picture. What takes the whole test set, and so seconds at first,
    comes back to be called when the rest of the page is drawn."""
    one, scale = shown.one, shown.scale_of(maps.name, channel)
    kind = "unit" if maps.values.ndim == 2 else "channel"
    head = st.container(horizontal=True, wrap=False, vertical_alignment="top", horizontal_alignment="distribute")
    head.markdown(f"**{maps.name.replace('_', ', ')} · {kind} {channel}** of {plain(one.short)}, epoch {one.epoch}")
    head.button(
        "Close", key="close_channel", icon=":material/close:", type="tertiary", on_click=close_channel, help="Escape"
    )
    _cause(shown, maps.layer.name, channel, choice, dataset)
    parts, words = _made_of(one, maps, channel, scale, choice)
    place = st.container()

    def rest() -> None:
        with place:
            drawn = [*parts, *_over_the_test_set(one, maps, channel, dataset)]
            title = f"{one.title}, {choice.name}: {maps.name.replace('_', ', ')}, {kind} {channel}"
            name = f"{one.stem}-{maps.name}-{channel}"
            save_as_png("Save as PNG", partial(captioned, title, drawn, words), name, key="save channel")

    return rest


# -- cause ---------------------------------------------------------------------------------------


def _cause(shown: Shown, layer: str, channel: int, choice: Choice, dataset: Dataset) -> None:
    one = shown.one
    arch = one.run.architecture
    if layer not in {each.name for each in edits.changeable(arch)}:
        return
    if one.side != "run":
        st.caption("Channels of the first network can be switched off or replaced; this is the second one.")
        return
    others = [f"epoch-{epoch}" for epoch in artifacts.checkpoint_epochs(one.run.id) if epoch != one.epoch]
    if networks.OTHER.get() != networks.NONE:
        others.insert(0, edits.OTHER)
    if not arch.layer(layer).parameters:  # a sum: there is nothing to take from another network
        others = []
    now = next((each for each in one.changes if (each.layer, each.channel) == (layer, channel)), None)
    options = [AS_TRAINED, edits.OFF, edits.MEAN, *others]
    chosen = Slot(f"state of {layer} {channel}", AS_TRAINED)
    chosen.set(now.source if now and now.source in options else AS_TRAINED)
    words = {
        AS_TRAINED: AS_TRAINED,
        edits.OFF: "switched off (zero)",
        edits.MEAN: "held at its mean over the test set",
        edits.OTHER: "from the other network",
    }

    def change() -> None:
        source = chosen.get()
        changes.change_channel(layer, channel, None if source == AS_TRAINED else source)

    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.selectbox(
        "This channel is",
        options,
        format_func=lambda source: words.get(source, source.replace("epoch-", "that of epoch ")),
        key=chosen.name,
        on_change=change,
        width=220,
    )

    def toggle() -> None:
        changes.change_channel(layer, channel, None if now else edits.OFF)

    row.button("Restore" if now else "Switch off", key="switch", on_click=toggle, icon=":material/power_settings_new:")
    if one.changes:
        effect(shown, dataset)
        _probabilities(shown, choice, dataset)


def effect(shown: Shown, dataset: Dataset) -> None:
    """What the changes do to the accuracy, in a sentence."""
    one = shown.one
    words = wording.listed([change.words for change in one.changes])
    was, has = accuracies(one, dataset)
    st.caption(
        plain(
            f"With {words}: accuracy on {ACCURACY_PICTURES:,} test images "
            f"{wording.percent(was)} → {wording.percent(has)} ({100 * (has - was):+.1f} points)."
        )
    )


def _probabilities(shown: Shown, choice: Choice, dataset: Dataset) -> None:
    """Of this picture, before and after the changes."""
    now, trained = shown.prediction, predict(shown.one.trained, choice.pixels[None])
    said = [verdict(each, 0, choice.label, dataset.classes) for each in (trained, now)]
    st.markdown(plain(" → ".join(said)))
    if all(bool(each.logits.isfinite().all()) for each in (trained, now)):
        before, after = (each.probabilities[0].tolist() for each in (trained, now))
        drawn = network_charts.before_after(dataset.classes, before, after, choice.label)
        st.altair_chart(drawn.properties(height=320), width="stretch", key="before and after", alt=" → ".join(said))


# -- one cell ------------------------------------------------------------------------------------


def _made_of(
    one: Looked, maps: LayerMaps, channel: int, scale: Scale, choice: Choice
) -> tuple[list[tuple[str, Image.Image]], list[str]]:
    """Draw a cell's making; captions and pictures, and the arithmetic in words, come back."""
    parts: list[tuple[str, Image.Image]] = []
    ours = [each.source for each in one.changes if (each.layer, each.channel) == (maps.layer.name, channel)]
    was = {edits.OFF: " before it was switched off", edits.MEAN: " before it was held at its mean"}
    before = next((was[source] for source in ours if source in was), "")
    # Nothing is to be seen of a channel that is switched off or held, so it is shown as it was.
    network = one.trained if before else one.network
    values = layer_maps(network, choice.pixels[None], maps.name).values[0, channel]
    row, column = _cell(values)
    cell = cells.explain(network, choice.pixels, maps.name, channel, row, column)
    if values.ndim == 2:
        large, patch = st.columns([4, 3])
        kernels = st.container()
        with large:
            st.caption(f"Its map{before}: choose a cell")
            cell_map(
                f"Channel {channel} of {maps.name}: arrow keys move, Enter chooses a cell",
                values,
                scale,
                (row, column),
                key="large_map",
                on_pick=lambda row, column: CELL.set((row, column)),
                side=200,
            )
        box = cells.receptive_field(maps.layer, row, column)
        patch.caption(f"What the cell sees: {box}")
        framed = boxed(choice.pixels, box, 6)
        patch.image(framed, alt=f"The picture; framed: {box}")
        large_map = Image.fromarray(colour(values, scale)).resize((192, 192), Image.Resampling.NEAREST)
        parts += [(f"its map, {scale.low:.3g} to {scale.high:.3g}", large_map), ("what the cell sees", framed)]
    else:
        kernels = st.container()
    is_weighted = cell.weights is not None and cell.operation != "addition"
    if is_weighted:
        with kernels:
            parts.append(_kernel(cell))
    st.code(cell.written_out(), language=None, wrap_lines=True)
    if is_weighted:
        with st.expander(f"All {cell.inputs.numel():,} products"):
            st.dataframe(_products(cell), hide_index=True, height=260, alt="Every product that the cell adds up")
    return parts, cell.written_out().splitlines()


def _cell(values: Tensor) -> tuple[int, int]:
    """The chosen cell, else the one with the largest magnitude."""
    if values.ndim == 0:
        return 0, 0
    rows, columns = values.shape
    chosen = CELL.get()
    if chosen is not None and chosen[0] < rows and chosen[1] < columns:
        return chosen
    if chosen is not None:
        CELL.refuse(f"is no cell of a map of {rows}×{columns}")
    largest = divmod(int(values.abs().nan_to_num(0).argmax()), columns)
    CELL.set(largest)
    return largest


def _kernel(cell: cells.Cell) -> tuple[str, Image.Image]:
    assert cell.weights is not None
    weights = cell.weights
    if weights.shape[1:] == (1, 1) and cell.operation != "convolution":
        values, what = weights.flatten(), f"{len(weights):,} weights, one for each unit before it"
    else:
        values = weights
        of = ", ".join(cell.sources) if len(cell.sources) <= 3 else f"{len(cell.sources)} maps"
        kind = "kernel" if cell.operation == "convolution" else "weights"
        what = f"{kind}: {weights.shape[1]}×{weights.shape[2]} for each of {of}"
    st.caption(f"Its {what}; bias {cell.bias:.3g}")
    scale, colours = Scale.around_zero(values), theme()
    drawn = tile(values, scale, WIDTH, colours)
    st.image(drawn, alt="Its weights")
    st.image(legend(scale, colours), alt=f"Weights from {scale.low:.3g} to {scale.high:.3g}")
    return f"its weights, {scale.low:.3g} to {scale.high:.3g}", drawn


def _products(cell: cells.Cell) -> pd.DataFrame:
    assert cell.weights is not None
    place = torch.cartesian_prod(*(torch.arange(size) for size in cell.weights.shape)).tolist()
    frame = pd.DataFrame(
        {
            "input": [cell.sources[source] for source, _, _ in place],
            "row": [row for _, row, _ in place],
            "column": [column for _, _, column in place],
            "value": cell.inputs.flatten().tolist(),
            "weight": cell.weights.flatten().tolist(),
        }
    )
    frame["product"] = frame.value * frame.weight
    return frame if max(cell.weights.shape[1:]) > 1 else frame.drop(columns=["row", "column"])


# -- over the test set ---------------------------------------------------------------------------


def _over_the_test_set(one: Looked, maps: LayerMaps, channel: int, dataset: Dataset) -> list[tuple[str, Image.Image]]:
    """Draw what it answers to; captions and pictures come back."""
    found = scan(one, dataset, maps.name)
    if not bool(found.low[channel].isfinite()):
        st.warning(f"Not one finite value on {found.pictures:,} test pictures.")
        return []
    every = f"{found.pictures:,} test pictures"
    saw = "; the frame is what its strongest cell saw" if maps.values.ndim == 4 else ""
    ranked = " by the sum before its activation" if maps.name != maps.layer.name else ""
    st.caption(f"Its top {found.top.shape[1]} of {every}{ranked}, as trained{saw}")
    if found.tied[channel]:
        st.caption("More pictures equal the last of these: which are shown is arbitrary.")
    indices = found.top[channel].tolist()
    framed = [
        _framed(dataset.test_images[index], maps, place)
        for index, place in zip(indices, found.places[channel].tolist(), strict=True)
    ]
    tiles(
        "Top pictures",
        mosaic(np.stack(framed)),
        (64, 64),
        1,
        [
            {
                "name": f"{peak:.3g}",
                "title": f"test picture {index}, {dataset.classes[int(dataset.test_labels[index])]}: {peak:.4g}",
            }
            for index, peak in zip(indices, found.peaks[channel].tolist(), strict=True)
        ],
        key="top_pictures",
        on_pick=lambda place: choose_picture(indices[place]),
    )
    if found.is_dead(channel):
        st.warning(f"Dead: zero in every cell of {every}.")
    st.caption(f"Its values over {every}: {found.low[channel]:.3g} to {found.high[channel]:.3g}")
    drawn = network_charts.distribution(found.counts[channel].tolist(), found.edges.tolist(), layer_name(maps.name))
    st.altair_chart(drawn, width="stretch", key="distribution")
    peaks = found.peaks[channel].tolist()
    return [
        (f"top {place + 1}: {peak:.3g}", Image.fromarray(x))
        for place, (peak, x) in enumerate(zip(peaks, framed, strict=True))
    ]


def _framed(image: Tensor, maps: LayerMaps, place: list[int]) -> np.ndarray:
    if maps.values.ndim == 2:
        return image.numpy().repeat(2, 0).repeat(2, 1)
    return np.asarray(boxed(image, cells.receptive_field(maps.layer, *place), zoom=2))
