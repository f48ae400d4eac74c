"""Feature maps as pictures: every map that is compared lies on one colour scale, and a legend gives it in numbers.

Drawn with Pillow. Its built-in font has no ×, no dashes and no tick marks, so the texts in here do without.
"""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cnnviz import data
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import LayerMaps, Network, Prediction, activations

# viridis (Smith, van der Walt, 2015; CC0): perceptually uniform, read by the colour-blind, sampled at 17 places.
_VIRIDIS = (
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
    "1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725"
)
# RdBu (Brewer, Harrower, 2003) turned round: blue below zero, white at zero, red above; safe for the colour-blind.
_BLUE_WHITE_RED = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"
_NOT_FINITE = (255, 0, 255)  # in neither table
_STEPS = 256
ATLAS_COLUMNS = 32  # few enough that the widest picture stays within what a browser can draw

MAP_SIDE = 56  # pixels a side a map is enlarged to, about
UNIT_SIDE = 14  # pixels a side of a fully connected layer's unit
SHEET_WIDTH = 1200  # pixels the maps of one picture may take
PICTURE_ZOOM = 3  # the picture is then as tall as its caption and a line of maps
LEGEND_WIDTH = 240
FEW = 20  # units that are drawn large, each with its number


@dataclass(frozen=True)
class Scale:
    """What the colours mean. Signed: blue to red with white at zero; otherwise from low to high."""

    low: float
    high: float
    signed: bool
    finite: bool = True  # False: some values are NaN or infinite and drawn in magenta

    @classmethod
    def of(cls, maps: Iterable[LayerMaps]) -> "Scale":
        """The one scale on which all these maps lie: those of one layer, or of the two networks that are compared."""
        every = list(maps)
        finite = all(bool(x.values.isfinite().all()) for x in every)
        return cls.spanning(((x.low, x.high) for x in every), finite)

    @classmethod
    def spanning(cls, ranges: Iterable[tuple[float, float]], finite: bool = True) -> "Scale":
        """The one scale that reaches over all these ranges: of the other network, and of the other epochs."""
        lows, highs = zip(*ranges, strict=True)
        low, high = min(lows), max(highs)
        if low >= 0:
            return cls(low, high, False, finite)
        limit = max(-low, high)
        return cls(-limit, limit, True, finite)


@dataclass(frozen=True)
class Theme:
    """Colours of the paper and of what is written on it."""

    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    faint: tuple[int, int, int]
    frame: tuple[int, int, int]  # around each map, which may be as white as the paper
    right: tuple[int, int, int]  # blue and orange after Okabe and Ito: safe for the colour-blind
    wrong: tuple[int, int, int]


LIGHT = Theme((255, 255, 255), (26, 26, 26), (110, 110, 110), (215, 215, 215), (0, 114, 178), (178, 72, 0))
DARK = Theme((14, 17, 23), (250, 250, 250), (150, 150, 150), (60, 64, 72), (86, 180, 233), (230, 159, 0))


def colour(values: Tensor, scale: Scale) -> np.ndarray:
    """uint8 (…, 3) colours of the values (…); magenta where they are not finite."""
    x = values.detach().cpu().double().numpy()
    finite = np.isfinite(x)
    # Never so steep that float32 rounding becomes a step of colour.
    span = max(scale.high - scale.low, 1e-4 * max(abs(scale.low), abs(scale.high)), 1e-30)
    start, its_share = ((scale.low + scale.high) / 2, 0.5) if scale.signed else (scale.low, 0.0)
    share = (np.where(finite, x, start) - start) / span + its_share
    steps = np.rint(share.clip(0, 1) * (_STEPS - 1)).astype(np.intp)
    return _table(scale.signed)[np.where(finite, steps, _STEPS)]


def by_channel(values: Tensor) -> list[Scale]:
    """A scale for each channel of (channels, height, width), or one for all of (units,); all of one kind."""
    parts = values.flatten(1) if values.ndim == 3 else values[None]
    finite = [part[part.isfinite()] for part in parts]
    ranges = [(float(x.min()), float(x.max())) if len(x) else (0.0, 0.0) for x in finite]
    signed = min(low for low, _ in ranges) < 0
    scales = []
    for (low, high), some, every in zip(ranges, finite, parts, strict=True):
        limit = max(-low, high)
        scales.append(Scale(-limit if signed else low, limit if signed else high, signed, len(some) == len(every)))
    return scales


