"""A document as one HTML file: opens offline, asks for nothing, does what a reader clicks, prints.

Light colours alone: what is handed in is read on paper, and pictures of maps have a white background.
"""

import base64
import io
import itertools
import json
from hashlib import sha256
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from cnnviz.data import Progress, silent
from cnnviz.render.exports import data_address
from cnnviz.render.report import vega, words
from cnnviz.render.report.document import Document
from cnnviz.render.report.pieces import Charts, Matrix

QUALITY = 82  # of the JPEG with the matrix's pictures, whose sides are whole blocks of it


def as_html(document: Document, on_progress: Progress = silent) -> str:
    on_progress("writing the file", 0.0)
    scripts = [vega.bundle() if _has_charts(document) else "", _file("report.js")]
    environment = Environment(
        loader=PackageLoader("cnnviz.render.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"words": _words, "json": _json, "kind": _kind, "cells": _cells}
    rendered = environment.get_template("report.html").render(
        document=document,
        policy=_policy([script for script in scripts if script]),
        style=Markup(_file("report.css")),  # noqa: S704 — our own
        scripts=[Markup(script) for script in scripts if script],  # noqa: S704 — ours, and the library's
        address=lambda image: data_address(_paletted(image)),
        jpeg=_jpeg,
        number_of=itertools.count(1).__next__,
    )
    return rendered.strip()


def _policy(scripts: list[str]) -> str:
    """No request, and no script but these: not even one that got into a name or into what somebody wrote."""
    allowed = [f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    return (
        f"default-src 'none'; script-src {' '.join(allowed)}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _kind(piece: Any) -> str:
    return type(piece).__name__.lower()


def _words(text: str) -> Markup:
    return Markup(words.as_html(text))  # noqa: S704 — made harmless there


def _cells(matrix: Matrix) -> dict[str, Any]:
    """What a script shows of a cell: "true predicted" → places in the sprite, with their captions."""
    return {"classes": matrix.classes, "cells": {f"{a} {b}": some for (a, b), some in matrix.cells.items() if some}}


def _json(value: Any) -> Markup:
    """As JSON within a script element, which nothing in it can end."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704


def _paletted(image: Image.Image) -> Image.Image:
    """The same picture with a byte a pixel, if its colours are few enough: a third of the file."""
    pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    colours, places = np.unique(pixels @ (65_536, 256, 1), return_inverse=True)
    if len(colours) > 256:
        return image
    found = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    found.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes())
    return found


def _jpeg(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _has_charts(document: Document) -> bool:
    return any(isinstance(piece, Charts) for chapter in document.chapters for piece in chapter.pieces)


def _file(name: str) -> str:
    return resources.files("cnnviz.render.report").joinpath(name).read_text(encoding="utf-8")
