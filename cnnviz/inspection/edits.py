"""Changes to a trained network's channels: switched off, held at their mean, or another epoch's or network's."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cnnviz.architectures import Architecture, Layer
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import Network, output_step

OFF, MEAN, OTHER = "off", "mean", "other"
SILENT = (OFF, MEAN)
_CHANGE = re.compile(r"([a-z]+\d+)\.(\d+):(off|mean|other|epoch-(\d+))")


@dataclass(frozen=True)
class Change:
    """What is done to one channel. Its text, "c3.12:off" or "c1.0:epoch-4", goes in an address."""

    layer: str
    channel: int
    # "off" (zero), "mean" (its own over the test set), "other" (the network beside it) or "epoch-4" (its own, then)
    source: str

    def __str__(self) -> str:
        return f"{self.layer}.{self.channel}:{self.source}"

    @property
    def epoch(self) -> int | None:
        """The epoch of the same network from which the channel comes; None: it comes from none."""
        return int(self.source.removeprefix("epoch-")) if self.source.startswith("epoch-") else None

    @property
    def words(self) -> str:
        """The change as a label.

        >>> Change("c3", 12, "epoch-4").words
        'c3 · 12 from epoch 4'
        """
        what = {OFF: "off (zero)", MEAN: "held at its mean", OTHER: "from the other network"}.get(self.source)
        return f"{self.layer} · {self.channel} {what or f'from epoch {self.epoch}'}"


def parse(text: str) -> Change:
    """Inverse of str(change). Raises ConfigError."""
    match = _CHANGE.fullmatch(text)
    if not match:
        raise ConfigError(f"{text[:60]!r} is not a change: write c3.12:off, :mean, :other or :epoch-4")
    return Change(match[1], int(match[2]), match[3])


def changed(
    network: Network,
    changes: Iterable[Change],
    donor: Callable[[Change], Network],
    means: Callable[[str], Tensor],
) -> Network:
    """The network with the changes made: channels from donors first, then those that are switched off or held.

    donor: the network from which a change takes its channel; means: the mean of each channel of a layer, (channels,),
    over the test set, after its activation. Raises ConfigError for a channel that does not exist or a donor that does
    not fit.
    """
    every = list(changes)
    for change in every:
        if change.source not in SILENT:
            network = transplanted(network, donor(change), change.layer, [change.channel])
    for layer in dict.fromkeys(change.layer for change in every):
        values = {change.channel: 0.0 for change in every if (change.layer, change.source) == (layer, OFF)}
        held = [change.channel for change in every if (change.layer, change.source) == (layer, MEAN)]
        _check_channels(network.arch.layer(layer), held)
        if held:
            values |= {channel: float(means(layer)[channel]) for channel in held}
        if values:
            network = held_at(network, layer, values)
    return network


def changeable(arch: Architecture) -> tuple[Layer, ...]:
    """The layers whose channels are offered: those with weights but the logits, and the sums of residual blocks."""
    return tuple(layer for layer in arch.layers[:-1] if layer.parameters or layer.is_activated)


def ablated(network: Network, layer: str, channels: Iterable[int]) -> Network:
    """The network with these channels of the layer set to zero; see held_at."""
    return held_at(network, layer, dict.fromkeys(channels, 0.0))


def held_at(network: Network, layer: str, values: Mapping[int, float]) -> Network:
    """The network with channels of the layer (channel → value) held at one value in every cell, after its activation or
    pooling; of a residual block's second convolution, before the sum.

    Zero is the neutral value of tanh and ReLU. A sigmoid's channel is never near it: its mean takes away what the
    channel says of one picture, and no more. The network shares its weights with the original. Raises ConfigError for a
    channel that does not exist, and for the logits, which are outputs of the network and not channels.
    """
    found = network.arch.layer(layer)
    steps = OrderedDict(network.module.named_children())
    name = output_step(found)
    if found == network.arch.layers[-1]:
        raise ConfigError(f"{layer} holds the logits, which cannot be switched off: choose a layer before it")
    _check_channels(found, values)
    steps[name] = nn.Sequential(steps[name], _Held(values))
    return replace(network, module=type(network.module)(steps).eval())


@torch.no_grad()
def transplanted(network: Network, donor: Network, layer: str, channels: Iterable[int]) -> Network:
    """The network with the donor's kernels and biases in these channels of the layer.

    It shares all other weights with the original. Raises ConfigError for a channel that does not exist, and for kernels
    of another shape.
    """
    found, moved = network.arch.layer(layer), sorted(set(channels))
    key = f"{layer}.weight"
    mine, theirs = network.arch.weight_shapes.get(key), donor.arch.weight_shapes.get(key)
    if mine is None:
        raise ConfigError(f"{layer} has no weights to replace: choose a layer with weights")
    if mine[1:] != theirs[1:] if theirs else True:
        raise ConfigError(f"{layer} of {donor.arch.name} does not fit {network.arch.name}: choose a network like it")
    for arch in (network.arch, donor.arch):
        _check_channels(arch.layer(layer), moved)
    steps = OrderedDict(network.module.named_children())
    steps[layer] = copy.deepcopy(steps[layer])
    for name in ("weight", "bias"):
        steps[layer].get_parameter(name)[moved] = donor.module.get_parameter(f"{found.name}.{name}")[moved]
    return replace(network, module=type(network.module)(steps).eval())


def _check_channels(layer: Layer, channels: Iterable[int]) -> None:
    if wrong := [channel for channel in channels if not 0 <= channel < layer.output[0]]:
        raise ConfigError(f"{layer.name} has no channel {wrong[0]}: choose from 0 to {layer.output[0] - 1}")


class _Held(nn.Module):
    def __init__(self, values: Mapping[int, float]) -> None:
        super().__init__()
        self.channels, self.values = list(values), list(values.values())

    def forward(self, x: Tensor) -> Tensor:
        # Written over and not multiplied: NaN times zero is NaN.
        x = x.clone()
        x[:, self.channels] = x.new_tensor(self.values).view(-1, *[1] * (x.ndim - 2))
        return x
