"""How pixels become the numbers that a network is shown: from -1 to 1, standardised, or as they are."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

Colours = tuple[float, float, float]  # of red, green and blue
# Mean and standard deviation of pixels scaled to 0…1, over all 50,000 training pictures. They are constants: all
# networks are shown the same numbers, however many pictures they train on. CIFAR-10's are those usually published.
STATISTICS: dict[str, tuple[Colours, Colours]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "synthetic": ((0.3589, 0.3588, 0.3584), (0.2237, 0.2240, 0.2241)),
}


@dataclass(frozen=True)
class Scale:
    """What a network is shown of a pixel of 0…255: pixel / divisor - shift, colour by colour."""

    divisor: Colours
    shift: Colours

    def grey(self, level: float = 127.5) -> Tensor:
        """A grey pixel as the network is shown it, (3,); by default the middle one."""
        return level / torch.tensor(self.divisor) - torch.tensor(self.shift)


UNIT = Scale((127.5,) * 3, (1.0,) * 3)  # from -1 to 1, as in PyTorch's CIFAR-10 tutorial
RAW = Scale((1.0,) * 3, (0.0,) * 3)  # 0 to 255


def scale_of(normalise: str, dataset: str) -> Scale:
    """The scale of a run by these two of its settings."""
    if normalise == "standard":
        mean, deviation = STATISTICS[dataset]
        red, green, blue = (255 * each for each in deviation)
        first, second, third = (each / its for each, its in zip(mean, deviation, strict=True))
        return Scale((red, green, blue), (first, second, third))
    return RAW if normalise == "raw" else UNIT


def normalise(images: Tensor, scale: Scale = UNIT) -> Tensor:
    """uint8 (N, 32, 32, 3) → float32 (N, 3, 32, 32) in channels-last memory, by default from -1 to 1."""
    pixels = images.permute(0, 3, 1, 2).to(torch.float32)
    if scale == RAW:
        return pixels
    divisor, shift = scale.divisor, scale.shift
    if len({*divisor}) == len({*shift}) == 1:  # as numbers, which a kernel folds in
        return pixels / divisor[0] - shift[0]
    return pixels.div_(_by_colour(divisor, images.device)).sub_(_by_colour(shift, images.device))


@functools.cache
def _by_colour(colours: Colours, device: torch.device) -> Tensor:
    """(3, 1, 1), brought to the device once: for numbers of its own a step would wait."""
    return torch.tensor(colours, device=device).view(3, 1, 1)
