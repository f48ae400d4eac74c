"""Changes to training pictures, anew in each epoch: mirrored, moved, a square covered.

What is drawn follows from (seed, epoch) and a picture's place in the epoch, and from nothing else, so that a run that
is resumed sees the same pictures again.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cnnviz.data.pixels import UNIT, Scale, normalise

SHIFT = 4  # pixels at most, the border filled with black, as He et al. 2016 do on CIFAR-10
HOLE = 16  # side of the covered square (DeVries, Taylor 2017), filled with 0 after normalising; part may lie outside
_FIVE = 5  # draws for each picture: mirrored, moved down and right, the square's row and column


def draws(seed: int, epoch: int, size: int) -> Tensor:
    """int64 (size, 5): for each place of an epoch, mirrored or not, the shift, the square's centre.

    From raw PCG64 draws, as the order of the batches.
    """
    raw = np.random.PCG64([seed, epoch, 1]).random_raw(_FIVE * size).reshape(size, _FIVE) >> np.uint64(32)
    choices = np.array([2, 2 * SHIFT + 1, 2 * SHIFT + 1, 32, 32], dtype=np.uint64)
    return torch.from_numpy((raw * choices >> np.uint64(32)).astype(np.int64))


def augmented(images: Tensor, drawn: Tensor, kind: str, scale: Scale = UNIT) -> Tensor:
    """uint8 (N, 32, 32, 3) → normalised float32 (N, 3, 32, 32), changed as drawn (N, 5).

    kind: which changes, of config.AUGMENTATIONS.
    """
    kinds = kind.split("+")
    if "flip" in kinds:
        images = torch.where(drawn[:, 0, None, None, None] == 1, images.flip(2), images)
    if "shift" in kinds:
        images = _shifted(images, drawn[:, 1], drawn[:, 2])
    values = normalise(images, scale)
    return _covered(values, drawn[:, 3], drawn[:, 4]) if "cutout" in kinds else values


def _shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    height, width = images.shape[1:3]
    padded = F.pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT))
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)  # views: one for each shift
    return windows[torch.arange(len(images), device=images.device), down, right]


def _covered(values: Tensor, row: Tensor, column: Tensor) -> Tensor:
    def inside(centre: Tensor, size: int) -> Tensor:
        away = torch.arange(size, device=values.device) - centre[:, None]
        return (away >= -HOLE // 2) & (away < HOLE // 2)

    hole = inside(row, values.shape[2])[:, :, None] & inside(column, values.shape[3])[:, None, :]
    return values.masked_fill(hole[:, None], 0.0)
