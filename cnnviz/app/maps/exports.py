"""What is on show, saved: as a picture with its captions, and the maps as numbers."""

import io
from functools import partial

import numpy as np
import streamlit as st
from torch import Tensor

from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked
from cnnviz.app.widgets import save_as_png
from cnnviz.inspection.network import activations
from cnnviz.render.exports import NetworkPanel, view


def draw(shown: list[tuple[Looked, NetworkPanel]], choice: Choice) -> None:
    """What is on show as a picture with its captions, and the maps as numbers."""
    row = st.container(horizontal=True)
    stem = " ".join(one.stem for one, _ in shown).replace(" ", "-beside-")
    networks = [(one.network, panel) for one, panel in shown]
    names = {"run": "first", "other": "second"}
    with row:
        save_as_png("This view (PNG)", partial(view, networks), stem, key="save view")
    for one, _ in shown:
        row.download_button(
            "All maps (NPZ)" if len(shown) == 1 else f"Maps of the {names[one.side]} (NPZ)",
            partial(_arrays, one, choice.pixels),
            f"{one.stem}-maps.npz",
            "application/octet-stream",
            on_click="ignore",
            key=f"npz {one.side}",
        )


def _arrays(one: Looked, pixels: Tensor) -> bytes:
    """Every step's maps by name, and the picture, as NumPy reads them."""
    file = io.BytesIO()
    every = activations(one.network, pixels[None])
    arrays = {name: maps.values[0].numpy() for name, maps in every.items()}
    np.savez_compressed(file, allow_pickle=False, picture=pixels.numpy(), **arrays)
    return file.getvalue()
