"""Changes to a trained network's channels: switched off, or replaced by those of another epoch or network."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cnnviz.architectures import Layer
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import SUFFIX, Network

OFF, OTHER = "off", "other"
_CHANGE = re.compile(r"([a-z]+\d+)\.(\d+):(off|other|epoch-(\d+))")


@dataclass(frozen=True)
class Change:
    """What is done to one channel. Its text, "c3.12:off" or "c1.0:epoch-4", goes in an address."""

    layer: str
    channel: int
    source: str  # "off", "other" (the network beside it) or "epoch-4" (its own, at that epoch)

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
        what = OFF if self.source == OFF else "from the other network"
        return f"{self.layer} · {self.channel} {what if self.epoch is None else f'from epoch {self.epoch}'}"


def parse(text: str) -> Change:
    """Inverse of str(change). Raises ConfigError."""
    match = _CHANGE.fullmatch(text)
    if not match:
        raise ConfigError(f"{text[:60]!r} is not a change: write c3.12:off, c3.12:other or c3.12:epoch-4")
    return Change(match[1], int(match[2]), match[3])


def changed(network: Network, changes: Iterable[Change], donor: Callable[[Change], Network]) -> Network:
    """The network with the changes made: channels from donors first, then those that are switched off.

    donor: the network from which a change takes its channel. Raises ConfigError for a channel that does not exist or a
    donor that does not fit.
    """
    every = list(changes)
    for change in every:
        if change.source != OFF:
            network = transplanted(network, donor(change), change.layer, [change.channel])
    for layer in dict.fromkeys(change.layer for change in every if change.source == OFF):
        silent = [change.channel for change in every if (change.layer, change.source) == (layer, OFF)]
        network = ablated(network, layer, silent)
    return network


def ablated(network: Network, layer: str, channels: Iterable[int]) -> Network:
    """The network with these channels of the layer set to zero, after its activation or after the pooling.

    It shares its weights with the original. Raises ConfigError for a channel that does not exist, and for the logits,
    which are outputs of the network and not channels.
    """
    found, silent = network.arch.layer(layer), sorted(set(channels))
    steps = OrderedDict(network.module.named_children())
    name = layer if found.kind == "pooling" else layer + SUFFIX
    if name not in steps:
        raise ConfigError(f"{layer} holds the logits, which cannot be switched off: choose a layer before it")
    _check_channels(found, silent)
    steps[name] = nn.Sequential(steps[name], _Silence(silent))
    return replace(network, module=nn.Sequential(steps).eval())


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
    return replace(network, module=nn.Sequential(steps).eval())


def _check_channels(layer: Layer, channels: Iterable[int]) -> None:
    if wrong := [channel for channel in channels if not 0 <= channel < layer.output[0]]:
        raise ConfigError(f"{layer.name} has no channel {wrong[0]}: choose from 0 to {layer.output[0] - 1}")


class _Silence(nn.Module):
    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        # Filled and not multiplied: NaN times zero is NaN.
        return x.index_fill(1, torch.tensor(self.channels, dtype=torch.long, device=x.device), 0.0)
