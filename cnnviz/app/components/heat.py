"""Heat maps whose cells are buttons, with a pointer or with keys."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from cnnviz.app.components import component
from cnnviz.app.state import reported

_heat = component("heat", '<div class="heat" role="group"></div>')


@dataclass(frozen=True)
class Square:
    text: str  # the figure
    note: str  # its spread
    label: str  # read aloud and on hover
    paper: str  # colours, as CSS
    ink: str
    framed: bool = False


@dataclass(frozen=True)
class Bar:
    """A colour bar."""

    title: str
    low: str
    high: str
    gradient: str  # CSS


def heat(
    label: str,
    columns: Sequence[str],
    rows: Sequence[str],
    maps: Sequence[tuple[str, Sequence[Sequence[Square | None]]]],
    bar: Bar | Sequence[Bar],
    key: str,
    compact: bool = False,
    axes: tuple[str, str] = ("", ""),
    chosen: tuple[int, int, int] | None = None,
    empty: str = "not trained",
    on_pick: Callable[[int, int, int], None] | None = None,
) -> tuple[int, int, int] | None:
    """Draw them side by side; map, row and column of the cell that was just chosen.

    maps: title and cells of each; compact: small cells, columns' names upright; axes: what rows and columns are;
    chosen: the cell that is marked; empty: what None among the cells means; on_pick: called with the cell, before the
    rerun.
    """

    def picked() -> None:
        place = reported(key).picked
        if place is not None and on_pick is not None:
            on_pick(int(place[0]), int(place[1]), int(place[2]))

    data = {
        "label": label,
        "columns": list(columns),
        "rows": list(rows),
        "maps": [
            {"title": title, "cells": [[asdict(cell) if cell else None for cell in line] for line in cells]}
            for title, cells in maps
        ],
        "bars": [asdict(each) for each in ([bar] if isinstance(bar, Bar) else bar)],
        "compact": compact,
        "axes": list(axes),
        "chosen": list(chosen) if chosen else None,
        "toggles": on_pick is not None,
        "empty": empty,
    }
    place = _heat(key=key, data=data, on_picked_change=picked).picked
    return (int(place[0]), int(place[1]), int(place[2])) if place is not None else None
