"""Feature maps as pictures: maps that are compared share one colour scale, whose legend gives it in numbers.

Drawn with Pillow, whose built-in font has no ×, dashes or tick marks: texts here do without them.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cnnviz import data
from cnnviz.errors import ConfigError
from cnnviz.inspection import gallery
from cnnviz.inspection.cells import Box
from cnnviz.inspection.network import LayerMaps, Network, Prediction, activations
from cnnviz.render.colours import LIGHT, NOT_FINITE, Scale, Theme, colour

ATLAS_COLUMNS = 32  # few enough for the widest atlas to stay within what a browser can draw

MAP_SIDE = 56  # pixels a side a map is enlarged to, about
UNIT_SIDE = 14  # pixels a side of a fully connected layer's unit
SHEET_WIDTH = 1200  # pixels the maps of one picture may take
MAX_SHEET_PIXELS = 60_000_000  # of all rows together, drawn and copied at four bytes each
PICTURE_ZOOM = 3  # the picture is then as tall as its caption and a line of maps
LEGEND_WIDTH = 240
_ROOM_FOR_A_CROSS = 7  # pixels
FEW = 20  # units that are drawn large, each with its number


def atlas(values: Tensor, scale: Scale | Sequence[Scale]) -> Image.Image:
    """Maps (channels, height, width) or units (units,) in one picture, one pixel a cell, ATLAS_COLUMNS to a row.

    scale: one for all of them, or one for each.
    """
    maps = values.view(-1, 1, 1) if values.ndim == 1 else values
    if isinstance(scale, Scale):
        colours = colour(maps, scale)
    else:
        each = scale if len(scale) == len(maps) else list(scale) * len(maps)
        colours = np.stack([colour(one, its) for one, its in zip(maps, each, strict=True)])
    return mosaic(colours)


def kernel_atlas(kernels: Tensor) -> tuple[Image.Image, Scale]:
    """Kernels (channels, inputs, k, k) as atlas() lays maps out, one channel's after another's, and their scale."""
    scale = Scale.around_zero(kernels)
    return atlas(kernels.flatten(0, 1), scale), scale


def ramp(scale: Scale) -> Image.Image:
    """The scale's colours alone, from its low end to its high one."""
    steps = torch.linspace(scale.low, scale.high, LEGEND_WIDTH, dtype=torch.double)
    return Image.fromarray(colour(steps.expand(1, -1), scale))


def mosaic(pictures: np.ndarray) -> Image.Image:
    """Pictures, uint8 (N, height, width, 3), side by side in one, ATLAS_COLUMNS to a row, without gaps."""
    count, tall, wide = pictures.shape[:3]
    columns = min(count, ATLAS_COLUMNS)
    rows = math.ceil(count / columns)
    paper = np.zeros((rows * columns, tall, wide, 3), np.uint8)
    paper[:count] = pictures
    return Image.fromarray(paper.reshape(rows, columns, tall, wide, 3).swapaxes(1, 2).reshape(rows * tall, -1, 3))


