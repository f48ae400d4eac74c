"""Two networks compared: which channels correspond to each other, and how similar whole layers are."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cnnviz.architectures import Architecture
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import Network, each_step, layer_maps, layer_name, step_names

PICTURES = 300  # test pictures on which similarity is measured
ALIKE = 0.4  # absolute correlation below which two channels do not count as a match


@dataclass(frozen=True)
class Match:
    """A channel of the first network and the channel of the second that it is matched with."""

    first: int
    second: int | None  # None: no counterpart
    correlation: float  # Pearson's, over pictures and cells; NaN without a counterpart


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of each channel of one layer with each of another: (channels, channels).

    first, second: (N, channels, height, width) or (N, units) of the same pictures; larger maps are averaged down to the
    size of the smaller. NaN for a channel that does not vary or is not finite.

    Raises ConfigError for maps and units, or for different numbers of pictures.
    """
    if len(first) != len(second) or first.ndim != second.ndim:
        raise ConfigError("two layers can be compared on the same pictures, maps with maps and units with units")
    if first.ndim == 4:
        size = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
        first, second = (torch.nn.functional.adaptive_avg_pool2d(x, size) for x in (first, second))
    return _standard(first) @ _standard(second).T


def _standard(values: Tensor) -> Tensor:
    """(channels, everything else), each row with mean 0 and length 1; NaN for a row that does not vary."""
    rows = values.transpose(0, 1).flatten(1).double()
    varying = rows.amax(1, keepdim=True) > rows.amin(1, keepdim=True)
    rows = rows - rows.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    return torch.where(varying & (length > 0), rows / length, torch.nan)


def match(correlations: Tensor, least: float = ALIKE) -> tuple[Match, ...]:
    """Each channel of the first with one of the second, so that the sum of their absolute correlations is largest.

    correlations: (channels of the first, channels of the second). A pair below `least` is no match. The strongest come
    first, channels without a match last. Solved exactly, as a linear assignment problem.
    """
    strength = correlations.abs().nan_to_num(0)
    rows, columns = linear_sum_assignment(strength.cpu().numpy(), maximize=True)
    partner = {int(row): int(column) for row, column in zip(rows, columns, strict=True)}
    found = []
    for first in range(len(strength)):
        second = partner.get(first)
        if second is not None and strength[first, second] >= least:
            found.append(Match(first, second, float(correlations[first, second])))
        else:
            found.append(Match(first, None, float("nan")))
    return tuple(sorted(found, key=lambda each: (each.second is None, -abs(each.correlation), each.first)))


def paired_steps(first: Architecture, second: Architecture) -> list[tuple[str | None, str | None]]:
    """The steps of two networks in pairs, None for a step without a counterpart.

    Convolutions and what follows them are paired from the first on, fully connected layers from the last back.
    """
    maps, units = zip(*(_maps_and_units(arch) for arch in (first, second)), strict=True)
    backwards = itertools.zip_longest(*(names[::-1] for names in units))
    return [*itertools.zip_longest(*maps), *reversed(list(backwards))]


def _maps_and_units(arch: Architecture) -> tuple[list[str], list[str]]:
    names = step_names(arch)
    maps = [name for name in names if len(arch.layer(layer_name(name)).output) == 3]
    return maps, list(names[len(maps) :])


def matched_channels(first: Network, second: Network, images: Tensor, steps: tuple[str, str]) -> tuple[Match, ...]:
    """The channels of a step of one network matched to those of a step of the other.

    images: uint8 (N, 32, 32, 3). Raises ConfigError for steps that do not exist or cannot be compared.
    """
    values = [layer_maps(net, images, step).values for net, step in zip((first, second), steps, strict=True)]
    return match(correlation(*values))


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of two layers' activations, (N, …) each, on the same N pictures: 0…1.

    Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019, computed from
    N×N Gram matrices, whose size does not depend on the layers'. NaN if a layer does not vary over the pictures.
    """
    return _alignment(_gram(first), _gram(second))


def cka_table(first: Network, second: Network, images: Tensor, steps: tuple[Sequence[str], Sequence[str]]) -> Tensor:
    """Linear CKA of each of the first network's steps with each of the second's: (steps, steps).

    images: uint8 (N, 32, 32, 3).
    """
    grams = []
    for net, names in zip((first, second), steps, strict=True):
        found = {maps.name: _gram(maps.values) for maps in each_step(net, images) if maps.name in names}
        grams.append([found[name] for name in names])
    return torch.tensor([[_alignment(mine, theirs) for theirs in grams[1]] for mine in grams[0]])


def _gram(values: Tensor) -> Tensor:
    rows = values.flatten(1)
    rows = rows - rows.mean(0)
    return (rows @ rows.T).double()


def _alignment(first: Tensor, second: Tensor) -> float:
    length = first.norm() * second.norm()
    return float((first * second).sum() / length) if length > 0 else float("nan")
