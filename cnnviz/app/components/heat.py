"""Heat maps whose cells are buttons, with a pointer or with keys."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cnnviz.app.components import component

_heat = component("heat", '<div class="heat" role="group"></div>')


@dataclass(frozen=True)
class Square:
    text: str  # the figure
    note: str  # its spread
    label: str  # read aloud and on hover
    paper: str  # colours, as CSS
    ink: str


@dataclass(frozen=True)
class Bar:
    """The colour bar."""

    title: str
    low: str
    high: str
    gradient: str  # CSS


def heat(
    label: str,
    columns: Sequence[str],
    rows: Sequence[str],
    maps: Sequence[tuple[str, Sequence[Sequence[Square | None]]]],
    bar: Bar,
    key: str,
) -> tuple[int, int, int] | None:
    """Draw them side by side; map, row and column of the cell that was just chosen. maps: title and cells of each."""
    data = {
        "label": label,
        "columns": list(columns),
        "rows": list(rows),
        "maps": [
            {"title": title, "cells": [[asdict(cell) if cell else None for cell in line] for line in cells]}
            for title, cells in maps
        ],
        "bar": asdict(bar),
    }
    picked = _heat(key=key, data=data, on_picked_change=lambda: None).picked
    return (int(picked[0]), int(picked[1]), int(picked[2])) if picked is not None else None
