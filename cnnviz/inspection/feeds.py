"""What each channel of a step is made from: kernels over the maps before it, or the units before it by their share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cnnviz.inspection.cells import as_input
from cnnviz.inspection.network import LayerMaps, Network, layer_name, output_step, step_names

STRONGEST = 8  # inputs of a unit that are named


@dataclass(frozen=True)
class Feed:
    """How a step reads the one before it.

    same: each channel reads the one of its number (an activation, a pooling, the sum of a residual block, which reads
    that of `shortcut` as well, if that has so many); kernels: every channel reads all of them;
    shares: every unit reads all of them, too many to show each weight.
    """

    kind: Literal["same", "kernels", "shares"]
    kernels: Tensor | None = None  # (channels, inputs, k, k)
    sources: Tensor | None = None  # int64 (units, up to STRONGEST): maps or units before it, the strongest first
    # (units, up to STRONGEST): what each adds to the unit's sum, as a share of all that is added to it or taken from
    # it: −1…1
    shares: Tensor | None = None
    shortcut: str = ""  # the step that a residual block adds


@torch.no_grad()
def feeds(network: Network, image: Tensor, maps: Mapping[str, LayerMaps]) -> dict[str, Feed]:
    """Each step's feed, by its name. image: uint8 (32, 32, 3); maps: those that activations() returns for it."""
    found: dict[str, Feed] = {}
    before = as_input(network, image)
    for step in step_names(network.arch):
        layer = network.arch.layer(layer_name(step))
        if step == layer.name and layer.shortcut:
            found[step] = Feed("same", shortcut=output_step(network.arch.layer(layer.shortcut)))
        elif step != layer.name or not layer.parameters:
            found[step] = Feed("same")
        elif layer.kind == "convolution":
            found[step] = Feed("kernels", kernels=network.module.get_parameter(f"{step}.weight"))
        else:
            found[step] = _shares(network.module.get_parameter(f"{step}.weight"), before)
        before = maps[step].values[0]
    return found


def _shares(weights: Tensor, before: Tensor) -> Feed:
    """Of a fully connected layer, (units, inputs), over maps or units."""
    inputs = before.reshape(len(before), -1)
    added = torch.einsum("usc,sc->us", weights.view(len(weights), *inputs.shape), inputs)
    shares = (added / added.abs().sum(1, keepdim=True).clamp(min=1e-30)).nan_to_num(0, 0, 0)
    _, strongest = shares.abs().topk(min(STRONGEST, shares.shape[1]), 1)
    return Feed("shares", sources=strongest, shares=shares.gather(1, strongest))
