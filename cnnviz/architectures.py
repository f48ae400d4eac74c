"""Small CNNs as data: an architecture, its layer table, and a plain PyTorch module of it.

Layers are named by kind and numbered in one sequence, as LeCun et al. ("Gradient-Based Learning Applied to Document
Recognition", 1998) number LeNet-5's: C1 S2 C3 S4 C5 F6 and an output layer. Here they are c1 s2 c3 s4 fc5 fc6 fc7: C5,
a convolution whose kernels are as large as its input, is the fully connected fc5, and the output layer is numbered too.
"""

import math
import re
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cnnviz.errors import ConfigError

if TYPE_CHECKING:  # an architecture is plain data: PyTorch, which takes a second to import, is for its modules alone
    from torch import Tensor, nn

IMAGE_SIZE = 32  # pixels a side
IMAGE_CHANNELS = 3
CLASSES = 10
NORM = "_norm"  # of a layer's name: its batch norm
MAX_PARAMETERS = 100_000_000  # 400 MB of float32 weights, and as much again for their gradient


@dataclass(frozen=True)
class Conv:
    """A convolution with stride 1, and the 2×2 pooling after it."""

    channels: int  # feature maps it computes
    kernel: int  # side of the square kernel, pixels
    padding: int = 0  # zeros on each side, pixels
    pool: int = 2  # stride of the 2×2 pooling that follows; 0: none


Interval = tuple[int, int]  # columns or rows of the picture: the first, and the one after the last; empty: (0, 0)


@dataclass(frozen=True)
class Layer:
    """One row of the layer table."""

    name: str  # "c3"
    kind: str  # "convolution", "pooling" or "fully connected"
    output: tuple[int, ...]  # shape for one picture: (channels, height, width) or (units,)
    parameters: int  # weights and biases
    fields: tuple[Interval, ...]  # pixels on which each column of cells depends, and each row; of units: on all
    multiply_adds: int  # per picture, forward
    kernel: int = 0  # side of its window, cells; 0: fully connected
    stride: int = 0  # of that window, cells
    padding: int = 0  # zeros around its input

    @property
    def receptive_field(self) -> int:
        """Side of the largest patch of the picture on which one output cell depends, pixels."""
        return max(stop - start for start, stop in self.fields)


