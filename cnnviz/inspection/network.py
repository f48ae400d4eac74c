"""Inside one trained network: the maps of every layer, its predictions, and facts about its channels.

Pictures are given as a data set holds them: uint8 (N, 32, 32, 3), RGB. Nothing here hooks into a module or changes one,
so any number of threads may use the same network at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnviz import data
from cnnviz.architectures import (
    IMAGE_CHANNELS,
    IMAGE_SIZE,
    NORM,
    Architecture,
    Layer,
    activation_module,
    build,
    flat_word,
    folded,
)
from cnnviz.errors import CheckpointError, ConfigError
from cnnviz.modules import walk
from cnnviz.train.ops import FLAT
from cnnviz.wording import percent

BATCH = 100  # pictures at a time if there are many: the maps of conv5's 250 do not fit a cache, and take twice as long
ONE_COLOUR = 1 / 256  # of the layer's range: a channel that varies less is drawn in a single colour
NOTHING = 1e-6  # of the layer's largest value: as good as zero, given float32 rounding

NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d's

SUFFIX = "_activation"
_CAN_DIE = ("relu", "gelu", "silu")  # their slope is zero, or nearly, wherever their output is zero


@dataclass(frozen=True)
class Network:
    """A trained network, for inspection only."""

    arch: Architecture
    activation: str
    pooling: str
    module: nn.Sequential  # in eval mode, weights without gradients
    scale: data.Scale = data.UNIT  # what it is shown of a pixel


@dataclass(frozen=True)
class LayerMaps:
    """The output of one step of a network for N pictures."""

    name: str  # "c1" before its activation, "c1_activation" after it; "s2"; "a4", a block's sum; "fc7"
    layer: Layer
    values: Tensor  # (N, channels, height, width), or (N, units)

    @property
    def low(self) -> float:
        """Smallest finite value; 0 if there is none."""
        return min(self._finite().tolist(), default=0.0)

    @property
    def high(self) -> float:
        """Largest finite value; 0 if there is none."""
        return max(self._finite().tolist(), default=0.0)

    @property
    def spread(self) -> float:
        """How much a map varies from cell to cell; NaN if a value is not finite.

        The standard deviation within each map, as root mean square over the maps; for units, over the units.
        """
        by_map = self.values.flatten(2) if self.values.ndim == 4 else self.values[:, None]
        return float(by_map.double().var(-1, correction=0).mean().sqrt())

    def _finite(self) -> Tensor:
        finite = self.values[self.values.isfinite()]
        return torch.stack(finite.aminmax()) if len(finite) else finite


@dataclass(frozen=True)
class Prediction:
    """A network's predictions for N pictures."""

    logits: Tensor  # (N, 10)
    exact_confidence: Tensor | None = None  # (N,), where the logits have been rounded

    @property
    def probabilities(self) -> Tensor:
        """(N, 10), the softmax of the logits.

        A network trained with MSE has learned logits of 0 and 1, not probabilities: its softmax is flat, at most 23 %
        for a perfect prediction, and only the order of the classes means something.
        """
        return self.logits.softmax(1)

    @property
    def classes(self) -> Tensor:
        """(N,), the most probable class."""
        return self.logits.argmax(1)

    @property
    def confidence(self) -> Tensor:
        """(N,), the largest probability."""
        return self.probabilities.amax(1) if self.exact_confidence is None else self.exact_confidence

    @property
    def decided(self) -> Tensor:
        """(N,), whether a class is predicted at all: not by logits that are not finite."""
        return self.logits.isfinite().all(1)

    def first(self, count: int) -> "Prediction":
        """Of the first so many pictures."""
        exact = None if self.exact_confidence is None else self.exact_confidence[:count]
        return Prediction(self.logits[:count], exact)

    def top(self, k: int) -> list[list[tuple[int, float]]]:
        """For each picture its k most probable classes with their probabilities, in descending order."""
        probabilities, classes = self.probabilities.topk(k)
        pairs = zip(classes.tolist(), probabilities.tolist(), strict=True)
        return [list(zip(*pair, strict=True)) for pair in pairs]


