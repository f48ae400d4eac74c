"""Two networks compared: which channels correspond to each other, and how similar whole layers are."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cnnviz.architectures import Architecture
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import Network, each_step, layer_maps, layer_name, step_names

PICTURES = 300  # test pictures over which channels are correlated
CKA_PICTURES = 1000  # test pictures on which layers are compared
CKA_PRODUCTS = 10**11  # multiply-adds of their Gram matrices: a few seconds
GROUPS = 10  # of pictures, each left out once
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

    correlations: (channels of the first, channels of the second). A pair below `least` is no match, and adds nothing to
    the sum. The strongest come first, channels without a match last. Solved exactly, as a linear assignment problem.
    """
    strength = correlations.abs().nan_to_num(0)
    strength = strength * (strength >= least)  # else many weak pairs would outweigh a strong one
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

    Convolutions and what follows them are paired from the first on, fully connected layers from the last back. The sum
    of a residual block, before its activation, has no counterpart in a network without blocks.
    """
    (maps, units), (other_maps, other_units) = (_maps_and_units(arch) for arch in (first, second))
    pairs: list[tuple[str | None, str | None]] = []
    while maps or other_maps:
        sums = [bool(names) and names[0] == layer_name(names[0]) and names[0][0] == "a" for names in (maps, other_maps)]
        mine = maps.pop(0) if maps and (sums[0] or not sums[1]) else None
        theirs = other_maps.pop(0) if other_maps and (sums[1] or not sums[0]) else None
        pairs.append((mine, theirs))
    backwards = itertools.zip_longest(units[::-1], other_units[::-1])
    return [*pairs, *reversed(list(backwards))]


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


# -- similarity of layers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Similarity:
    """Debiased linear CKA of each of one network's steps with each of another's."""

    values: Tensor  # (steps, steps); NaN if one of the two does not vary
    errors: Tensor  # (steps, steps): standard errors, of having shown these pictures and not others
    pictures: int


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Debiased linear centred kernel alignment of two layers' activations, (N, …) each, on the same N pictures.

    1: equal up to rotation and size; about 0, on either side of it: unrelated. NaN for fewer than four pictures, or if
    a layer does not vary over them. Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations
    Revisited", ICML 2019, with the unbiased estimator of HSIC of Song et al. (2012), as Nguyen, Raghu, Kornblith, "Do
    Wide and Deep Networks Learn the Same Things?", ICLR 2021, use it: the plain one calls two layers of noise with more
    units than there are pictures alike.
    """
    return float(_alignment([_gram(first)], [_gram(second)]))


def cka_table(
    first: Network, second: Network, images: Tensor, steps: tuple[Sequence[str], Sequence[str]]
) -> Similarity:
    """Linear CKA of each of the first network's steps with each of the second's.

    images: uint8 (N, 32, 32, 3), of which the first CKA_PICTURES are shown, or fewer to large networks (CKA_PRODUCTS).
    The errors are the jackknife's, over GROUPS groups of pictures.
    """
    sides = list(zip((first, second), steps, strict=True))
    cells = sum(math.prod(net.arch.layer(layer_name(name)).output) for net, names in sides for name in names)
    images = images[: max(GROUPS * 2, min(CKA_PICTURES, math.isqrt(CKA_PRODUCTS // cells)))]
    grams = []
    for net, names in sides:
        found = {maps.name: _gram(maps.values) for maps in each_step(net, images) if maps.name in names}
        grams.append([found[name] for name in names])
    values = _alignment(*grams)
    left_out = torch.arange(len(images)) % GROUPS
    some = []
    for group in range(GROUPS):
        kept = (left_out != group).nonzero().flatten()
        some.append(_alignment(*([gram[kept][:, kept] for gram in its] for its in grams)))
    errors = (torch.stack(some).var(0, correction=0) * (GROUPS - 1)).sqrt()
    return Similarity(values, errors, len(images))


def _gram(values: Tensor) -> Tensor:
    rows = values.flatten(1)
    rows = rows - rows.mean(0)
    return (rows @ rows.T).double()


def _alignment(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """CKA of each Gram matrix, (N, N), of the first with each of the second: (first, second)."""
    if len(first[0]) < 4:
        return torch.full((len(first), len(second)), torch.nan)
    mine, theirs = (torch.stack([_centred(gram).flatten() for gram in grams]) for grams in (first, second))
    lengths = mine.norm(dim=1)[:, None] * theirs.norm(dim=1)
    return torch.where(lengths > 0, mine @ theirs.T / lengths, torch.nan)


def _centred(gram: Tensor) -> Tensor:
    """Without its diagonal, and with rows and columns that add up to 0: two such matrices' inner product is the
    unbiased estimator of HSIC, times N (N - 3) (Székely, Rizzo, "Partial distance correlation", 2014)."""
    count = len(gram)
    bare = gram - gram.diag().diag()
    rows = bare.sum(0) / (count - 2)
    centred = bare - rows - rows[:, None] + rows.sum() / (count - 1)
    return centred - centred.diag().diag()
