"""Choosing a picture from outside: uploaded, or from the camera. Each file is decoded once."""

import hashlib
from dataclasses import dataclass

import streamlit as st
import torch
from PIL import Image

from cnnviz.app import shell, widgets
from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps.choice import Choice
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.app.widgets import enlarge, thumbnails
from cnnviz.data.pictures import FRAMINGS, RESAMPLING, Prepared, open_picture, prepare
from cnnviz.errors import ImageError

ORIGINAL = (220, 160)  # pixels, at most, of the original that is shown
MOST_KEPT = 64  # files; one takes at most 2 MB once it is decoded and prepared

HOW = Slot("how", FRAMINGS[0])
UPLOADED = Slot("uploaded", 0)


@dataclass(frozen=True)
class Upload:
    """A file that could be decoded: what is shown of it."""

    name: str
    original: Image.Image
    prepared: dict[str, Prepared]  # by how it was made square


def choose(camera: bool) -> Choice | None:
    """Draw the choice; None while there is no picture yet."""
    left, right = st.columns([3, 1])
    if camera:
        shot = left.camera_input("A photograph", key="camera", width=400)
        files = [shot] if shot else []
    else:
        files = left.file_uploader(
            "Pictures (JPEG, PNG, WebP, GIF or BMP; at most 20 MB each)", accept_multiple_files=True, key="upload"
        )
    how = HOW.offer(FRAMINGS)
    right.radio(
        "Make it square",
        FRAMINGS,
        format_func={"crop": "cut its middle out", "fit": "all of it on grey"}.__getitem__,
        key=HOW.name,
    )
    opened: list[Upload] = []
    for file in files:
        with shell.readable_errors():
            opened.append(opened_once(file.getvalue(), file.name))
    if not opened:
        what = "Take a photograph" if camera else "Upload one picture or several"
        widgets.empty_state(f"{what}: it is shrunk to 32×32 pixels, and shown as the network gets it.")
        return None
    prepared = [upload.prepared[how] for upload in opened]
    pixels = torch.stack([each.pixels for each in prepared])
    index = 0
    if len(opened) > 1:
        index = UPLOADED.offer(range(len(opened)))
        tiles(
            "Uploaded pictures",
            thumbnails(pixels),
            (32, 32),
            2,
            [{"name": upload.name, "title": upload.name} for upload in opened],
            key="uploads",
            on_pick=UPLOADED.set,
            selected=index,
        )
    _strip(opened[index], prepared[index])
    return Choice(pixels[index], None, opened[index].name, pixels, None)


def opened_once(content: bytes, name: str) -> Upload:
    """The file decoded and prepared, once for all reruns and sessions. Raises ImageError."""
    found = _opened(hashlib.sha256(content).hexdigest(), name, content)
    if isinstance(found, str):
        raise ImageError(found)
    return found


@st.cache_resource(max_entries=MOST_KEPT, show_spinner=False)
def _opened(digest: str, name: str, _content: bytes) -> Upload | str:
    """An Upload, or why there is none: what is raised would not be kept."""
    try:
        picture = open_picture(_content, name)
    except ImageError as error:
        return str(error)
    original = picture.image.copy()
    original.thumbnail(ORIGINAL, RESAMPLING, reducing_gap=None)
    return Upload(picture.name, original, {how: prepare(picture, how) for how in FRAMINGS})


def _strip(upload: Upload, prepared: Prepared) -> None:
    """What became of an upload."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.image(upload.original, caption="original", alt="original")
    row.image(prepared.square.resize((160, 160), RESAMPLING), caption="square", alt="square")
    row.image(prepared.pixels.numpy(), caption="32×32", alt="32×32")
    words = "the same, as the network gets it"
    row.image(enlarge(prepared.pixels, 5), caption=words, alt=words)
    st.caption(plain(prepared.note))