def tile(
    values: Tensor, scale: Scale, width: int = SHEET_WIDTH, theme: Theme = LIGHT, dropped: Tensor | None = None
) -> Image.Image:
    """One picture's maps (channels, height, width), or units (units,), in a grid with their numbers above.

    Every cell of a map is a square of whole pixels; the grid is at most `width` pixels wide, or one map or ten units.
    dropped: bool, as the values; these cells are crossed out, or grey where they are too small for a cross.
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
    if dropped is not None:
        gone = dropped.view(maps.shape).numpy().repeat(zoom, axis=1).repeat(zoom, axis=2)
        colours[gone] = (np.tile(_cross(zoom), (1, *maps.shape[1:], 1)).repeat(len(maps), axis=0))[gone]
    for channel, pixels in enumerate(colours):
        x, y = 1 + channel % columns * (wide + gap), channel // columns * (label + tall + between)
        draw.rectangle((x - 1, y + label - 1, x + wide, y + label + tall), outline=theme.frame)
        paper.paste(Image.fromarray(pixels), (x, y + label))
        if channel % numbered == 0:
            draw.text((x, y), str(channel), theme.faint, font_of(11))
    return paper


def _cross(side: int) -> np.ndarray:
    """A grey cell, uint8 (1, side, side, 3), with a dark cross if there is room."""
    away = np.abs(np.subtract.outer(np.arange(side), np.arange(side)))
    lines = np.minimum(away, away[:, ::-1]) < 1
    cell = np.where(lines & (side >= _ROOM_FOR_A_CROSS), 40, 176)
    return np.repeat(cell.astype(np.uint8)[None, :, :, None], 3, axis=3)


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
        draw.text((x, 17), f"{value:.3g}", theme.ink, font_of(11), anchor=anchor)
    if not scale.finite:
        draw.rectangle((0, 35, 11, 46), NOT_FINITE)
        draw.text((17, 35), "not finite (NaN or infinity)", theme.ink, font_of(11))
    return paper


def caption(prediction: Prediction, index: int, label: int | None, classes: Sequence[str]) -> str:
    """What the network predicts for one picture: "predicted 9 truck (83 %), true 1 automobile: wrong"."""
    truth = "" if label is None else f", true {label} {classes[label]}"
    if not prediction.logits[index].isfinite().all():
        return f"no prediction, the logits are not finite{truth}"
    best = int(prediction.classes[index])
    text = f"predicted {best} {classes[best]} ({100 * float(prediction.probabilities[index, best]):.0f} %){truth}"
    return text if label is None else f"{text}: {'right' if best == label else 'wrong'}"


def verdict(prediction: Prediction, index: int, label: int | None, classes: Sequence[str]) -> str:
    """The same in a few words, for a screen: "✗ frog 51 % (it is a cat)"."""
    if prediction.logits[index].isfinite().all():
        return gallery.verdict(prediction, index, label, classes)
    return "✕ no prediction" if label is None else f"✕ no prediction ({gallery.truth(label, classes)})"


def sheet(
    network: Network,
    images: Tensor,
    labels: Tensor | Sequence[int | None] | None,
    name: str,
    classes: Sequence[str] = data.CLASSES,
    theme: Theme = LIGHT,
    scale: Scale | None = None,
) -> Image.Image:
    """The pictures below one another, each with its prediction and its maps of one layer, all on one colour scale.

    images: uint8 (N, 32, 32, 3); labels: N true classes, None for one that is not known, or for all; name: which maps,
    such as "c3" before its activation or "c3_activation" after it; scale: by default that of these maps.

    Raises ConfigError for a layer or a step that does not exist, and for more pictures than fit on a sheet.
    """
    one = tile(torch.zeros(network.arch.layer(name.removesuffix("_activation")).output), Scale(0.0, 1.0, False))
    fit = max(1, MAX_SHEET_PIXELS // (one.width * one.height))
    if len(images) > fit:
        raise ConfigError(f"{len(images)} pictures with their maps of {name} are too large a sheet: name at most {fit}")
    every = activations(network, images)
    if name not in every:
        raise ConfigError(f"{name} is not a step of {network.arch.name}: choose one of {', '.join(every)}")
    maps, prediction = every[name], Prediction(list(every.values())[-1].values)
    scale = scale or Scale.of([maps])
    truth = [None if label is None else int(label) for label in (len(images) * [None] if labels is None else labels)]
    rows = [
        picture_row(image, caption(prediction, index, truth[index], classes), grid, theme)
        for index, image in enumerate(images)
        for grid in [tile(maps.values[index], scale, theme=theme)]
    ]
    return stacked([header(title_of(network, maps), scale, theme), *rows], theme)


def _columns(count: int, fit: int, numbered: int) -> int:
    """The number of columns, at most `fit`, that makes rows even and begins each with one that is numbered."""
    even = math.ceil(count / math.ceil(count / max(1, fit)))
    return max(1, min(math.ceil(even / numbered), fit // numbered)) * numbered


def title_of(network: Network, maps: LayerMaps) -> str:
    """What the maps are: "lenet5x5: c3, after its tanh, 16 maps of 10 by 10"."""
    layer, output = maps.layer, maps.layer.output
    if maps.name != layer.name:
        what = f"after its {network.activation}"
    elif layer.kind == "pooling":
        what = f"after {network.pooling} pooling"
    elif layer.kind == "global average pooling":
        what = f"after {layer.kind}"
    elif layer.kind == "convolution" and not layer.is_activated:
        what = "before the block's sum"
    else:
        what = "the logits" if layer == network.arch.layers[-1] else f"before its {network.activation}"
    many = f"{output[0]} units" if len(output) == 1 else f"{output[0]} maps of {output[1]} by {output[2]}"
    return f"{network.arch.name}: {layer.name}, {what}, {many}"


def header(title: str, scale: Scale, theme: Theme) -> Image.Image:
    """A title and, beneath it, the scale's legend."""
    colours, large = legend(scale, theme), font_of(16)
    paper = Image.new("RGB", (max(math.ceil(large.getlength(title)), colours.width), 30 + colours.height), theme.paper)
    ImageDraw.Draw(paper).text((0, 0), title, theme.ink, large)
    paper.paste(colours, (0, 30))
    return paper


def picture_row(image: Tensor, text: str, grid: Image.Image, theme: Theme) -> Image.Image:
    """A picture, uint8 (32, 32, 3), with its caption and its maps beside it."""
    picture = Image.fromarray(image.cpu().numpy())
    picture = picture.resize((picture.width * PICTURE_ZOOM, picture.height * PICTURE_ZOOM), Image.Resampling.NEAREST)
    left, top = picture.width + 12, 22
    width = left + max(grid.width, math.ceil(font_of(14).getlength(text)))
    paper = Image.new("RGB", (width, max(picture.height, top + grid.height)), theme.paper)
    paper.paste(picture, (0, 0))
    paper.paste(grid, (left, top))
    ink = theme.right if text.endswith("right") else theme.wrong if text.endswith("wrong") else theme.ink
    ImageDraw.Draw(paper).text((left, 0), text, ink, font_of(14))
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
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, `size` pixels high."""
    return ImageFont.load_default(size)


def heat(picture: Tensor, values: Tensor, scale: Scale, side: int = 224) -> Image.Image:
    """A picture, uint8 (32, 32, 3), in grey under half-transparent colours of the values (height, width)."""
    grey = Image.fromarray(picture.cpu().numpy()).convert("L").convert("RGB").resize((side, side))
    colours = Image.fromarray(colour(values, scale)).resize((side, side), Image.Resampling.BICUBIC)
    return Image.blend(grey, colours, 0.6)


def boxed(picture: Tensor, box: Box, zoom: int = 7) -> Image.Image:
    """The picture, uint8 (32, 32, 3), enlarged, with a frame around the pixels of the box; an empty one has none."""
    enlarged = Image.fromarray(picture.cpu().numpy()).resize((32 * zoom, 32 * zoom), Image.Resampling.NEAREST)
    if box.is_empty:
        return enlarged
    left, top, right, bottom = box.left * zoom, box.top * zoom, box.right * zoom - 1, box.bottom * zoom - 1
    draw = ImageDraw.Draw(enlarged)
    draw.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=2)
    return enlarged
