"""The text of a network as a module of PyTorch, as one would write it by hand."""

from cnnviz.architectures import NORM, Architecture, Layer
from cnnviz.config import RunConfig

_FUNCTIONS = {
    "sigmoid": "torch.sigmoid",
    "tanh": "torch.tanh",
    "relu": "F.relu",
    "leaky_relu": "F.leaky_relu",
    "gelu": "F.gelu",
    "silu": "F.silu",
}
RANGES = {"unit": "from -1 to 1", "standard": "standardised", "raw": "from 0 to 255"}
_POOLINGS = {"max": "nn.MaxPool2d", "avg": "nn.AvgPool2d"}


DROPOUT = '''
class Dropout(nn.Module):
    """As nn.Dropout, with masks from a generator that every epoch seeds anew."""

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.empty(x.shape, device=x.device).bernoulli_(1 - DROPOUT, generator=MASKS)
        return x * kept / (1 - DROPOUT)
'''


def model(config: RunConfig) -> str:
    """The class Net. Its layers have the names of the run's weights, and are made in the order that draws the same
    initial weights."""
    arch, pooling = config.architecture, config.pooling
    act = _FUNCTIONS[config.activation]
    made: list[str] = []
    passed: list[str] = []
    last, is_flat = arch.layers[-1], False
    layers = list(arch.layers)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        size = "×".join(map(str, layer.output))
        if layer.kind == "convolution":
            more = f", stride={layer.stride}" if layer.stride > 1 else ""
            more += f", padding={layer.padding}" if layer.padding else ""
            made.append(f"self.{layer.name} = nn.Conv2d({layer.inputs}, {layer.output[0]}, {layer.kernel}{more})")
            value = _normed(arch, layer, "BatchNorm2d", made)
            if not layer.is_activated:
                passed.append(f"x = {value}  # {size}")
                continue
            if _begins_block(arch, layer):
                passed.append("shortcut = x")
            value = f"{act}({value})"
            if following is not None and following.kind == "pooling":
                value, size = f"self.{following.name}({value})", "×".join(map(str, following.output))
            value = _dropped(config, layer, "maps", value, made)
            passed.append(f"x = {value}  # {size}")
        elif layer.kind == "addition":
            value = f"{act}(x + {_shortcut(layer)})"
            if following is not None and following.kind == "pooling":
                value, size = f"self.{following.name}({value})", "×".join(map(str, following.output))
            value = _dropped(config, layer, "maps", value, made)
            passed.append(f"x = {value}  # {layer.name}: {size}")
        elif layer.kind == "pooling":
            made.append(f"self.{layer.name} = {_POOLINGS[pooling]}(2, stride={layer.stride})")
        elif layer.kind == "global average pooling":
            passed.append(f"x = x.mean((2, 3))  # {layer.name}: {size}")
            is_flat = True
        else:
            units, inputs = layer.output[0], layer.inputs
            made.append(f"self.{layer.name} = nn.Linear({inputs}, {units})")
            if not is_flat:
                passed.append(f"x = torch.flatten(x, 1)  # {inputs}")
                is_flat = True
            if layer is last:
                passed.append(f"return self.{layer.name}(x)  # logits")
                continue
            value = f"{act}({_normed(arch, layer, 'BatchNorm1d', made)})"
            passed.append(f"x = {_dropped(config, layer, 'hidden', value, made)}  # {size}")
    lines = [
        "class Net(nn.Module):",
        f'    """{arch.parameters:,} parameters. The comments are the shape of one picture behind each line."""',
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {line}" for line in made),
        "",
        f"    def forward(self, x):  # 3×32×32, {RANGES[config.normalise]}",
        *(f"        {line}" for line in passed),
    ]
    return "\n".join(lines)


def _begins_block(arch: Architecture, layer: Layer) -> bool:
    """Whether it is the first of the two convolutions of a residual block: the sum is the layer after the next."""
    place = arch.layers.index(layer)
    return bool(arch.layers[place + 2 :] and arch.layers[place + 2].shortcut)


def _shortcut(layer: Layer) -> str:
    cut = f"shortcut[:, :, ::{layer.stride}, ::{layer.stride}]" if layer.stride > 1 else "shortcut"
    more = layer.output[0] - layer.inputs
    return f"F.pad({cut}, (0, 0, 0, 0, 0, {more}))" if more else cut


def _normed(arch: Architecture, layer: Layer, kind: str, made: list[str]) -> str:
    """The layer called on x, and its batch norm on that."""
    if not arch.batch_norm:
        return f"self.{layer.name}(x)"
    made.append(f"self.{layer.name}{NORM} = nn.{kind}({layer.output[0]})")
    return f"self.{layer.name}{NORM}(self.{layer.name}(x))"


def _dropped(config: RunConfig, layer: Layer, at: str, value: str, made: list[str]) -> str:
    if not config.dropout or config.dropout_at not in (at, "both"):
        return value
    made.append(f"self.{layer.name}_dropout = Dropout()")
    return f"self.{layer.name}_dropout({value})"
