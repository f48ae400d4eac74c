"""Small CNNs as data: an architecture, its layer table, and a plain PyTorch module of it.

Layers are named by kind and numbered in one sequence, as LeCun et al. ("Gradient-Based Learning Applied to Document
Recognition", 1998) number LeNet-5's: C1 S2 C3 S4 C5 F6 and an output layer. Here they are c1 s2 c3 s4 fc5 fc6 fc7: C5,
a convolution whose kernels are as large as its input, is the fully connected fc5, and the output layer is numbered too.
The sum at the end of a residual block is a layer of its own, without weights, as pooling is: c2 c3 a4 is a block.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
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
    """A convolution, or a residual block of two, and the 2×2 pooling after it.

    A block's second convolution is like the first but for its stride, which is 1. Its maps and the block's input are
    added, and the activation follows the sum (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).
    """

    channels: int  # feature maps it computes
    kernel: int  # side of the square kernel, pixels
    padding: int = 0  # zeros on each side, pixels
    pool: int = 2  # stride of the 2×2 pooling that follows; 0: none
    stride: int = 1  # cells from one window to the next
    residual: bool = False

    @property
    def is_plain(self) -> bool:
        return self.stride == 1 and not self.residual


Interval = tuple[int, int]  # columns or rows of the picture: the first, and the one after the last; empty: (0, 0)


@dataclass(frozen=True)
class Layer:
    """One row of the layer table."""

    name: str  # "c3"
    kind: str  # "convolution", "pooling", "addition", "global average pooling" or "fully connected"
    output: tuple[int, ...]  # shape for one picture: (channels, height, width) or (units,)
    parameters: int  # weights and biases
    fields: tuple[Interval, ...]  # pixels on which each column of cells depends, and each row; of units: on all
    multiply_adds: int  # per picture, forward
    kernel: int = 0  # side of its window, cells; 0: none
    stride: int = 0  # of that window, or of an addition's shortcut, cells
    padding: int = 0  # zeros around its input
    inputs: int = 0  # channels or units that it reads
    is_activated: bool = False  # whether an activation follows
    shortcut: str = ""  # of an addition: the layer whose output, behind its activation, is the block's input

    @property
    def receptive_field(self) -> int:
        """Side of the largest patch of the picture on which one output cell depends, pixels."""
        return max(stop - start for start, stop in self.fields)


@dataclass(frozen=True)
class Architecture:
    """Convolutions, residual blocks and fully connected layers over a 32×32 RGB picture.

    Raises ConfigError for a layer that does not fit its input, a number out of range or too many parameters.
    """

    name: str
    convs: tuple[Conv, ...]
    hidden: tuple[int, ...]  # units of the hidden fully connected layers
    pooling: str = "max"  # "max" or "avg", the default of its runs; a run may choose the other
    batch_norm: bool = False  # after every convolution and hidden fully connected layer, before activation or sum
    global_pooling: bool = False  # the fully connected layers read the mean of each map, not its cells

    def __post_init__(self) -> None:
        for conv in self.convs:
            if not 1 <= conv.channels <= 1024 or conv.padding < 0 or conv.kernel < 1 or conv.pool not in (0, 1, 2):
                raise ConfigError(
                    f"{self.name}: a convolution needs 1 to 1024 channels, a kernel of at least 1×1 "
                    f"and pooling stride 1 or 2, not {conv}"
                )
            if conv.stride not in (1, 2):
                raise ConfigError(f"{self.name}: a convolution has stride 1 or 2, not {conv.stride}: choose t2 or none")
        if self.global_pooling and not self.convs:
            raise ConfigError(f"{self.name}: g has no maps to average: put a convolution before it, as in c16k3p1-g")
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
    def is_plain(self) -> bool:
        """Whether it has nothing but convolutions of stride 1, pooling and fully connected layers."""
        return all(conv.is_plain for conv in self.convs) and not self.global_pooling

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
    def activated_layers(self) -> tuple[Layer, ...]:
        """The layers that an activation follows, in order."""
        return tuple(layer for layer in self.layers if layer.is_activated)

    @property
    def measured_layers(self) -> tuple[Layer, ...]:
        """The layers of which training records figures: those with weights, and the sums of residual blocks."""
        return tuple(layer for layer in self.layers if layer.parameters or layer.is_activated)

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
            # none of these in a store of an earlier version
            norm, average = (bool(values.get(name, False)) for name in ("batch_norm", "global_pooling"))
            return cls(values["name"], convs, tuple(values["hidden"]), values["pooling"], norm, average)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not a description of an architecture: {error}") from error


@cache
def _layer_table(arch: Architecture) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    channels, size = IMAGE_CHANNELS, IMAGE_SIZE
    fields: tuple[Interval, ...] = tuple((pixel, pixel + 1) for pixel in range(IMAGE_SIZE))

    def name(prefix: str) -> str:
        return f"{prefix}{len(layers) + 1}"

    def convolve(conv: Conv, stride: int, is_activated: bool) -> None:
        nonlocal channels, size, fields
        padded = size + 2 * conv.padding
        if conv.kernel > padded:
            raise ConfigError(
                f"{arch.name}: the {conv.kernel}×{conv.kernel} kernel of {name('c')} is larger than its "
                f"{padded}×{padded} input: use a smaller kernel, more padding or less pooling"
            )
        size = (padded - conv.kernel) // stride + 1
        fields = _seen(fields, size, conv.kernel, stride, conv.padding)
        weights = conv.channels * channels * conv.kernel**2
        output, parameters = (conv.channels, size, size), weights + conv.channels * (3 if arch.batch_norm else 1)
        shape = conv.kernel, stride, conv.padding, channels, is_activated
        layers.append(Layer(name("c"), "convolution", output, parameters, fields, weights * size**2, *shape))
        channels = conv.channels

    for conv in arch.convs:
        if conv.residual:
            if not layers:
                raise ConfigError(
                    f"{arch.name}: a block adds to maps, and there are none: begin with a convolution such as "
                    f"c{conv.channels}k3p1"
                )
            if conv.channels < channels:
                raise ConfigError(
                    f"{arch.name}: a block of {conv.channels} maps cannot take over {channels} from before it: give it "
                    f"{channels} or more"
                )
            source, before, entering = layers[-1].name, channels, fields
            convolve(conv, conv.stride, is_activated=True)
            convolve(conv, 1, is_activated=False)
            brought = _seen(entering, size, 1, conv.stride)
            fields = tuple(_union(pair) for pair in zip(fields, brought, strict=True))
            output = (channels, size, size)
            layers.append(
                Layer(name("a"), "addition", output, 0, fields, 0, 0, conv.stride, 0, before, True, shortcut=source)
            )
        else:
            convolve(conv, conv.stride, is_activated=True)
        if conv.pool:
            if size < 2:
                raise ConfigError(f"{arch.name}: {name('s')} has only a 1×1 map to pool: use less pooling")
            size = (size - 2) // conv.pool + 1
            fields = _seen(fields, size, 2, conv.pool)
            layers.append(Layer(name("s"), "pooling", (channels, size, size), 0, fields, 0, 2, conv.pool, 0, channels))
    fields, inputs = (_union(fields),), channels * size**2
    if arch.global_pooling:
        layers.append(Layer(name("g"), "global average pooling", (channels,), 0, fields, 0, size, 1, 0, channels))
        inputs = channels
    last = len(layers) + len(arch.hidden)
    for units in (*arch.hidden, CLASSES):
        weights = inputs * units
        is_hidden = len(layers) < last
        parameters = weights + units * (3 if arch.batch_norm and is_hidden else 1)
        shape = 0, 0, 0, inputs, is_hidden
        layers.append(Layer(name("fc"), "fully connected", (units,), parameters, fields, weights, *shape))
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
    for layer in arch.weight_layers:
        window = (layer.kernel, layer.kernel) if layer.kind == "convolution" else ()
        shapes[f"{layer.name}.weight"] = (layer.output[0], layer.inputs, *window)
        shapes[f"{layer.name}.bias"] = layer.output[:1]
        if layer is not arch.layers[-1]:
            shapes |= _norm_shapes(arch, layer)
    return shapes


def _norm_shapes(arch: Architecture, layer: Layer) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var") if arch.batch_norm else ()
    return {f"{layer.name}{NORM}.{name}": layer.output[:1] for name in names}


def _stages(widths: Sequence[int], blocks: int, residual: bool) -> tuple[Conv, ...]:
    """A convolution, then stages of so many blocks of two; each stage but the first halves the maps' sides."""
    convs = [Conv(widths[0], 3, 1, pool=0)]
    for stage, channels in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            convs.append(Conv(channels, 3, 1, 0, stride, residual))
            convs += [] if residual else [Conv(channels, 3, 1, pool=0)]
    return tuple(convs)


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
        # After VGG (Simonyan, Zisserman 2015): pairs of 3×3 convolutions, twice the maps behind each pooling.
        Architecture(
            "vgg-small",
            tuple(Conv(channels, 3, 1, pool) for channels in (32, 64, 128) for pool in (0, 2)),
            (128,),
        ),
        # The layout for CIFAR-10 of He et al. 2016, with n = 2 blocks a stage: 14 layers of weights.
        Architecture("resnet-small", _stages((16, 32, 64), 2, residual=True), (), global_pooling=True),
        # The same at half the maps, with and without shortcuts, in two depths.
        *(
            Architecture(f"{kind}-{6 * blocks + 2}", _stages((8, 16, 32), blocks, residual), (), global_pooling=True)
            for kind, residual in (("plain", False), ("residual", True))
            for blocks in (1, 2)
        ),
    )
}

