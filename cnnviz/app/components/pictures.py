"""Pictures that can be clicked."""

from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor

from cnnviz.app.components import component
from cnnviz.app.state import reported
from cnnviz.render.colours import Scale
from cnnviz.render.exports import data_address
from cnnviz.render.maps import ATLAS_COLUMNS, atlas

_tiles = component("tiles", '<div class="grid" role="group"></div>')
_cells = component(
    "cells",
    '<div class="map" tabindex="0" role="application"><div class="chosen"></div><div class="mark"></div></div>'
    '<div class="readout" aria-live="polite"></div>',
)


def tiles(
    label: str,
    pictures: Image.Image,
    size: tuple[int, int],
    zoom: int,
    items: Sequence[dict[str, str]],
    key: str,
    on_pick: Callable[[int], None],
    selected: int | None = None,
    dense: bool = False,
) -> None:
    """A grid of clickable pictures.

    pictures: as render.maps.mosaic lays them out; size: width and height of each, pixels; zoom: screen pixels for each;
    items: for each a "name" beneath it, a "title" to read on hover or aloud, perhaps a "note", and perhaps a "strip", a
    row of cells, tall for each "1" and low for each "0"; dense: pictures alone.
    """

    def picked() -> None:
        index = reported(key).picked
        if index is not None:
            on_pick(int(index))

    data = {
        "label": label,
        "src": data_address(pictures, fast=True),
        "columns": ATLAS_COLUMNS,
        "width": size[0],
        "height": size[1],
        "zoom": zoom,
        "items": list(items),
        "selected": selected,
        "dense": dense,
    }
    _tiles(key=key, data=data, on_picked_change=picked)


def cell_map(
    label: str,
    values: Tensor,
    scale: Scale,
    cell: tuple[int, int],
    key: str,
    on_pick: Callable[[int, int], None],
    side: int = 320,
) -> None:
    """One map (height, width), about `side` pixels large, with the value under the pointer; a click picks a cell."""
    rows, columns = values.shape

    def picked() -> None:
        at = reported(key).picked
        if at is not None:
            on_pick(int(at[0]), int(at[1]))

    data = {
        "label": label,
        "src": data_address(atlas(values[None], scale), fast=True),
        "rows": rows,
        "columns": columns,
        "zoom": max(2, round(side / max(rows, columns))),
        "values": [f"{value:.5g}" for value in values.flatten().tolist()],
        "row": cell[0],
        "column": cell[1],
    }
    _cells(key=key, data=data, on_picked_change=picked)
