"""One or two networks as a diagram: the picture, every layer's maps, the classes. Each map can be clicked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from cnnviz.app.components import component
from cnnviz.app.state import reported
from cnnviz.inspection.feeds import Feed
from cnnviz.render.colours import Scale
from cnnviz.render.exports import data_address
from cnnviz.render.maps import ATLAS_COLUMNS, kernel_atlas, ramp

_diagram = component(
    "diagram",
    '<div class="diagram" role="group"><div class="scroll"><div class="stage"></div></div>'
    '<div class="foot"><div class="readout" aria-live="polite"></div><div class="bars"></div></div></div>',
)


@dataclass(frozen=True)
class Item:
    """A map, a unit or a class."""

    title: str  # to read on hover or aloud
    note: str = ""  # a sign on it


@dataclass(frozen=True)
class Column:
    """The maps of one step of one network."""

    step: str  # what on_pick is called with
    name: str
    extent: str  # beneath the name: the range of the colours
    help: str
    maps: Image.Image  # as render.maps.atlas lays them out
    cells: int  # cells a side of a map; 1: units
    items: Sequence[Item]
    feed: Feed


@dataclass(frozen=True)
class Share:
    """A class and its probability."""

    name: str
    share: float | None  # None: not finite
    mark: str = ""  # "predicted", "true"


@dataclass(frozen=True)
class Row:
    """One network."""

    side: str  # what on_pick is called with
    name: str
    help: str
    columns: Sequence[Column | None]  # as many in every network, the last one the logits; None: nothing like it here
    verdict: str
    verdict_help: str
    shares: Sequence[Share]


def diagram(
    label: str,
    picture: Image.Image,
    picture_name: str,
    rows: Sequence[Row],
    scales: Sequence[Scale],
    notes: Sequence[str],
    selected: tuple[str, str, int] | None,
    key: str,
    on_pick: Callable[[str, str, int], None],
    on_close: Callable[[], None],
) -> None:
    """Draw it as high as the screen has room.

    scales: one of each kind of colours that occurs; selected: side, step and channel of what is open beside it;
    on_pick: called with those; on_close: Escape was pressed.
    """

    def picked() -> None:
        at = reported(key).picked
        if at is not None:
            on_pick(str(at[0]), str(at[1]), int(at[2]))

    def closed() -> None:
        if reported(key).closed is not None:
            on_close()

    data = {
        "label": label,
        "picture": {"src": data_address(picture, fast=True), "name": picture_name},
        "atlasColumns": ATLAS_COLUMNS,
        "rows": [_row(row) for row in rows],
        "bars": [_bar(scale) for scale in scales],
        "notes": list(notes),
        "selected": None if selected is None else list(selected),
    }
    _diagram(key=key, data=data, on_picked_change=picked, on_closed_change=closed)


def _row(row: Row) -> dict[str, Any]:
    return {
        "side": row.side,
        "name": row.name,
        "help": row.help,
        "columns": [None if column is None else _column(column) for column in row.columns],
        "verdict": row.verdict,
        "verdictHelp": row.verdict_help,
        "shares": [vars(share) for share in row.shares],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "step": column.step,
        "name": column.name,
        "extent": column.extent,
        "help": column.help,
        "src": data_address(column.maps, fast=True),
        "cells": column.cells,
        "items": [vars(item) for item in column.items],
        "feed": _feed(column.feed),
    }


def _feed(feed: Feed) -> dict[str, Any]:
    if feed.kernels is not None:
        picture, scale = kernel_atlas(feed.kernels)
        return {
            "kind": feed.kind,
            "src": data_address(picture, fast=True),
            "inputs": feed.kernels.shape[1],
            "side": feed.kernels.shape[2],
            "extent": f"{scale.low:.2g} to {scale.high:.2g}".replace("-", "−"),
        }
    if feed.sources is not None and feed.shares is not None:
        percents = (100 * feed.shares).round().int().tolist()
        return {"kind": feed.kind, "sources": feed.sources.tolist(), "percents": percents}
    return {"kind": feed.kind, "shortcut": feed.shortcut}


def _bar(scale: Scale) -> dict[str, Any]:
    ends = ["−", "0", "+"] if scale.signed else ["lowest", "highest"]
    return {"src": data_address(ramp(scale), fast=True), "ends": ends}