@dataclass(frozen=True)
class Architecture:
    """A stack of convolutions and fully connected layers over a 32×32 RGB picture.

    Raises ConfigError for a layer that does not fit its input, a number out of range or too many parameters.
    """

    name: str
    convs: tuple[Conv, ...]
    hidden: tuple[int, ...]  # units of the hidden fully connected layers
    pooling: str = "max"  # "max" or "avg", the default of its runs; a run may choose the other
    batch_norm: bool = False  # after every convolution and hidden fully connected layer, before the activation

    def __post_init__(self) -> None:
        for conv in self.convs:
            if not 1 <= conv.channels <= 1024 or conv.padding < 0 or conv.kernel < 1 or conv.pool not in (0, 1, 2):
                raise ConfigError(
                    f"{self.name}: a convolution needs 1 to 1024 channels, a kernel of at least 1×1 "
                    f"and pooling stride 1 or 2, not {conv}"
                )
        if any(not 1 <= units <= 10_000 for units in self.hidden):
            raise ConfigError(f"{self.name}: a fully connected layer needs 1 to 10,000 units")
        if self.parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"{self.name} has {self.parameters:,} parameters, more than the {MAX_PARAMETERS:,} "
                "cnnviz trains: pool more, or use fewer channels or units"
            )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer table, from the picture to the logits."""
        return _layer_table(self)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Per picture, forward; a training step takes about three times as many."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def conv_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.kind == "convolution")

    @property
    def weight_layers(self) -> tuple[Layer, ...]:
        """The layers that have weights, in order."""
        return tuple(layer for layer in self.layers if layer.parameters)

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of all that a checkpoint holds, in PyTorch's layout: {"c1.weight": (6, 3, 5, 5), "c1.bias": (6,), …}.

        With batch norm "c1_norm.weight", "c1_norm.bias" and the running statistics follow.
        """
        return _weight_shapes(self)

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ConfigError, which lists the names that exist."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ConfigError(f"{self.name} has no layer {name!r}: choose one of {', '.join(x.name for x in self.layers)}")

    def to_dict(self) -> dict[str, Any]:
        """The architecture as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Architecture":
        """Inverse of to_dict, also by way of JSON. Raises ConfigError for anything else."""
        try:
            convs = tuple(Conv(**conv) for conv in values["convs"])
            norm = bool(values.get("batch_norm", False))  # none in a store of an earlier version
            return cls(values["name"], convs, tuple(values["hidden"]), values["pooling"], norm)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not a description of an architecture: {error}") from error


@cache
def _layer_table(arch: Architecture) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    channels, size = IMAGE_CHANNELS, IMAGE_SIZE
    fields: tuple[Interval, ...] = tuple((pixel, pixel + 1) for pixel in range(IMAGE_SIZE))

    def name(prefix: str) -> str:
        return f"{prefix}{len(layers) + 1}"

    for conv in arch.convs:
        padded = size + 2 * conv.padding
        if conv.kernel > padded:
            raise ConfigError(
                f"{arch.name}: the {conv.kernel}×{conv.kernel} kernel of {name('c')} is larger than its "
                f"{padded}×{padded} input: use a smaller kernel, more padding or less pooling"
            )
        size = padded - conv.kernel + 1
        fields = _seen(fields, size, conv.kernel, 1, conv.padding)
        weights = conv.channels * channels * conv.kernel**2
        output, parameters = (conv.channels, size, size), weights + conv.channels * (3 if arch.batch_norm else 1)
        layers.append(
            Layer(name("c"), "convolution", output, parameters, fields, weights * size**2, conv.kernel, 1, conv.padding)
        )
        channels = conv.channels
        if conv.pool:
            if size < 2:
                raise ConfigError(f"{arch.name}: {name('s')} has only a 1×1 map to pool: use less pooling")
            size = (size - 2) // conv.pool + 1
            fields = _seen(fields, size, 2, conv.pool)
            layers.append(Layer(name("s"), "pooling", (channels, size, size), 0, fields, 0, 2, conv.pool))
    fields, inputs, last = (_union(fields),), channels * size**2, len(layers) + len(arch.hidden)
    for units in (*arch.hidden, CLASSES):
        weights = inputs * units
        normed = arch.batch_norm and len(layers) < last
        parameters = weights + units * (3 if normed else 1)
        layers.append(Layer(name("fc"), "fully connected", (units,), parameters, fields, weights))
        inputs = units
    return tuple(layers)


def _seen(fields: tuple[Interval, ...], size: int, window: int, stride: int, padding: int = 0) -> tuple[Interval, ...]:
    """What `size` cells see of the picture through a window over cells with these fields: cells in the padding see
    nothing, and a pooling may leave the last cell out. (Araujo, Norris, Sim, "Computing Receptive Fields of
    Convolutional Neural Networks", Distill 2019, whose closed form holds away from the border.)"""
    starts = [cell * stride - padding for cell in range(size)]
    return tuple(_union(fields[max(start, 0) : max(start + window, 0)]) for start in starts)


def _union(fields: tuple[Interval, ...]) -> Interval:
    """Of neighbouring intervals, which overlap or adjoin."""
    filled = [each for each in fields if each[0] < each[1]]
    return (min(start for start, _ in filled), max(stop for _, stop in filled)) if filled else (0, 0)


@cache
def _weight_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    channels = IMAGE_CHANNELS
    for layer, conv in zip(arch.conv_layers, arch.convs, strict=True):
        shapes[f"{layer.name}.weight"] = (conv.channels, channels, conv.kernel, conv.kernel)
        shapes[f"{layer.name}.bias"] = (conv.channels,)
        shapes |= _norm_shapes(arch, layer)
        channels = conv.channels
    features = [layer for layer in arch.layers if layer.kind != "fully connected"]
    inputs = math.prod(features[-1].output) if features else IMAGE_CHANNELS * IMAGE_SIZE**2
    for layer in arch.layers[len(features) :]:
        shapes[f"{layer.name}.weight"] = (layer.output[0], inputs)
        shapes[f"{layer.name}.bias"] = layer.output
        if layer is not arch.layers[-1]:
            shapes |= _norm_shapes(arch, layer)
        inputs = layer.output[0]
    return shapes


def _norm_shapes(arch: Architecture, layer: Layer) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var") if arch.batch_norm else ()
    return {f"{layer.name}{NORM}.{name}": layer.output[:1] for name in names}


ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture("lenet5x5", (Conv(6, 5), Conv(16, 5)), (120, 84)),
        Architecture("lenet3x3", (Conv(6, 3), Conv(16, 3)), (120, 84)),
        Architecture(
            "conv5",
            tuple(Conv(channels, 3, padding=1, pool=1) for channels in (6, 12, 24, 48, 96)),
            (120, 84),
            pooling="avg",
        ),
    )
}

