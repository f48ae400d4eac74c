"""What a section is made of. Nothing here knows HTML or Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["plain", "note", "missing"] = "plain"  # note: an aside; missing: what is still to be trained


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Commands:
    """Lines for a terminal, or a program."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Table:
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    words: frozenset[int] = frozenset({0})  # columns of text; the others are figures
    strong: frozenset[int] = frozenset()  # rows


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart as wide as its place."""

    spec: Mapping[str, Any]
    name: str  # what it shows, for who cannot see it


@dataclass(frozen=True)
class Charts:
    """Charts side by side, with one legend."""

    charts: Sequence[Chart]
    colours: Mapping[str, str] = field(default_factory=dict)  # value → colour; each can be hidden
    of: str = ""  # the parameter that has the colours
    dashes: Mapping[str, Sequence[int]] = field(default_factory=dict)  # value → stroke
    note: str = ""
    columns: int = 2


@dataclass(frozen=True)
class Figure:
    """A picture, or one for each step."""

    images: Sequence[Image.Image]
    captions: Sequence[str]  # as many
    name: str  # what it shows, for who cannot see it
    picture: Image.Image | None = None  # beside it: what the network looks at
    zoom: int = 1  # screen pixels a pixel; more than one: with sharp edges


@dataclass(frozen=True)
class Figures:
    figures: Sequence[Figure]
    steps: Sequence[str] = ("",)  # "epoch 3", for a slider if there are several
    columns: int = 2


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix whose cells show their pictures."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]  # rows true, columns predicted
    colours: Sequence[Sequence[tuple[str, str]]]  # of each cell: its colour and the ink on it
    sprite: Image.Image  # the pictures, in rows
    cells: Mapping[tuple[int, int], Sequence[tuple[int, str]]]  # → places in the sprite, with their captions
    side: int = 32  # pixels of a picture


@dataclass(frozen=True)
class Fold:
    """What is read on demand."""

    title: str
    pieces: Sequence["Piece"]


Piece = Text | Heading | Commands | Table | Chart | Charts | Figure | Figures | Matrix | Fold
