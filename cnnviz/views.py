"""What a page shows as pictures to keep: views with their captions, heat over a picture, a framed patch."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cnnviz import sheet
from cnnviz.inspection.cells import Box
from cnnviz.inspection.network import LayerMaps, Network
from cnnviz.sheet import LIGHT, Scale, Theme

LINE = 130  # letters of a line of text
_WRITABLE = str.maketrans({"×": "x", "−": "-", "–": "-", "↔": "/", "·": ",", "→": ">", "…": "..."})  # for the font


@dataclass(frozen=True)
class Panel:
    """One network's part of a view: what a page shows of it."""

    title: str
    picture: Tensor  # uint8 (32, 32, 3)
    text: str  # such as caption() makes
    layers: Sequence[tuple[LayerMaps, Scale | Sequence[Scale]]]  # of one picture each


def view(network_panels: Sequence[tuple[Network, Panel]], theme: Theme = LIGHT) -> Image.Image:
    """What a page shows of one picture in one or two networks, side by side, as one picture with its captions."""
    columns = []
    for network, panel in network_panels:
        parts = [
            _words([panel.title], 16, theme),
            sheet.row(panel.picture, panel.text, Image.new("RGB", (1, 1), theme.paper), theme),
        ]
        for maps, scale in panel.layers:
            one = scale if isinstance(scale, Scale) else Scale.of([maps])
            grid = _tile_by_channel(maps.values[0], scale, theme)
            title = sheet.title(network, maps) + ("" if isinstance(scale, Scale) else ", each map on its own scale")
            parts.append(sheet.stacked([sheet.header(title, one, theme), grid], theme, margin=4))
        columns.append(sheet.stacked(parts, theme))
    return _beside(columns, theme)


def captioned(
    title: str, parts: Sequence[tuple[str, Image.Image]], notes: Sequence[str] = (), theme: Theme = LIGHT
) -> Image.Image:
    """Pictures in rows, each with its caption beneath it, under a title and above some lines of text."""
    rows: list[list[Image.Image]] = [[]]
    for caption, picture in parts:
        block = sheet.stacked([picture, _words([caption], 12, theme)], theme, margin=4)
        if sum(each.width for each in rows[-1]) + block.width > sheet.SHEET_WIDTH:
            rows.append([])
        rows[-1].append(block)
    lines = [line for note in notes for line in textwrap.wrap(note, LINE) or [""]]
    text = [_words(lines, 14, theme)] if lines else []
    return sheet.stacked([_words([title], 16, theme), *(_beside(row, theme) for row in rows if row), *text], theme)


def _words(lines: Sequence[str], size: int, theme: Theme) -> Image.Image:
    font, lines = sheet.font(size), [line.translate(_WRITABLE) for line in lines]
    width = max(math.ceil(font.getlength(line)) for line in lines)
    paper = Image.new("RGB", (max(width, 1), len(lines) * (size + 6)), theme.paper)
    for index, line in enumerate(lines):
        ImageDraw.Draw(paper).text((0, index * (size + 6)), line, theme.ink, font)
    return paper


def _beside(parts: Sequence[Image.Image], theme: Theme) -> Image.Image:
    paper = Image.new("RGB", (sum(x.width for x in parts), max(x.height for x in parts)), theme.paper)
    left = 0
    for part in parts:
        paper.paste(part, (left, 0))
        left += part.width
    return paper


def _tile_by_channel(values: Tensor, scale: Scale | Sequence[Scale], theme: Theme) -> Image.Image:
    if isinstance(scale, Scale):
        return sheet.tile(values, scale, sheet.SHEET_WIDTH // 2, theme)
    # Each on its own scale, brought to a common one on which they can be drawn together.
    spans = torch.tensor([[each.low, max(each.high - each.low, 1e-30)] for each in scale])
    shape = (-1, 1, 1) if values.ndim == 3 else (-1,)
    own = (values - spans[:, 0].view(shape)) / spans[:, 1].view(shape)
    signed = scale[0].signed
    return sheet.tile(
        2 * own - 1 if signed else own, Scale(-1.0 if signed else 0.0, 1.0, signed), sheet.SHEET_WIDTH // 2, theme
    )


def heat(picture: Tensor, values: Tensor, scale: Scale, side: int = 224) -> Image.Image:
    """A grey picture, uint8 (32, 32, 3), under a colour map of (height, width) values, half transparent."""
    grey = Image.fromarray(picture.cpu().numpy()).convert("L").convert("RGB").resize((side, side))
    colours = Image.fromarray(sheet.colour(values, scale)).resize((side, side), Image.Resampling.BICUBIC)
    return Image.blend(grey, colours, 0.6)


def boxed(picture: Tensor, box: Box, zoom: int = 7) -> Image.Image:
    """The picture, uint8 (32, 32, 3), enlarged, with a frame around these of its pixels."""
    enlarged = Image.fromarray(picture.cpu().numpy()).resize((32 * zoom, 32 * zoom), Image.Resampling.NEAREST)
    left, top = (max(0, side) * zoom for side in (box.left, box.top))
    right, bottom = (min(32, side) * zoom - 1 for side in (box.right, box.bottom))
    draw = ImageDraw.Draw(enlarged)
    draw.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=2)
    return enlarged