_CONV = re.compile(r"c(\d{1,4})k(\d{1,2})(?:p(\d{1,2}))?")
_POOL = re.compile(r"s([12])")
_HIDDEN = re.compile(r"f(\d{1,5})")


@cache
def architecture(name: str) -> Architecture:
    """The architecture of that name, or the one whose layers the name spells out.

    Layers are joined by "-": cNkK[pP] is a convolution (N maps, K×K kernel, P pixels of zero padding), which s2 or s1
    (2×2 pooling with that stride) may follow; then fN, N hidden units. "c6k5-s2-c16k5-s2-f120-f84" is lenet5x5.

    Raises ConfigError for an unknown name, a misspelled layer or one that does not fit its input.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    convs: list[Conv] = []
    hidden: list[int] = []
    parts = name.split("-")
    for previous, part in zip(["", *parts], parts, strict=False):
        if (match := _CONV.fullmatch(part)) and not hidden:
            convs.append(Conv(int(match[1]), int(match[2]), int(match[3] or 0), pool=0))
        elif (match := _POOL.fullmatch(part)) and _CONV.fullmatch(previous):
            convs[-1] = Conv(convs[-1].channels, convs[-1].kernel, convs[-1].padding, pool=int(match[1]))
        elif match := _HIDDEN.fullmatch(part):
            hidden.append(int(match[1]))
        else:
            raise ConfigError(
                f"model {name!r} is not known: choose one of {', '.join(ARCHITECTURES)}, "
                'or spell out its layers as in "c6k5-s2-c16k5-s2-f120-f84"'
            )
    return Architecture(name, tuple(convs), tuple(hidden))


@cache
def normalised(arch: Architecture) -> Architecture:
    """The same with batch norm."""
    return replace(arch, batch_norm=True)


@cache
def folded(arch: Architecture) -> Architecture:
    """The same without batch norm, which is folded into the weights before it."""
    return replace(arch, batch_norm=False)


def wider(name: str) -> str:
    """The name of the architecture with twice the maps and units of each layer but the logits.

    "lenet5x5" → "c12k5-s2-c32k5-s2-f240-f168". Raises ConfigError as architecture() does.
    """
    arch, parts = architecture(name), []
    for conv in arch.convs:
        parts.append(f"c{2 * conv.channels}k{conv.kernel}" + (f"p{conv.padding}" if conv.padding else ""))
        parts += [f"s{conv.pool}"] if conv.pool else []
    return architecture("-".join([*parts, *(f"f{2 * units}" for units in arch.hidden)])).name


_ACTIVATIONS = {  # name → class in torch.nn
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "gelu": "GELU",
    "silu": "SiLU",
}
_POOLINGS = {"max": "MaxPool2d", "avg": "AvgPool2d"}

ACTIVATIONS = tuple(_ACTIVATIONS)
POOLINGS = tuple(_POOLINGS)
SATURATING = ("sigmoid", "tanh")  # flat at both ends; the others are flat where they let nothing through


def flat_word(activation: str) -> str:
    """What a unit is whose activation is flat there: "saturated", or of ReLU and its kin "inactive"."""
    return "saturated" if activation in SATURATING else "inactive"


def activation_module(name: str) -> "nn.Module":
    """The PyTorch module of one of ACTIVATIONS, with PyTorch's defaults. Raises KeyError."""
    from torch import nn

    module: nn.Module = getattr(nn, _ACTIVATIONS[name])()
    return module


