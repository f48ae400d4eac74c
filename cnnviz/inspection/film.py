"""One picture in one network, epoch by epoch: the first layer's kernels and maps, and what is predicted."""

from dataclasses import dataclass

from torch import Tensor

from cnnviz.inspection.network import Network, Prediction, each_step

MOST_CHANNELS = 8  # of the first layer, from the first on


@dataclass(frozen=True)
class Frame:
    """After one epoch."""

    epoch: int
    kernels: Tensor | None  # (channels, colours, rows, columns); None: the first layer is no convolution
    maps: Tensor | None  # (channels, height, width), behind the activation
    predicted: int | None  # the class; None: the logits are not finite
    probability: float


def frame(network: Network, epoch: int, picture: Tensor) -> Frame:
    """What the network makes of the picture, uint8 (32, 32, 3)."""
    first = network.arch.weight_layers[0]
    steps = {maps.name: maps.values[0] for maps in each_step(network, picture[None])}
    logits = list(steps.values())[-1][None]
    kernels = maps = None
    if network.arch.conv_layers and first is network.arch.conv_layers[0]:
        kernels = dict(network.module.named_parameters())[f"{first.name}.weight"][:MOST_CHANNELS]
        maps = steps[f"{first.name}_activation"][:MOST_CHANNELS]
    if not bool(logits.isfinite().all()):
        return Frame(epoch, kernels, maps, None, 0.0)
    ((best, probability),) = Prediction(logits).top(1)[0]
    return Frame(epoch, kernels, maps, best, probability)
