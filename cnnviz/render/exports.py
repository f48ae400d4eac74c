"""Files to download: feature maps with their captions as PNG, charts as PNG, SVG and HTML."""

import base64
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cnnviz.errors import ConfigError
from cnnviz.inspection.network import LayerMaps, Network
from cnnviz.render.colours import LIGHT, Scale, Theme
from cnnviz.render.curve_charts import Panel
from cnnviz.render.maps import SHEET_WIDTH, font_of, header, picture_row, stacked, tile, title_of

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels a side, as Pillow's encoders allow
_SETTINGS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}

LINE = 130  # characters of a line of text
_WRITABLE = str.maketrans({"×": "x", "−": "-", "–": "-", "↔": "/", "·": ",", "→": ">", "…": "..."})  # for the font


@dataclass(frozen=True)
class NetworkPanel:
    """One network's part of a view."""

    title: str
    picture: Tensor  # uint8 (32, 32, 3)
    text: str  # such as caption() makes
    layers: Sequence[tuple[LayerMaps, Scale | Sequence[Scale]]]  # of one picture each


def view(network_panels: Sequence[tuple[Network, NetworkPanel]], theme: Theme = LIGHT) -> Image.Image:
    """One picture in one or two networks side by side, with their predictions and feature maps, as one picture."""
    columns = []
    for network, panel in network_panels:
        parts = [
            _words([panel.title], 16, theme),
            picture_row(panel.picture, panel.text, Image.new("RGB", (1, 1), theme.paper), theme),
        ]
        for maps, scale in panel.layers:
            one = scale if isinstance(scale, Scale) else Scale.of([maps])
            grid = _tile_by_channel(maps.values[0], scale, theme)
            title = title_of(network, maps) + ("" if isinstance(scale, Scale) else ", each map on its own scale")
            parts.append(stacked([header(title, one, theme), grid], theme, margin=4))
        columns.append(stacked(parts, theme))
    return _beside(columns, theme)


def captioned(
    title: str, parts: Sequence[tuple[str, Image.Image]], notes: Sequence[str] = (), theme: Theme = LIGHT
) -> Image.Image:
    """Pictures in rows, each with its caption below it, between a title and the notes."""
    rows: list[list[Image.Image]] = [[]]
    for caption, picture in parts:
        block = stacked([picture, _words([caption], 12, theme)], theme, margin=4)
        if sum(each.width for each in rows[-1]) + block.width > SHEET_WIDTH:
            rows.append([])
        rows[-1].append(block)
    lines = [line for note in notes for line in textwrap.wrap(note, LINE) or [""]]
    text = [_words(lines, 14, theme)] if lines else []
    return stacked([_words([title], 16, theme), *(_beside(row, theme) for row in rows if row), *text], theme)


def _words(lines: Sequence[str], size: int, theme: Theme) -> Image.Image:
    font, lines = font_of(size), [line.translate(_WRITABLE) for line in lines]
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
        return tile(values, scale, SHEET_WIDTH // 2, theme)
    # Each map is normalised to its own scale, so that all can be drawn on one.
    spans = torch.tensor([[each.low, max(each.high - each.low, 1e-30)] for each in scale])
    shape = (-1, 1, 1) if values.ndim == 3 else (-1,)
    own = (values - spans[:, 0].view(shape)) / spans[:, 1].view(shape)
    signed = scale[0].signed
    return tile(2 * own - 1 if signed else own, Scale(-1.0 if signed else 0.0, 1.0, signed), SHEET_WIDTH // 2, theme)


def data_address(image: Image.Image, fast: bool = False) -> str:
    """A picture as an address that holds it, for HTML; fast: larger, and made sooner."""
    return "data:image/png;base64," + base64.b64encode(png(image, fast=fast)).decode()


def png(image: Image.Image, fast: bool = False) -> bytes:
    """The picture as the bytes of a PNG file; fast: several times faster, for a slightly larger file."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1 if fast else 6)
    return file.getvalue()


def format_of(path: Path) -> str:
    """The format that the file's ending names: "PNG", "JPEG" or "WEBP". Raises ConfigError for another ending."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"{path} does not end like a picture: choose one of {', '.join(_FORMATS)}")
    return _FORMATS[path.suffix.lower()]


def picture_file(image: Image.Image, path: Path) -> bytes:
    """The picture as the bytes of a file of the format that the path's ending names.

    Raises ConfigError for another ending than format_of() knows, and for a picture larger than the format allows.
    """
    kind, file = format_of(path), io.BytesIO()
    longest = _LONGEST.get(kind)
    if longest and max(image.size) > longest:
        size = f"{image.width}×{image.height}"
        raise ConfigError(f"{size} pixels are more than a {kind} can have ({longest} a side): write a .png")
    image.save(file, kind, **_SETTINGS[kind])
    return file.getvalue()


def together(made: Sequence[Panel], columns: int = 2) -> alt.ConcatChart:
    """The panels as one chart, for a file."""
    charts = [panel.drawing.chart().properties(title=panel.title, width=420) for panel in made]
    return alt.concat(*charts, columns=columns).configure(background="white")


def as_file(chart: alt.ConcatChart, kind: str) -> bytes:
    """The chart as "png", "svg" or a self-contained "html" file that opens offline."""
    if kind == "html":
        text = io.StringIO()
        chart.save(text, format="html", inline=True)
        return text.getvalue().encode()
    if kind == "svg":
        text = io.StringIO()
        chart.save(text, format="svg")
        return text.getvalue().encode()
    image = io.BytesIO()
    chart.save(image, format="png", scale_factor=2)
    return image.getvalue()
