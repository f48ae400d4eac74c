"""What is on show, saved: as a picture with its captions, and the maps as numbers."""

import io
from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st
from torch import Tensor

from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.layers import Shown
from cnnviz.app.maps.looked import Looked
from cnnviz.app.widgets import save_as_png
from cnnviz.inspection.network import activations
from cnnviz.render.exports import view


def draw(shown: list[Shown], choice: Choice, classes: Sequence[str]) -> None:
    """Buttons that save it."""
    stem = "-beside-".join(each.one.stem for each in shown)
    networks = [(each.one.network, each.panel(choice, classes)) for each in shown]
    names = {"run": "first", "other": "second"}
    save_as_png("All layers (PNG)", partial(view, networks), stem, key="save view")
    for one in (each.one for each in shown):
        st.download_button(
            "All maps (NPZ)" if len(shown) == 1 else f"Maps of the {names[one.side]} (NPZ)",
            partial(_arrays, one, choice.pixels),
            f"{one.stem}-maps.npz",
            "application/octet-stream",
            on_click="ignore",
            key=f"npz {one.side}",
            icon=":material/data_array:",
        )


def _arrays(one: Looked, pixels: Tensor) -> bytes:
    """Every step's maps by name, and the picture, as NumPy reads them."""
    file = io.BytesIO()
    every = activations(one.network, pixels[None])
    arrays = {name: maps.values[0].numpy() for name, maps in every.items()}
    np.savez_compressed(file, allow_pickle=False, picture=pixels.numpy(), **arrays)
    return file.getvalue()
