"""The text of a network as a module of PyTorch, as one would write it by hand."""

from cnnviz.architectures import Architecture

_FUNCTIONS = {
    "sigmoid": "torch.sigmoid",
    "tanh": "torch.tanh",
    "relu": "F.relu",
    "leaky_relu": "F.leaky_relu",
    "gelu": "F.gelu",
    "silu": "F.silu",
}
_POOLINGS = {"max": "nn.MaxPool2d", "avg": "nn.AvgPool2d"}


def model(arch: Architecture, activation: str, pooling: str) -> str:
    """The class Net. Its layers have the names of the run's weights, and are made in the order that draws the same
    initial weights."""
    shapes, convs = arch.weight_shapes, iter(arch.convs)
    act = _FUNCTIONS[activation]
    made: list[str] = []
    passed: list[str] = []
    last, is_flat = arch.layers[-1], False
    layers = list(arch.layers)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        size = "×".join(map(str, layer.output))
        if layer.kind == "convolution":
            conv = next(convs)
            inputs = shapes[f"{layer.name}.weight"][1]
            padding = f", padding={conv.padding}" if conv.padding else ""
            made.append(f"self.{layer.name} = nn.Conv2d({inputs}, {conv.channels}, {conv.kernel}{padding})")
            value = f"{act}(self.{layer.name}(x))"
            if following is not None and following.kind == "pooling":
                value, size = f"self.{following.name}({value})", "×".join(map(str, following.output))
            passed.append(f"x = {value}  # {size}")
        elif layer.kind == "pooling":
            made.append(f"self.{layer.name} = {_POOLINGS[pooling]}(2, stride={conv.pool})")
        else:
            units, inputs = shapes[f"{layer.name}.weight"]
            made.append(f"self.{layer.name} = nn.Linear({inputs}, {units})")
            if not is_flat:
                passed.append(f"x = torch.flatten(x, 1)  # {inputs}")
                is_flat = True
            called = f"self.{layer.name}(x)"
            passed.append(f"return {called}  # logits" if layer is last else f"x = {act}({called})  # {size}")
    lines = [
        "class Net(nn.Module):",
        f'    """{arch.parameters:,} parameters. The comments are the shape of one picture behind each line."""',
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {line}" for line in made),
        "",
        "    def forward(self, x):  # 3×32×32, from -1 to 1",
        *(f"        {line}" for line in passed),
    ]
    return "\n".join(lines)
