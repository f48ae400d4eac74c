"""A document as Markdown with its pictures, in a zip."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from cnnviz.data import Progress, silent
from cnnviz.render.colours import NAMES, PALETTE
from cnnviz.render.exports import png
from cnnviz.render.report import vega
from cnnviz.render.report.document import Chapter, Document
from cnnviz.render.report.pieces import (
    Charts,
    Commands,
    Figure,
    Figures,
    Fold,
    Heading,
    Matrix,
    Piece,
    Table,
    Text,
)
from cnnviz.render.report.words import as_markdown, plain

WIDTH = 460  # pixels of a chart


def as_zip(document: Document, on_progress: Progress = silent) -> bytes:
    """report.md and images/."""
    on_progress("drawing the charts", 0.0)
    specs = [_sized(chart.spec) for charts in _charts(document) for chart in charts.charts]
    files = _Files(vega.pictures(specs))
    lines = [f"# {plain(document.title)}", "", f"{document.made:%d %B %Y}", ""]
    for place, chapter in enumerate(document.chapters):
        on_progress(chapter.title, place / max(1, len(document.chapters)))
        lines += [f"## {plain(chapter.title)}", "", *_chapter(chapter, files)]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("report.md", "\n".join(lines) + "\n")
        for name, content in files.images.items():
            file.writestr(name, content)
    return archive.getvalue()


class _Files:
    """The images of the archive. charts: theirs, in the order in which they are asked for."""

    def __init__(self, charts: Sequence[bytes]) -> None:
        self.images: dict[str, bytes] = {}
        self._charts = iter(charts)

    def chart(self, name: str) -> str:
        return self._add(next(self._charts), name)

    def picture(self, image: Image.Image, name: str, zoom: int = 1) -> str:
        size = image.width * zoom, image.height * zoom
        return self._add(png(image.resize(size, Image.Resampling.NEAREST) if zoom > 1 else image), name)

    def _add(self, content: bytes, name: str) -> str:
        file = f"images/{len(self.images) + 1:03}.png"
        self.images[file] = content
        return f"![{plain(name)}]({file})"


def _charts(document: Document) -> Iterator[Charts]:
    """In the order in which they are written."""
    for chapter in document.chapters:
        for piece in chapter.pieces:
            if isinstance(piece, Charts):
                yield piece


def _sized(spec: Any) -> dict[str, Any]:
    legend = {name: each for name, each in spec.items() if name != "width"}
    return {**legend, "width": WIDTH, "background": "white"}


def _chapter(chapter: Chapter, files: _Files) -> Iterator[str]:
    if chapter.words.strip():
        yield from (as_markdown(chapter.words), "")
    for piece in chapter.pieces:
        yield from _piece(piece, files)


def _piece(piece: Piece, files: _Files) -> Iterator[str]:
    match piece:
        case Text(text, kind):
            yield from (f"> {plain(text)}" if kind == "missing" else plain(text), "")
        case Heading(text):
            yield from (f"### {plain(text)}", "")
        case Commands(text):
            fence = "`" * (3 + max((len(run) for run in text.split() if set(run) == {"`"}), default=0))
            yield from (fence, text, fence, "")
        case Table():
            yield from _table(piece)
        case Charts():
            colours = ", ".join(f"{plain(value)} {_colour_words(hue)}" for value, hue in piece.colours.items())
            if colours:
                yield from (f"{plain(piece.of)}: {colours}; train is dashed", "")
            for chart in piece.charts:
                yield from (files.chart(chart.name), "")
            if piece.note:
                yield from (plain(piece.note), "")
        case Figures(figures):
            for figure in figures:
                yield from _figure(figure, files)
        case Matrix():
            rows = [(name, *map(str, row)) for name, row in zip(piece.classes, piece.counts, strict=True)]
            yield from _table(Table(("true ↓, taken for →", *piece.classes), rows))
        case Fold(title, pieces):
            yield from (f"#### {plain(title)}", "")
            for each in pieces:
                yield from _piece(each, files)


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield from (plain(table.title), "")
    yield f"| {' | '.join(plain(head) or ' ' for head in table.heads)} |"
    yield f"| {' | '.join(':--' if place in table.words else '--:' for place in range(len(table.heads)))} |"
    for row in table.rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"
    yield ""


def _figure(figure: Figure, files: _Files) -> Iterator[str]:
    """Its last step."""
    shown = [files.picture(figure.picture, "what the network looks at", 3)] if figure.picture else []
    shown.append(files.picture(figure.images[-1], figure.name, figure.zoom))
    yield from (" ".join(shown), "", plain(figure.captions[-1]), "")


_HUES = dict(zip(PALETTE, NAMES, strict=True))


def _colour_words(hue: str) -> str:
    return _HUES.get(hue, hue)
