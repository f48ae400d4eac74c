"""One channel in detail: its receptive field, the arithmetic of a cell, and what activates it over many pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import Layer, activation_module
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import BATCH, Network, activations, each_step, layer_maps, layer_name, output_step

TOP = 9  # pictures that activate a channel most
BINS = 128  # of a histogram; a power of two, so that its range can double
SCAN_CELLS = 100_000_000  # values of one layer in a scan, which then takes seconds; for a LeNet the whole test set
SCAN_PICTURES = 250  # at least, however many cells they have

GLOBAL = "global average pooling"
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Box:
    """Pixels of the picture, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def is_empty(self) -> bool:
        return self.left >= self.right or self.top >= self.bottom

    def __str__(self) -> str:
        if self.is_empty:
            return "no pixel: padding alone"
        columns, rows = f"{self.left} to {self.right - 1}", f"{self.top} to {self.bottom - 1}"
        return f"{self.right - self.left}×{self.bottom - self.top} pixels, columns {columns}, rows {rows}"


@dataclass(frozen=True)
class Cell:
    """One number of a map and everything it was computed from."""

    step: str  # "c3_activation"
    channel: int
    row: int
    column: int
    operation: str  # "convolution", "fully connected", "addition", "max", "average" or "global average pooling"
    sources: tuple[str, ...]  # a name for each channel of the inputs: ("red", "green", "blue")
    # (in_channels, k, k) under the kernel; (1, 2, 2) that were pooled, or a whole map; (2, 1, 1) of a residual block's
    # maps and its input; all inputs of a unit
    inputs: Tensor
    weights: Tensor | None  # as the inputs, 1 for an addition; None for pooling
    bias: float
    summed: float  # before the activation, as the network computed it
    activation: str  # "" if the step is before it, or has none
    value: float  # the cell, as the network computed it

    @property
    def terms(self) -> tuple[tuple[str, float], ...]:
        """What each input channel adds to the sum, and the bias: they add up to `summed`. Empty for pooling.

        An addition has no bias.
        """
        if self.weights is None:
            return ()
        sums = (self.inputs.double() * self.weights.double()).sum((1, 2)).tolist()
        bias = () if self.operation == "addition" else (("bias", self.bias),)
        return (*zip(self.sources, sums, strict=True), *bias)

    def written_out(self, most: int = 12) -> str:
        """The arithmetic in one or two lines of plain text; the smallest terms beyond `most` are summed up."""
        cell = f"{layer_name(self.step)}[{self.channel}]"
        if self.operation not in ("fully connected", GLOBAL):
            cell += f" at row {self.row}, column {self.column}"
        if self.operation == GLOBAL:
            size = "×".join(map(str, self.inputs.shape[1:]))
            return f"{cell} = mean of all {size} cells of {self.sources[0]} = {_number(self.value)}"
        if self.weights is None:
            values = ", ".join(_number(x) for x in self.inputs.flatten().tolist())
            return f"{cell} = {'max' if self.operation == 'max pooling' else 'mean'}({values}) = {_number(self.value)}"
        bias = [term for term in self.terms if term[0] == "bias"]
        inputs = self.terms[: len(self.sources)]
        shown = sorted(sorted(inputs, key=lambda term: -abs(term[1]))[:most], key=inputs.index)
        parts = [f"{_number(term)} [{name}]" for name, term in shown]
        if rest := [term for term in inputs if term not in shown]:
            parts.append(f"{_number(sum(term for _, term in rest))} [{len(rest)} smaller]")
        parts += [f"{_number(term)} [{name}]" for name, term in bias]
        text = f"{cell}: {' + '.join(parts)} = {_number(self.summed)}"
        if not self.activation:
            return text
        after = f"{self.activation}({_number(self.summed)}) = {_number(self.value)}"
        if self.intact:
            return f"{text}\n{after}"
        return f"{text}\nswitched off: 0" if self.value == 0 else f"{text}\nheld at {_number(self.value)}"

    @property
    def intact(self) -> bool:
        """False if the channel was switched off, or held at a value, after its activation."""
        return not math.isfinite(self.expected) or math.isclose(self.value, self.expected, rel_tol=1e-4, abs_tol=1e-6)

    @property
    def expected(self) -> float:
        """The activation of `summed`."""
        return float(activation_module(self.activation)(torch.tensor(self.summed))) if self.activation else self.summed


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def receptive_field(layer: Layer, row: int = 0, column: int = 0) -> Box:
    """The patch of the picture on which one cell of the layer depends; of a unit, row and column are 0."""
    (left, right), (top, bottom) = layer.fields[column], layer.fields[row]
    return Box(left, top, right, bottom)