_CONV = re.compile(r"c(\d{1,4})k(\d{1,2})(?:p(\d{1,2}))?(?:t([12]))?")
_BLOCK = re.compile(r"r(\d{1,4})(?:t([12]))?")
_POOL = re.compile(r"s([12])")
_HIDDEN = re.compile(r"f(\d{1,5})")


@cache
def architecture(name: str) -> Architecture:
    """The architecture of that name, or the one whose layers the name spells out.

    Layers are joined by "-": cNkK[pP][tT] is a convolution (N maps, K×K kernel, P pixels of zero padding, a stride of
    T), rN[tT] a residual block (two 3×3 convolutions of N maps with padding 1, the first with a stride of T, and a
    shortcut around both), either of which s2 or s1 (2×2 pooling with that stride) may follow; then g, global average
    pooling; then fN, N hidden units. "c6k5-s2-c16k5-s2-f120-f84" is lenet5x5, "c16k3p1-r16-r32t2-r64t2-g" a ResNet.

    Raises ConfigError for an unknown name, a misspelled layer or one that does not fit its input.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    convs: list[Conv] = []
    hidden: list[int] = []
    average = False
    parts = name.split("-")
    for previous, part in zip(["", *parts], parts, strict=False):
        in_maps = not hidden and not average
        if (match := _CONV.fullmatch(part)) and in_maps:
            convs.append(Conv(int(match[1]), int(match[2]), int(match[3] or 0), 0, int(match[4] or 1)))
        elif (match := _BLOCK.fullmatch(part)) and in_maps:
            convs.append(Conv(int(match[1]), 3, 1, 0, int(match[2] or 1), residual=True))
        elif (match := _POOL.fullmatch(part)) and (_CONV.fullmatch(previous) or _BLOCK.fullmatch(previous)):
            convs[-1] = replace(convs[-1], pool=int(match[1]))
        elif part == "g" and in_maps:
            average = True
        elif match := _HIDDEN.fullmatch(part):
            hidden.append(int(match[1]))
        else:
            raise ConfigError(
                f"model {name!r} is not known: choose one of {', '.join(ARCHITECTURES)}, "
                'or spell out its layers as in "c6k5-s2-c16k5-s2-f120-f84" or "c16k3p1-r16-r32t2-g"'
            )
    return Architecture(name, tuple(convs), tuple(hidden), global_pooling=average)


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
        stride = f"t{conv.stride}" if conv.stride > 1 else ""
        padding = f"p{conv.padding}" if conv.padding else ""
        kind = f"r{2 * conv.channels}" if conv.residual else f"c{2 * conv.channels}k{conv.kernel}{padding}"
        parts += [kind + stride, *([f"s{conv.pool}"] if conv.pool else [])]
    parts += ["g"] if arch.global_pooling else []
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
    before that, "c1_norm". Dropout ("fc5_dropout") follows the activation of hidden fully connected layers, or that of
    convolutions and blocks and their pooling, or both, as DROPOUT_AT has it. The initial weights are PyTorch's default,
    drawn from its global generator.
    """
    from torch import nn

    from cnnviz.modules import Addition, GlobalAverage, Shortcuts

    modules = OrderedDict[str, nn.Module]()
    made = ""  # the layer whose maps are dropped behind their pooling
    ends: dict[str, str] = {}  # the last child of each layer
    is_flat = False

    def finish(layer: Layer, norm: type[nn.Module]) -> None:
        if arch.batch_norm and layer.parameters and layer is not arch.layers[-1]:
            modules[layer.name + NORM] = norm(layer.output[0])
        if layer.is_activated:
            modules[f"{layer.name}_activation"] = activation_module(activation)

    def drop(name: str, at: str) -> None:
        if dropout and dropout_at in (at, "both"):
            modules[f"{name}_dropout"] = nn.Dropout(dropout)

    for layer, following in zip(arch.layers, [*arch.layers[1:], None], strict=True):
        match layer.kind:
            case "convolution":
                modules[layer.name] = nn.Conv2d(
                    layer.inputs, layer.output[0], layer.kernel, stride=layer.stride, padding=layer.padding
                )
                finish(layer, nn.BatchNorm2d)
            case "addition":
                modules[layer.name] = Addition(ends[layer.shortcut], layer.stride, layer.output[0] - layer.inputs)
                finish(layer, nn.BatchNorm2d)
            case "pooling":
                modules[layer.name] = pooling_module(pooling, layer.stride)
            case "global average pooling":
                modules[layer.name], is_flat = GlobalAverage(), True
            case _:
                if not is_flat:
                    modules["flatten"], is_flat = nn.Flatten(), True
                modules[layer.name] = nn.Linear(layer.inputs, layer.output[0])
                finish(layer, nn.BatchNorm1d)
                if layer.is_activated:
                    drop(layer.name, "hidden")
        if len(layer.output) == 3:
            made = layer.name if layer.is_activated else made
            is_pooled = following is not None and following.kind == "pooling"
            if (layer.is_activated or layer.kind == "pooling") and not is_pooled:
                drop(made, "maps")
        ends[layer.name] = next(reversed(modules))
    has_shortcuts = any(layer.shortcut for layer in arch.layers)
    return Shortcuts(modules) if has_shortcuts else nn.Sequential(modules)


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