def pooling_module(name: str, stride: int) -> "nn.Module":
    """The PyTorch module of 2×2 pooling by one of POOLINGS: (N, C, H, W) → (N, C, H', W'). Raises KeyError."""
    from torch import nn

    module: nn.Module = getattr(nn, _POOLINGS[name])(2, stride=stride)
    return module


def build(
    arch: Architecture, activation: str, pooling: str, dropout: float = 0.0, dropout_at: str = "hidden"
) -> "nn.Sequential":
    """The plain PyTorch module: normalised pictures, (N, 3, 32, 32) → logits, (N, 10).

    Its children have the layers' names; the activation after layer "c1" is the child "c1_activation", its batch norm,
    before that, "c1_norm". Dropout ("fc5_dropout") follows the activation of hidden fully connected layers, or the
    pooling of convolutions, or both, as DROPOUT_AT has it. The initial weights are PyTorch's default, drawn from its
    global generator.
    """
    from torch import nn

    shapes, modules = arch.weight_shapes, OrderedDict[str, nn.Module]()
    pools = iter(layer.name for layer in arch.layers if layer.kind == "pooling")

    def drop(name: str, at: str) -> None:
        if dropout and dropout_at in (at, "both"):
            modules[f"{name}_dropout"] = nn.Dropout(dropout)

    for layer, conv in zip(arch.conv_layers, arch.convs, strict=True):
        channels = shapes[f"{layer.name}.weight"][1]
        modules[layer.name] = nn.Conv2d(channels, conv.channels, conv.kernel, padding=conv.padding)
        if arch.batch_norm:
            modules[layer.name + NORM] = nn.BatchNorm2d(conv.channels)
        modules[f"{layer.name}_activation"] = activation_module(activation)
        if conv.pool:
            modules[next(pools)] = pooling_module(pooling, conv.pool)
        drop(layer.name, "maps")
    modules["flatten"] = nn.Flatten()
    dense = [layer for layer in arch.layers if layer.kind == "fully connected"]
    for layer in dense:
        units, inputs = shapes[f"{layer.name}.weight"]
        modules[layer.name] = nn.Linear(inputs, units)
        if layer is not dense[-1]:
            if arch.batch_norm:
                modules[layer.name + NORM] = nn.BatchNorm1d(units)
            modules[f"{layer.name}_activation"] = activation_module(activation)
            drop(layer.name, "hidden")
    return nn.Sequential(modules)


DROPOUT_AT = ("hidden", "maps", "both")
# How weights begin; all but PyTorch's default have biases of zero.
INITS = ("default", "xavier", "he", "orthogonal", "small", "large", "zero")
SMALL, LARGE = 0.1, 3.0  # times He's standard deviation: over five layers 0.00001 and 243 times


def initial_weights(arch: Architecture, seed: int, init: str = "default") -> "dict[str, Tensor]":
    """Initial weights after torch.manual_seed(seed); the global generator is left unchanged.

    init: PyTorch's default; xavier: uniform, after Glorot and Bengio 2010; he: normal, after He et al. 2015;
    orthogonal: after Saxe et al. 2014; small, large: SMALL and LARGE times he; zero: all weights alike.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(arch, "tanh", "max")
        if init != "default":
            _initialise(module, init)
        weights = {name: weight.detach() for name, weight in module.state_dict().items()}
    return {name: weights[name] for name in arch.weight_shapes}


def _initialise(module: "nn.Sequential", init: str) -> None:
    from torch import nn

    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.bias.detach().zero_()  # type: ignore[union-attr]
            if init == "xavier":
                nn.init.xavier_uniform_(layer.weight)
            elif init == "orthogonal":
                nn.init.orthogonal_(layer.weight)
            elif init == "zero":
                nn.init.zeros_(layer.weight)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                layer.weight.detach().mul_({"small": SMALL, "large": LARGE}.get(init, 1.0))