def kernel(network: Network, layer: str, channel: int) -> Tensor:
    """The channel's weights: (in_channels, k, k) of a convolution, (inputs,) of a unit.

    Raises ConfigError for a layer without weights.
    """
    if f"{layer}.weight" not in network.arch.weight_shapes:
        raise ConfigError(f"{layer} has no kernel: choose a convolution or a fully connected layer")
    return network.module.get_parameter(f"{layer}.weight")[channel]


def explain(network: Network, image: Tensor, step: str, channel: int, row: int = 0, column: int = 0) -> Cell:
    """One cell of a step's map of one picture, uint8 (32, 32, 3), with everything it was computed from.

    Raises ConfigError for a step or a cell that does not exist.
    """
    every = activations(network, image[None])
    name = layer_name(step)
    names = list(every)
    if step not in every:
        raise ConfigError(f"{network.arch.name} has no step {step!r}: choose one of {', '.join(names)}")
    before = names.index(name) - 1
    entering = every[names[before]].values[0] if before >= 0 else as_input(network, image)
    layer, made = every[name].layer, every[name].values[0]
    _inside(layer, channel, row, column)
    at = (channel, row, column) if made.ndim == 3 else (channel,)
    weights: Tensor | None = None
    bias, operation = 0.0, layer.kind
    if layer.kind == GLOBAL:
        inputs = entering[channel : channel + 1]
        sources: tuple[str, ...] = (f"map {channel}",)
    elif layer.kind == "addition":
        brought = every[output_step(network.arch.layer(layer.shortcut))].values[0]
        added = brought[channel, row * layer.stride, column * layer.stride] if channel < len(brought) else None
        inputs = torch.stack([entering[channel, row, column], made.new_zeros(()) if added is None else added])
        inputs = inputs.view(2, 1, 1)
        weights = torch.ones_like(inputs)
        passed = f"map {channel} of {layer.shortcut}" if added is not None else f"{layer.shortcut} has no map {channel}"
        sources = (f"map {channel} of {names[before]}", passed)
    elif layer.kind == "pooling":
        stride = layer.stride
        inputs = entering[channel : channel + 1, row * stride : row * stride + 2, column * stride : column * stride + 2]
        sources = (f"map {channel}",)
        operation = "max pooling" if network.pooling == "max" else "average pooling"
    elif layer.kind == "convolution":
        weights = kernel(network, name, channel)
        side, top, left = layer.kernel, row * layer.stride, column * layer.stride
        padded = torch.nn.functional.pad(entering, (layer.padding,) * 4)
        inputs = padded[:, top : top + side, left : left + side]
        sources = _COLOURS if before < 0 else tuple(f"map {index}" for index in range(len(inputs)))
    else:
        inputs = entering.view(-1, 1, 1) if entering.ndim == 1 else entering
        weights = kernel(network, name, channel).view(inputs.shape)
        kind = "unit" if entering.ndim == 1 else "map"
        sources = _COLOURS if before < 0 else tuple(f"{kind} {index}" for index in range(len(inputs)))
    if layer.parameters:
        bias = float(network.module.get_parameter(f"{name}.bias")[channel])
    return Cell(
        step,
        channel,
        row,
        column,
        operation,
        sources,
        inputs,
        weights,
        bias,
        summed=float(made[at]),
        activation=network.activation if step != name else "",
        value=float(every[step].values[0][at]),
    )


def as_input(network: Network, image: Tensor) -> Tensor:
    """A picture, uint8 (32, 32, 3), as the network's first layer reads it: (3, 32, 32), on its device."""
    device = next(network.module.parameters()).device
    return data.normalise(image[None].to(device), network.scale)[0]


def _inside(layer: Layer, channel: int, row: int, column: int) -> None:
    if not all(0 <= index < size for index, size in zip((channel, row, column), layer.output, strict=False)):
        shape = "×".join(map(str, layer.output))
        raise ConfigError(f"{layer.name} has no cell {channel}, {row}, {column}: its maps are {shape}")


# -- over many pictures --------------------------------------------------------------------------


@dataclass(frozen=True)
class Scan:
    """What every channel of one step did over many pictures."""

    step: str
    pictures: int
    top: Tensor  # int64 (channels, up to 9): the pictures with the highest sum before the activation, highest first
    peaks: Tensor  # (channels, up to 9): the value of the step in those cells
    places: Tensor  # int64 (channels, up to 9, 2): their row and column
    tied: Tensor  # bool (channels,): another picture equals the last of these, so that the choice is arbitrary
    means: Tensor  # (channels,): over all cells of all pictures; NaN if one is not finite
    counts: Tensor  # int64 (channels, BINS): histogram of all finite cells
    edges: Tensor  # (BINS + 1): of the histogram, the same for all channels
    low: Tensor  # (channels,): lowest finite activation
    high: Tensor  # (channels,): highest finite activation

    def is_dead(self, channel: int) -> bool:
        """Zero everywhere, on all the pictures."""
        return bool(self.low[channel] == 0) and bool(self.high[channel] == 0)