def atlas(values: Tensor, scale: Scale | Sequence[Scale]) -> Image.Image:
    """Maps (channels, height, width) or units (units,) as they are, a pixel a cell, ATLAS_COLUMNS to a row.

    scale: one for all of them, or one for each.
    """
    maps = values.view(-1, 1, 1) if values.ndim == 1 else values
    if isinstance(scale, Scale):
        colours = colour(maps, scale)
    else:
        each = scale if len(scale) == len(maps) else list(scale) * len(maps)
        colours = np.stack([colour(one, its) for one, its in zip(maps, each, strict=True)])
    return mosaic(colours)


def mosaic(pictures: np.ndarray) -> Image.Image:
    """uint8 (N, height, width, 3) pictures in one, ATLAS_COLUMNS to a row, without any space between."""
    count, tall, wide = pictures.shape[:3]
    columns = min(count, ATLAS_COLUMNS)
    rows = math.ceil(count / columns)
    paper = np.zeros((rows * columns, tall, wide, 3), np.uint8)
    paper[:count] = pictures
    return Image.fromarray(paper.reshape(rows, columns, tall, wide, 3).swapaxes(1, 2).reshape(rows * tall, -1, 3))


def tile(values: Tensor, scale: Scale, width: int = SHEET_WIDTH, theme: Theme = LIGHT) -> Image.Image:
    """One picture's maps (channels, height, width), or units (units,), in a grid with their numbers above.

    Every cell of a map is a square of whole pixels; the grid is at most `width` pixels wide, or one map or ten units.
    """
    maps = values.view(-1, 1, 1) if values.ndim == 1 else values
    if values.ndim == 1 and len(values) > FEW:
        side, gap, numbered = UNIT_SIDE, 1, 10
    else:
        side, gap, numbered = (2 * UNIT_SIDE if values.ndim == 1 else MAP_SIDE), 4, 1
    zoom = max(1, round(side / max(maps.shape[1:])))
    tall, wide = (zoom * cells for cells in maps.shape[1:])
    columns = _columns(len(maps), (width - 2 + gap) // (wide + gap), numbered)
    rows, label, between = math.ceil(len(maps) / columns), 13, 4
    size = columns * (wide + gap) - gap + 2, rows * (label + tall + between) - between + 1
    paper = Image.new("RGB", size, theme.paper)
    draw = ImageDraw.Draw(paper)
    colours = colour(maps, scale).repeat(zoom, axis=1).repeat(zoom, axis=2)
    for channel, pixels in enumerate(colours):
        x, y = 1 + channel % columns * (wide + gap), channel // columns * (label + tall + between)
        draw.rectangle((x - 1, y + label - 1, x + wide, y + label + tall), outline=theme.frame)
        paper.paste(Image.fromarray(pixels), (x, y + label))
        if channel % numbered == 0:
            draw.text((x, y), str(channel), theme.faint, font(11))
    return paper


def legend(scale: Scale, theme: Theme = LIGHT) -> Image.Image:
    """The scale's colours with its ends and middle in numbers."""
    varies = scale.high > scale.low
    bar = colour(torch.linspace(scale.low, scale.high, LEGEND_WIDTH, dtype=torch.double).expand(12, -1), scale)
    paper = Image.new("RGB", (LEGEND_WIDTH, 30 if scale.finite else 48), theme.paper)
    paper.paste(Image.fromarray(bar))
    draw = ImageDraw.Draw(paper)
    numbers = [scale.low, (scale.low + scale.high) / 2, scale.high] if varies else [scale.low]
    for value, place, anchor in zip(numbers, (0, 0.5, 1), ("la", "ma", "ra"), strict=False):
        x = round(place * (LEGEND_WIDTH - 1))
        draw.line((x, 12, x, 15), theme.faint)
        draw.text((x, 17), f"{value:.3g}", theme.ink, font(11), anchor=anchor)
    if not scale.finite:
        draw.rectangle((0, 35, 11, 46), _NOT_FINITE)
        draw.text((17, 35), "not finite (NaN or infinity)", theme.ink, font(11))
    return paper


def caption(prediction: Prediction, index: int, label: int | None, classes: Sequence[str]) -> str:
    """What the network says of one picture: "predicted 9 truck (83 %), true 1 automobile: wrong"."""
    truth = "" if label is None else f", true {label} {classes[label]}"
    if not prediction.logits[index].isfinite().all():
        return f"no prediction, the logits are not finite{truth}"
    best = int(prediction.classes[index])
    text = f"predicted {best} {classes[best]} ({100 * float(prediction.probabilities[index, best]):.0f} %){truth}"
    return text if label is None else f"{text}: {'right' if best == label else 'wrong'}"


def sheet(
    network: Network,
    images: Tensor,
    labels: Tensor | None,
    name: str,
    classes: Sequence[str] = data.CLASSES,
    theme: Theme = LIGHT,
    scale: Scale | None = None,
) -> Image.Image:
    """The pictures below one another, each with its prediction and its maps of one layer, all on one colour scale.

    images: uint8 (N, 32, 32, 3); labels: (N,) true classes, None where they are not known; name: which maps, such as
    "c3" before its activation or "c3_activation" after it; scale: these maps' own where none is given.

    Raises ConfigError for a layer that is not there.
    """
    network.arch.layer(name.removesuffix("_activation"))
    every = activations(network, images)
    if name not in every:
        raise ConfigError(f"{name} is not a step of {network.arch.name}: choose one of {', '.join(every)}")
    maps, prediction = every[name], Prediction(list(every.values())[-1].values)
    scale = scale or Scale.of([maps])
    rows = [
        row(image, caption(prediction, index, None if labels is None else int(labels[index]), classes), grid, theme)
        for index, image in enumerate(images)
        for grid in [tile(maps.values[index], scale, theme=theme)]
    ]
    return stacked([header(title(network, maps), scale, theme), *rows], theme)


def png(image: Image.Image, fast: bool = False) -> bytes:
    """The picture as the bytes of a PNG file; fast: a few times quicker, a little larger."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1 if fast else 6)
    return file.getvalue()


def _columns(count: int, fit: int, numbered: int) -> int:
    """Columns that make rows as even as can be, where `fit` of them fit and each row starts with a numbered one."""
    even = math.ceil(count / math.ceil(count / max(1, fit)))
    return max(1, min(math.ceil(even / numbered), fit // numbered)) * numbered


def title(network: Network, maps: LayerMaps) -> str:
    """What the maps are: "lenet5x5: c3, after its tanh, 16 maps of 10 by 10"."""
    layer, output = maps.layer, maps.layer.output
    if maps.name != layer.name:
        what = f"after its {network.activation}"
    elif layer.kind == "pooling":
        what = f"after {network.pooling} pooling"
    else:
        what = "the logits" if layer == network.arch.layers[-1] else f"before its {network.activation}"
    many = f"{output[0]} units" if len(output) == 1 else f"{output[0]} maps of {output[1]} by {output[2]}"
    return f"{network.arch.name}: {layer.name}, {what}, {many}"


def header(title: str, scale: Scale, theme: Theme) -> Image.Image:
    """A title and, beneath it, the scale's legend."""
    colours, large = legend(scale, theme), font(16)
    paper = Image.new("RGB", (max(math.ceil(large.getlength(title)), colours.width), 30 + colours.height), theme.paper)
    ImageDraw.Draw(paper).text((0, 0), title, theme.ink, large)
    paper.paste(colours, (0, 30))
    return paper


def row(image: Tensor, text: str, grid: Image.Image, theme: Theme) -> Image.Image:
    """A picture, uint8 (32, 32, 3), with what is said of it and its maps beside it."""
    picture = Image.fromarray(image.cpu().numpy())
    picture = picture.resize((picture.width * PICTURE_ZOOM, picture.height * PICTURE_ZOOM), Image.Resampling.NEAREST)
    left, top = picture.width + 12, 22
    width = left + max(grid.width, math.ceil(font(14).getlength(text)))
    paper = Image.new("RGB", (width, max(picture.height, top + grid.height)), theme.paper)
    paper.paste(picture, (0, 0))
    paper.paste(grid, (left, top))
    ink = theme.right if text.endswith("right") else theme.wrong if text.endswith("wrong") else theme.ink
    ImageDraw.Draw(paper).text((left, 0), text, ink, font(14))
    return paper


def stacked(parts: Sequence[Image.Image], theme: Theme, margin: int = 16) -> Image.Image:
    """Pictures below one another."""
    width = max(part.width for part in parts) + 2 * margin
    height = sum(part.height + margin for part in parts) + margin
    paper, top = Image.new("RGB", (width, height), theme.paper), margin
    for part in parts:
        paper.paste(part, (margin, top))
        top += part.height + margin
    return paper


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, of so many pixels."""
    return ImageFont.load_default(size)


@cache
def _table(signed: bool) -> np.ndarray:
    """uint8 (257, 3): the colours from low to high, and last the one for what is not finite."""
    anchors = (_BLUE_WHITE_RED if signed else _VIRIDIS).split()
    points = np.array([list(bytes.fromhex(anchor)) for anchor in anchors], float)
    places = np.linspace(0, len(points) - 1, _STEPS)
    ramp = [np.interp(places, np.arange(len(points)), points[:, channel]) for channel in range(3)]
    return np.vstack([np.stack(ramp, 1).round(), _NOT_FINITE]).astype(np.uint8)