@dataclass(frozen=True)
class ChannelFacts:
    """What one channel did on the pictures it was measured on; on others it may behave differently."""

    channel: int
    pictures: int
    low: float  # of its activations
    high: float
    mean: float
    dead: bool  # ReLU, GELU, SiLU: zero everywhere, so that no gradient passed either
    constant: bool  # varied by less than one colour step on its layer's scale
    saturated: float  # share of cells where the activation's slope is under 5 % of its steepest
    diverged: bool  # holds NaN or infinite values
    activation: str  # which of them it is decides what a flat cell is called

    @property
    def badges(self) -> tuple[str, ...]:
        """What is worth a note, claiming only what was measured: ("zero on this picture",)."""
        seen = "this picture" if self.pictures == 1 else f"these {self.pictures} pictures"
        noted = {
            f"not finite on {seen}": self.diverged,
            f"zero on {seen}": self.dead,
            f"one value all over {seen}": self.constant and not self.dead,
            f"{percent(self.saturated, 0)} {flat_word(self.activation)} on {seen}": self.saturated >= 0.5
            and not self.dead,
        }
        return tuple(badge for badge, holds in noted.items() if holds)


def load_network(
    arch: Architecture, activation: str, pooling: str, weights: Mapping[str, Tensor], scale: data.Scale = data.UNIT
) -> Network:
    """The network with copies of these weights, on their device. Raises CheckpointError if their shapes do not fit.

    Batch norm is folded into the weights before it: in evaluation mode it is an affine map of each channel, so that the
    network is one without, and all that is said of weights holds.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if shapes != arch.weight_shapes:
        odd = min(name for name, _ in shapes.items() ^ arch.weight_shapes.items())
        raise CheckpointError(
            f"the weights are not {arch.name}'s ({odd} differs): choose a run or epoch of {arch.name}"
        )
    if arch.batch_norm:
        weights, arch = _without_norm(arch, weights), folded(arch)
    with torch.device("meta"):  # no memory, and no initial weights drawn from the global generator
        module = build(arch, activation, pooling)
    module.load_state_dict({name: weight.detach().clone() for name, weight in weights.items()}, assign=True)
    return Network(arch, activation, pooling, module.eval().requires_grad_(False), scale)


def _without_norm(arch: Architecture, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the same function without batch norm (Ioffe, Szegedy 2015, Algorithm 2)."""
    found = {}
    for layer in arch.weight_layers:
        weight, bias = (weights[f"{layer.name}.{name}"] for name in ("weight", "bias"))
        norm = f"{layer.name}{NORM}."
        if f"{norm}weight" in weights:
            gain, shift, mean, variance = (
                weights[norm + name].double() for name in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gain / (variance + NORM_EPSILON).sqrt()
            bias = ((bias.double() - mean) * scale + shift).to(bias.dtype)
            weight = (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
        found[f"{layer.name}.weight"], found[f"{layer.name}.bias"] = weight, bias
    return found


@torch.no_grad()
def activations(network: Network, images: Tensor) -> dict[str, LayerMaps]:
    """The maps of every layer, before and after its activation, in order; the last are the logits.

    images: uint8 (N, 32, 32, 3). All maps are in memory at once: 1.8 MB per picture for conv5.
    """
    return {maps.name: maps for maps in each_step(network, images)}


@torch.no_grad()
def layer_maps(network: Network, images: Tensor, name: str) -> LayerMaps:
    """The maps of one step alone ("c3_activation"); later steps are not computed.

    images: uint8 (N, 32, 32, 3). Raises ConfigError for a step that does not exist.
    """
    steps = step_names(network.arch)
    if name not in steps:
        raise ConfigError(f"{network.arch.name} has no step {name!r}: choose one of {', '.join(steps)}")
    return next(maps for maps in each_step(network, images) if maps.name == name)


def step_names(arch: Architecture) -> tuple[str, ...]:
    """Names of all steps in order, each activation after its layer: ("c1", "c1_activation", "s2", …)."""
    return tuple(
        name
        for layer in arch.layers
        for name in (layer.name, layer.name + SUFFIX)
        if name == layer.name or layer.is_activated
    )


def output_step(layer: Layer) -> str:
    """The step that holds what the layer hands on: "c3_activation" of c3, "s4" of s4."""
    return layer.name + SUFFIX * layer.is_activated


def last_maps(arch: Architecture) -> str:
    """The step of the last maps that an activation follows, after it; "" for a network without maps."""
    return next((output_step(each) for each in reversed(arch.activated_layers) if len(each.output) == 3), "")


def layer_name(step: str) -> str:
    """The layer a step belongs to: "c3" of "c3_activation"."""
    return step.removesuffix(SUFFIX)


@torch.no_grad()
def each_step(network: Network, images: Tensor) -> Iterator[LayerMaps]:
    """The maps that activations() returns, one by one, with only one step's in memory at a time."""
    for name, _, x in walk(network.module, _normalised(network, images)):
        if name != "flatten":
            yield LayerMaps(name, network.arch.layer(layer_name(name)), x)


@torch.no_grad()
def predict(network: Network, images: Tensor) -> Prediction:
    """Logits and probabilities of any number of pictures, uint8 (N, 32, 32, 3)."""
    batches = (network.module(_normalised(network, batch)) for batch in images.split(BATCH))
    return Prediction(torch.cat(list(batches)))


def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Share of the pictures, uint8 (N, 32, 32, 3), whose most probable class is their label, int64 (N,)."""
    return (predict(network, images).classes == labels.to(_device(network))).double().mean().item()


def channel_facts(maps: LayerMaps, activation: str) -> tuple[ChannelFacts, ...]:
    """The facts about each channel of a layer, from its maps *before* its activation ("c1").

    Constant: the channel's range is below ONE_COLOUR of the layer's (never said of a single cell). Dead: its largest
    value is below NOTHING of the layer's. Saturated, or of ReLU and its kin inactive: slopes below FLAT of the
    activation's maximum.

    Raises ConfigError for maps that no activation follows.
    """
    if maps.name != maps.layer.name or not maps.layer.is_activated:
        raise ConfigError(f"{maps.name} has no activation after it: choose the maps of a layer before its activation")
    function = activation_module(activation)
    outputs = _by_channel(function(maps.values))  # (channels, cells of all pictures)
    slopes = _by_channel(_slope(function, maps.values))
    flat = FLAT * _slope(function, torch.linspace(-8, 8, 1601)).max()
    finite = outputs[outputs.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    layer_range = float(finite.max() - finite.min()) if len(finite) else 0.0
    facts = []
    for channel, (output, slope) in enumerate(zip(outputs, slopes, strict=True)):
        low, high = output.aminmax()
        facts.append(
            ChannelFacts(
                channel,
                pictures=len(maps.values),
                low=float(low),
                high=float(high),
                mean=float(output.mean()),
                dead=activation in _CAN_DIE and bool(output.abs().max() <= NOTHING * largest),
                constant=len(output) > 1 and bool(high - low <= max(ONE_COLOUR * layer_range, NOTHING * largest)),
                saturated=float((slope.abs() < flat).double().mean()),
                diverged=not bool(output.isfinite().all()),
                activation=activation,
            )
        )
    return tuple(facts)


def _device(network: Network) -> torch.device:
    return next(network.module.parameters()).device


def _normalised(network: Network, images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, IMAGE_CHANNELS):
        shape = f"(N, {IMAGE_SIZE}, {IMAGE_SIZE}, {IMAGE_CHANNELS})"
        raise ConfigError(f"pictures must be uint8 {shape}, not {str(images.dtype)[6:]} {tuple(images.shape)}")
    return data.normalise(images.to(_device(network)), network.scale)


def _by_channel(values: Tensor) -> Tensor:
    return values.transpose(0, 1).flatten(1)


def _slope(function: nn.Module, values: Tensor) -> Tensor:
    with torch.enable_grad():
        x = values.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0]
