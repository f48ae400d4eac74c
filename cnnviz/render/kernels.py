"""A convolution's kernels as one picture: the first layer's as the colours they answer to, others in blue and red.

Drawn with Pillow, whose built-in font has no ×, dashes or tick marks: texts here do without them.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from cnnviz.render.colours import LIGHT, NOT_FINITE, Scale, Theme, colour
from cnnviz.render.maps import font_of

SIDE = 80  # pixels a side of a kernel, about
FRAME_SIDE = 45  # of one in the film
LINE = 15  # pixels high
MARGIN = 34  # left of a grid, for numbers
WIDTH = 1100  # pixels a grid may take
EXPLODES = 8.0  # times the usual: a weight beyond it is drawn in full colour
MOST = 32  # kernels of the film, one below the other


def largest(values: Tensor) -> float:
    """The largest magnitude among the finite values; 1 if there is none above 0."""
    finite = values[values.isfinite()].abs()
    return (float(finite.max()) or 1.0) if len(finite) else 1.0


def common_limit(every: Sequence[Tensor]) -> float:
    """The weight drawn as full colour in all: the largest, unless it explodes and would leave the others grey."""
    sizes = [largest(one) for one in every]
    return min(max(sizes), EXPLODES * median(sizes)) if sizes else 1.0


def limits(weights: Tensor, own: bool, common: float) -> list[float]:
    """For each kernel of (out, in, rows, columns) the weight drawn as full colour: its own largest, or `common`."""
    return [largest(one) if own else common for one in weights]


def as_colours(weights: Tensor, limit: float | Sequence[float]) -> np.ndarray:
    """Kernels (out, 3, rows, columns) as the colours they answer to, uint8 (out, rows, columns, 3): grey is zero."""
    values = weights.detach().double().permute(0, 2, 3, 1).numpy()
    each = np.broadcast_to(np.asarray(limit, float).reshape(-1, 1, 1, 1), (len(values), 1, 1, 1))
    shares = np.nan_to_num(0.5 + values / (2 * each), nan=0.5).clip(0, 1)
    pixels = np.rint(255 * shares).astype(np.uint8)
    pixels[~np.isfinite(values).all(-1)] = NOT_FINITE
    return pixels


def sheet(
    weights: Tensor, bias: Tensor, limit: Sequence[float], theme: Theme = LIGHT, width: int = WIDTH
) -> Image.Image:
    """The first layer's kernels (out, 3, rows, columns) in rows, each with its number, its largest weight and its bias.

    limit: for each the weight that is drawn as full colour.
    """
    zoom = max(1, round(SIDE / max(weights.shape[2:])))
    tall, wide = (zoom * cells for cells in weights.shape[2:])
    across, down = max(wide, 44) + 12, LINE + tall + 2 * LINE + 6
    columns = min(len(weights), max(1, width // across))
    rows = -(-len(weights) // columns)
    paper = Image.new("RGB", (columns * across, rows * down), theme.paper)
    draw = ImageDraw.Draw(paper)
    pixels = as_colours(weights, limit)
    for index, amount in enumerate(bias.tolist()):
        x, y = index % columns * across, index // columns * down
        draw.text((x, y), str(index), theme.ink, font_of(12))
        _paste(paper, pixels[index], (x, y + LINE), zoom, theme)
        draw.text((x, y + LINE + tall + 3), f"max {largest(weights[index]):.2g}", theme.faint, font_of(11))
        draw.text((x, y + LINE + tall + 3 + 14), f"b {amount:.2g}", theme.ink, font_of(11))
    return paper


def film(
    frames: Sequence[tuple[int, Tensor]], own: bool, common: float, shown: int, theme: Theme = LIGHT
) -> Image.Image:
    """The first layer's kernels epoch by epoch: an epoch a column, a kernel a row.

    frames: epochs and kernels (out, 3, rows, columns); shown: the epoch that is in ink, the others are fainter.
    """
    first = frames[0][1][:MOST]
    zoom = max(1, round(FRAME_SIDE / max(first.shape[2:])))
    tall, wide = (zoom * cells for cells in first.shape[2:])
    across, down = max(wide + 4, 40), tall + 4
    paper = Image.new("RGB", (MARGIN + len(frames) * across, LINE + 4 + len(first) * down), theme.paper)
    draw = ImageDraw.Draw(paper)
    for row in range(len(first)):
        draw.text((0, LINE + 4 + row * down + tall // 2 - 7), str(row), theme.ink, font_of(12))
    for column, (epoch, weights) in enumerate(frames):
        x = MARGIN + column * across
        draw.text((x, 0), str(epoch), theme.ink if epoch == shown else theme.faint, font_of(12))
        for row, pixels in enumerate(as_colours(weights[:MOST], limits(weights[:MOST], own, common))):
            _paste(paper, pixels, (x, LINE + 4 + row * down), zoom, theme)
    return paper


def grid(weights: Tensor, bias: Tensor, scale: Scale, theme: Theme = LIGHT, width: int = WIDTH) -> Image.Image:
    """Kernels (out, in, rows, columns): a column for each map that comes out, a row for each going in, then biases."""
    count, inputs, *cells = weights.shape
    zoom = max(2, min(8, (width - MARGIN) // (count * (cells[1] + 1))))
    tall, wide = (zoom * number for number in cells)
    gap = max(1, zoom // 3)
    across, down = wide + gap, tall + gap
    size = MARGIN + count * across + gap, LINE + inputs * down + 6 + min(tall, 16)
    paper = Image.new("RGB", size, theme.paper)
    draw = ImageDraw.Draw(paper)
    every = max(1, -(-20 // across)), max(1, -(-13 // down))  # numbers that do not touch
    for column in range(0, count, every[0]):
        draw.text((MARGIN + column * across, 0), str(column), theme.faint, font_of(11))
    for row in range(0, inputs, every[1]):
        draw.text((0, LINE + row * down + max(0, tall // 2 - 6)), str(row), theme.faint, font_of(11))
    left, top = MARGIN - gap, LINE - gap
    draw.rectangle((left, top, left + count * across + gap - 1, top + inputs * down + gap - 1), theme.frame)
    pixels = colour(weights, scale).repeat(zoom, axis=2).repeat(zoom, axis=3)
    for column in range(count):
        for row in range(inputs):
            paper.paste(Image.fromarray(pixels[column, row]), (MARGIN + column * across, LINE + row * down))
    top = LINE + inputs * down + 6
    draw.text((0, top), "bias", theme.faint, font_of(11))
    for column, its in enumerate(colour(bias, scale).tolist()):
        left = MARGIN + column * across
        draw.rectangle((left, top, left + wide - 1, top + min(tall, 16) - 1), tuple(its))
    return paper


def _paste(paper: Image.Image, pixels: np.ndarray, place: tuple[int, int], zoom: int, theme: Theme) -> None:
    enlarged = Image.fromarray(pixels.repeat(zoom, 0).repeat(zoom, 1))
    paper.paste(enlarged, place)
    ImageDraw.Draw(paper).rectangle(
        (place[0], place[1], place[0] + enlarged.width - 1, place[1] + enlarged.height - 1), outline=theme.frame
    )
