"""The view Kernels: a convolution's weights, the first one's as the colours they answer to and as they form."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
import torch
from PIL import Image
from torch import Tensor

from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked
from cnnviz.app.markdown import plain
from cnnviz.app.state import text_key
from cnnviz.app.widgets import empty_state, save_as_png, theme
from cnnviz.architectures import IMAGE_CHANNELS
from cnnviz.data import Dataset
from cnnviz.inspection import recorded
from cnnviz.inspection.network import Network
from cnnviz.render import kernels as render
from cnnviz.render.colours import LIGHT, Scale, Theme
from cnnviz.render.exports import captioned
from cnnviz.render.maps import legend
from cnnviz.store import artifacts

MOST_FRAMES = 8  # epochs of the film
SCALES = {"one": "One scale", "own": "Each its own"}

LAYER = text_key("kernel_layer")
SCALE = text_key("kernel_scale", "one")
KEYS = (LAYER, SCALE)


def kernels(looked: list[Looked], _choice: Choice, _dataset: Dataset) -> None:
    """The kernels of one convolution at the chosen epoch; two networks stand one over the other."""
    layers = list(dict.fromkeys(layer.name for one in looked for layer in one.run.architecture.conv_layers))
    if not layers:
        empty_state("These networks have no convolution, and so no kernels: choose another network.")
        return
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = LAYER.offer(layers, layers[0])
    if len(layers) > 1:
        row.segmented_control("Layer", layers, required=True, key=LAYER.widget)
    first = [one for one in looked if _is_first(one, name)]
    if first:
        SCALE.offer(SCALES)
        row.segmented_control(
            "Full colour is the largest weight",
            list(SCALES),
            format_func={"one": "Of all kernels on show", "own": "Of each kernel"}.__getitem__,
            required=True,
            key=SCALE.widget,
            help="On one scale kernels can be compared, and one sees them grow; on its own each shows its pattern.",
        )
    films = {one.side: _film(one, name) for one in first}
    on_show = [_weights(one.trained, name)[0] for one in first] + [x for film in films.values() for _, x in film]
    common = render.common_limit(on_show)
    deeper = [_weights(one.trained, name) for one in looked if _has(one, name) and one not in first]
    largest = max((render.largest(torch.cat([x.flatten(), b])) for x, b in deeper), default=1.0)
    for one in looked:
        st.markdown(f"**{plain(one.title)}**")
        if not _has(one, name):
            st.caption(f"This network has no {name}.")
        elif one in first:
            _sheet(one, name, films[one.side], common)
        else:
            _grid(one, name, largest)


def _has(one: Looked, name: str) -> bool:
    return name in {layer.name for layer in one.run.architecture.conv_layers}


def _is_first(one: Looked, name: str) -> bool:
    """Whether it sees the picture, so that its kernels have colours."""
    return _has(one, name) and one.run.architecture.weight_layers[0].name == name


def _weights(network: Network, name: str) -> tuple[Tensor, Tensor]:
    """(out, in, rows, columns) and (out,)"""
    parameters = dict(network.module.named_parameters())
    return parameters[f"{name}.weight"].detach(), parameters[f"{name}.bias"].detach()


def _film(one: Looked, name: str) -> list[tuple[int, Tensor]]:
    """Kernels of some of the epochs that were kept, the first and the last among them."""
    kept = artifacts.epochs_to_open(one.run)
    places = torch.linspace(0, len(kept) - 1, min(len(kept), MOST_FRAMES)).round().long().tolist()
    return [(kept[place], _weights(recorded.load(one.run, kept[place]), name)[0]) for place in places]


def _sheet(one: Looked, name: str, film: Sequence[tuple[int, Tensor]], common: float) -> None:
    weights, bias = _weights(one.trained, name)
    own = SCALE.get() == "own"
    limits = render.limits(weights, own, common)
    says = "each kernel's own largest weight (max)" if own else f"a weight of ±{common:.3g}, in all kernels"
    tall, wide = weights.shape[2:]
    sheet = partial(render.sheet, weights, bias, limits)
    st.image(sheet(theme()), alt=f"{len(weights)} kernels of {name}, {tall}×{wide}×{IMAGE_CHANNELS}, as colours")
    st.caption(
        f"{len(weights)} kernels of {tall}×{wide}×{IMAGE_CHANNELS}: grey is zero, full colour {says}; b: bias. "
        "Each is the patch it answers to most."
    )
    drawn: Callable[[Theme], Image.Image] | None = None
    if len(film) > 1:
        drawn = partial(render.film, film, own, common, one.epoch)
        epochs = ", ".join(str(epoch) for epoch, _ in film)
        st.markdown("Epoch by epoch")
        st.image(drawn(theme()), alt=f"Kernels of {name} after epochs {epochs}, an epoch a column")
        more = f"; the first {render.MOST} of {len(weights)}" if len(weights) > render.MOST else ""
        st.caption(f"A row for each kernel, a column for each of {len(film)} kept epochs{more}.")

    def picture() -> Image.Image:
        parts = [("kernels; b: bias", sheet(LIGHT))] + ([("epoch by epoch", drawn(LIGHT))] if drawn else [])
        return captioned(f"{one.title}: kernels of {name}", parts, [f"Grey is zero, full colour {says}."])

    save_as_png("Save as PNG", picture, f"{one.stem}-{name}-kernels", key=f"kernels {one.side}")


def _grid(one: Looked, name: str, largest: float) -> None:
    weights, bias = _weights(one.trained, name)
    finite = bool(weights.isfinite().all() and bias.isfinite().all())
    scale = Scale(-largest, largest, True, finite)
    count, inputs, tall, wide = weights.shape
    draw = partial(render.grid, weights, bias, scale)
    st.image(draw(theme()), alt=f"{count}×{inputs} kernels of {name}, {tall}×{wide}, in blue and red")
    st.image(legend(scale, theme()), alt=f"Weights from {-largest:.3g} to {largest:.3g}")
    st.caption(
        f"A column for each of {count} maps that come out, a row for each of {inputs} that go in, {tall}×{wide} "
        "weights each; the last row is the bias."
    )

    def picture() -> Image.Image:
        return captioned(f"{one.title}: kernels of {name}", [("in by out", draw()), ("weights", legend(scale))])

    save_as_png("Save as PNG", picture, f"{one.stem}-{name}-kernels", key=f"kernels {one.side}")