@torch.no_grad()
def scan(network: Network, images: Tensor, step: str, on_progress: Callable[[float], object] | None = None) -> Scan:
    """Top pictures and activation histograms of all channels of a step, over pictures, uint8 (N, 32, 32, 3).

    It reads the first of them, up to SCAN_CELLS values. Pictures are ranked by the sum before the activation: saturated
    units are equal after it. on_progress is called with the fraction that is done, 0…1. Raises ConfigError for a step
    that does not exist.
    """
    cells = layer_maps(network, images[:1], step).values[0].numel()
    images = images[: max(SCAN_PICTURES, SCAN_CELLS // cells)]
    histogram, done = _Histogram(), 0
    best: list[Tensor] = []  # (up to TOP + 1, channels) each: ranks, peaks, places, pictures
    sums: list[Tensor] = []  # (channels,) each
    for batch in images.split(BATCH):
        values, ranks = _values_and_ranks(network, batch, step)
        width = values.shape[-1] if values.ndim == 4 else 1
        values = values.flatten(2) if values.ndim == 4 else values[:, :, None]
        histogram.add(values)
        sums.append(values.double().sum((0, 2)))
        rank, place = ranks.view_as(values).nan_to_num(-torch.inf, torch.inf, -torch.inf).max(2)
        peak = values.gather(2, place[:, :, None])[:, :, 0]
        picture = torch.arange(done, done + len(batch), device=peak.device)[:, None].expand_as(peak)
        found = [rank, peak, place, picture]
        best = [torch.cat(pair) for pair in zip(best, found, strict=True)] if best else found
        _, order = best[0].topk(min(TOP + 1, len(best[0])), 0)
        best = [each.gather(0, order) for each in best]
        done += len(batch)
        if on_progress:
            on_progress(done / len(images))
    ranks, peaks, places, pictures = best
    return Scan(
        step,
        done,
        top=pictures[:TOP].T.cpu(),
        peaks=peaks[:TOP].T.cpu(),
        places=torch.stack([places[:TOP].T // width, places[:TOP].T % width], 2).cpu(),
        tied=(ranks[-1] == ranks[-2]).cpu() if len(ranks) > TOP else torch.zeros(ranks.shape[1], dtype=torch.bool),
        means=(torch.stack(sums).sum(0) / (done * values.shape[2])).float().cpu(),
        counts=histogram.counts.cpu(),
        edges=torch.linspace(-histogram.reach, histogram.reach, BINS + 1),
        low=histogram.low.cpu(),
        high=histogram.high.cpu(),
    )


def _values_and_ranks(network: Network, batch: Tensor, step: str) -> tuple[Tensor, Tensor]:
    """The step's maps, and what its cells are ranked by: the sums before the activation, also behind max pooling."""
    sums: Tensor | None = None
    for maps in each_step(network, batch):
        is_pooling = maps.layer.kind == "pooling"
        if maps.layer.kind == GLOBAL:
            sums = None
        elif maps.name == maps.layer.name and not is_pooling:
            sums = maps.values
        elif is_pooling and sums is not None:
            sums = network.module.get_submodule(maps.name)(sums) if network.pooling == "max" else maps.values
        if maps.name == step:
            break
    return maps.values, maps.values if sums is None else sums


class _Histogram:
    """Counts over [-reach, reach]; a larger value doubles the reach and merges the bins in pairs."""

    def __init__(self) -> None:
        self.reach = 2.0**-20
        self.counts = self.low = self.high = torch.empty(0)

    def add(self, values: Tensor) -> None:
        """values: (N, channels, cells)."""
        channels, finite = values.shape[1], values.isfinite()
        low = torch.where(finite, values, torch.inf).amin((0, 2))
        high = torch.where(finite, values, -torch.inf).amax((0, 2))
        if not len(self.counts):
            self.counts = torch.zeros(channels, BINS, dtype=torch.long, device=values.device)
            self.low, self.high = low, high
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        ends = torch.cat([self.low, self.high]).abs()
        largest = max(ends[ends.isfinite()].tolist(), default=0.0)
        while self.reach < largest:
            merged = torch.zeros_like(self.counts)
            merged[:, BINS // 4 : 3 * BINS // 4] = self.counts.unflatten(1, (-1, 2)).sum(2)
            self.counts, self.reach = merged, 2 * self.reach
        bins = ((values.nan_to_num(0, 0, 0) / self.reach + 1) * (BINS // 2)).long().clamp_(0, BINS - 1)
        bins += torch.arange(channels, device=values.device)[:, None] * BINS
        self.counts += torch.bincount(bins[finite], minlength=channels * BINS).view(channels, BINS)
