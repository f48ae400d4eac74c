"""The frames of a film, inspection.film, as pictures; all frames of a film are in the same colours."""

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
from PIL import Image
from torch import Tensor

from cnnviz.inspection.film import Frame
from cnnviz.render.colours import Scale, colour
from cnnviz.render.kernels import as_colours

EXPLODES = 8.0  # times the usual range: a frame beyond it is drawn in the ends' colours, the others stay readable
GROWTH = math.sqrt(2)  # by which a range grows, so that it seldom does: every frame is drawn anew then
GAP = 2  # pixels between maps, and between kernels


def map_scale(frames: Sequence[Frame]) -> Scale:
    """One for the maps of all frames."""
    ranges = [_range(frame.maps) for frame in frames if frame.maps is not None]
    if not ranges:
        return Scale(0.0, 1.0, False)
    signed = min(low for low, _ in ranges) < 0
    limit = _limit([max(-low, high) for low, high in ranges])
    return Scale(-limit if signed else 0.0, limit, signed)


def kernel_limit(frames: Sequence[Frame]) -> float:
    """The weight that is drawn as full colour, in all frames."""
    ranges = [_range(frame.kernels) for frame in frames if frame.kernels is not None]
    return _limit([max(-low, high) for low, high in ranges]) if ranges else 1.0


def _range(values: Tensor) -> tuple[float, float]:
    finite = values[values.isfinite()]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _limit(sizes: Sequence[float]) -> float:
    largest = min(max(sizes), EXPLODES * median(sizes))
    return GROWTH ** math.ceil(math.log(largest, GROWTH)) if largest > 0 else 1.0


def maps(frame: Frame, scale: Scale, paper: tuple[int, int, int]) -> Image.Image:
    """The maps side by side, a pixel a cell. frame: one that has some."""
    assert frame.maps is not None
    return _grid(colour(frame.maps, scale), paper, columns=_columns(len(frame.maps)))


def kernels(frame: Frame, limit: float, paper: tuple[int, int, int]) -> Image.Image:
    """The kernels side by side, a pixel a weight, as the colours they answer to: grey is zero. frame: one with some."""
    assert frame.kernels is not None
    pixels = as_colours(frame.kernels, limit)
    return _grid(pixels, paper, columns=len(pixels), gap=1)


def _columns(count: int) -> int:
    return math.ceil(count / 2) if count > 3 else count


def _grid(pixels: np.ndarray, paper: tuple[int, int, int], columns: int, gap: int = GAP) -> Image.Image:
    """uint8 (count, height, width, 3) in a grid."""
    count, tall, wide = pixels.shape[:3]
    rows = math.ceil(count / columns)
    grid = Image.new("RGB", (columns * (wide + gap) - gap, rows * (tall + gap) - gap), paper)
    for at, one in enumerate(pixels):
        grid.paste(Image.fromarray(one), (at % columns * (wide + gap), at // columns * (tall + gap)))
    return grid
