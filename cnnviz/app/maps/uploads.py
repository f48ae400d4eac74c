"""Pictures from outside, uploaded or from the camera: each file is decoded once, and cropped as one likes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch
from PIL import Image
from torch import Tensor

from cnnviz.app.components.crop import crop
from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps.choice import Choice
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.app.widgets import enlarge, thumbnails
from cnnviz.data.pictures import RESAMPLING, Picture, Prepared, Square, open_picture, prepare
from cnnviz.errors import ImageError
from cnnviz.inspection.network import Network, predict

ORIGINAL = (360, 270)  # pixels, at most, of the original that is shown
MOST_KEPT = 64  # files of all sessions, decoded; one takes 0.3 MB once it is shrunk
MOST_WHOLE = 2  # files whose every pixel is kept, while they are cropped
MOST_BYTES = 60_000_000  # of files a session keeps, as they came


@dataclass(frozen=True)
class Upload:
    """A file that could be decoded: what is shown of it."""

    name: str
    size: tuple[int, int]  # width and height, pixels
    original: Image.Image
    central: Prepared  # of the largest square in its middle
    whole: Prepared  # of all of it on grey


@dataclass(frozen=True)
class Kept:
    """A file that a session has uploaded, and what was made of it."""

    digest: str
    content: bytes
    upload: Upload


KEPT = Slot[tuple[Kept, ...]]("uploads", ())  # newest first
CHOSEN = Slot("uploaded", "")  # digest
CROPS = Slot[dict[str, Square]]("crops", {})  # by digest: where its square is, if it was moved
ON_GREY = Slot[frozenset[str]]("whole_on_grey", frozenset())  # digests
ROUND = Slot("upload_round", 0)  # the widget is a new one, and empty, once its files are kept
FAULTS = Slot[tuple[str, ...]]("upload_faults", ())  # of the files that came last
MORE = Slot("more_pictures", False)  # whether the popover is open in which pictures are chosen
CROPPING = Slot("cropping", False)  # and the one in which they are cropped


def ask(camera: bool, most: int) -> None:
    """The widget that takes pictures in; most: that are kept."""
    if camera:
        key = f"camera {ROUND.get()}"
        st.camera_input("A photograph", key=key, width=320, on_change=_arrived, args=(key, most))
    else:
        key = f"upload {ROUND.get()}"
        st.file_uploader(
            "Pictures (JPEG, PNG, WebP, GIF or BMP; at most 20 MB each)",
            accept_multiple_files=True,
            key=key,
            on_change=_arrived,
            args=(key, most),
            help=f"Shrunk to 32×32 pixels for the network. The last {most} are kept until the page is reloaded.",
        )
    for fault in FAULTS.get():
        st.error(plain(fault), icon=":material/error:")


def _arrived(key: str, most: int) -> None:
    given = Slot[Any](key, None).get()
    files = given if isinstance(given, list) else [given] if given else []
    new, faults = [], []
    for file in files:
        content = file.getvalue()
        try:
            new.append(Kept(_digest(content), content, opened_once(content, file.name)))
        except ImageError as error:
            faults.append(str(error))
    FAULTS.set(tuple(faults))
    ROUND.set(ROUND.get() + 1)
    if new:
        arrived = {each.digest: each for each in new}
        latest = [*arrived.values(), *(each for each in KEPT.get() if each.digest not in arrived)]
        sizes = torch.tensor([len(each.content) for each in latest]).cumsum(0).tolist()
        fit = max(1, sum(size <= MOST_BYTES for size in sizes))
        KEPT.set(tuple(latest[: min(fit, most)]))
        CHOSEN.set(new[0].digest)
        MORE.set(False)
        CROPPING.set(True)


def choose(label: str) -> Choice | None:
    """Draw the strip of the pictures that are kept; None if there is none."""
    kept = KEPT.get()
    if not kept:
        return None
    digests = [each.digest for each in kept]
    if CHOSEN.get() not in digests:
        CHOSEN.set(digests[0])
    index = digests.index(CHOSEN.get())
    pixels = torch.stack([_seen(each)[0] for each in kept])
    tiles(
        label,
        thumbnails(pixels),
        (32, 32),
        1,
        [{"name": each.upload.name, "title": each.upload.name} for each in kept],
        key="uploads strip",
        on_pick=lambda place: CHOSEN.set(digests[place]),
        selected=index,
        dense=True,
    )
    return Choice(pixels[index], None, kept[index].upload.name, pixels, None)


def frame(networks: Sequence[Network], classes: Sequence[str]) -> None:
    """A popover in which the chosen picture's square is moved; drawn only while it is open."""
    place = st.popover("Crop", icon=":material/crop:", key=CROPPING.name, on_change="rerun")
    if place.open:
        with place:
            _frame(next(each for each in KEPT.get() if each.digest == CHOSEN.get()), networks, classes)


def _frame(kept: Kept, networks: Sequence[Network], classes: Sequence[str]) -> None:
    digest, upload = kept.digest, kept.upload
    pixels, note = _seen(kept)
    on_grey = digest in ON_GREY.get()
    row = st.container(horizontal=True, vertical_alignment="top")
    with row.container(width=max(160, upload.original.width)):
        if on_grey:
            st.image(upload.original, alt=upload.name)
        else:
            square = CROPS.get().get(digest, Square.central(upload.size))
            crop(upload.name, upload.original, upload.size, square, f"crop {digest}", lambda to: _move(digest, to))
    words = "As the network gets it"
    with row.container(width=160):
        st.image(enlarge(pixels, 5), caption=words, alt=f"{upload.name} in 32×32 pixels, as the network gets it")
        for network in networks:
            st.caption(_top(network, pixels, classes))
    key = Slot(f"on grey {digest}", False)
    key.set(on_grey)
    buttons = st.container(horizontal=True, vertical_alignment="center")
    buttons.toggle("Whole picture on grey", key=key.name, on_change=_switch, args=(digest,))
    moved = digest in CROPS.get() and not on_grey
    buttons.button("Centre", key="centre crop", on_click=_centre, args=(digest,), disabled=not moved)
    buttons.button("Remove", key="remove upload", icon=":material/delete:", on_click=_remove, args=(digest,))
    st.caption(plain(f"{upload.name}: {note}"))


def _top(network: Network, pixels: Tensor, classes: Sequence[str]) -> str:
    prediction = predict(network, pixels[None])
    if not bool(prediction.logits.isfinite().all()):
        return "No prediction: the logits are not finite."
    return " · ".join(f"{classes[index]} {100 * share:.0f} %" for index, share in prediction.top(3)[0])


def _move(digest: str, square: Square) -> None:
    CROPS.set(CROPS.get() | {digest: square})


def _centre(digest: str) -> None:
    CROPS.set({each: square for each, square in CROPS.get().items() if each != digest})


def _switch(digest: str) -> None:
    ON_GREY.set(ON_GREY.get() ^ {digest})


def _remove(digest: str) -> None:
    """The next one is chosen, if there is any."""
    KEPT.set(tuple(each for each in KEPT.get() if each.digest != digest))


# -- decoded once --------------------------------------------------------------------------------


def opened_once(content: bytes, name: str) -> Upload:
    """The file decoded and prepared, once for all reruns and sessions. Raises ImageError."""
    found = _opened(_digest(content), name, content)
    if isinstance(found, str):
        raise ImageError(found)
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@st.cache_resource(max_entries=MOST_KEPT, show_spinner=False)
def _opened(digest: str, name: str, _content: bytes) -> Upload | str:
    """An Upload, or why there is none: what is raised would not be kept."""
    try:
        picture = open_picture(_content, name)
    except ImageError as error:
        return str(error)
    original = picture.image.copy()
    original.thumbnail(ORIGINAL, RESAMPLING, reducing_gap=None)
    return Upload(picture.name, picture.size, original, prepare(picture), prepare(picture, "fit"))


def _seen(kept: Kept) -> tuple[Tensor, str]:
    """The pixels that the network gets, uint8 (32, 32, 3), and how they came about."""
    upload, square = kept.upload, CROPS.get().get(kept.digest)
    if kept.digest in ON_GREY.get():
        prepared = upload.whole
    elif square is None:
        prepared = upload.central
    else:
        prepared = _cropped(kept.digest, square, kept)
    return prepared.pixels, prepared.note


@st.cache_resource(max_entries=4 * MOST_KEPT, show_spinner=False)
def _cropped(digest: str, square: Square, _kept: Kept) -> Prepared:
    return prepare(_whole(digest, _kept), square=square)


@st.cache_resource(max_entries=MOST_WHOLE, ttl=600, show_spinner=False)
def _whole(digest: str, _kept: Kept) -> Picture:
    return open_picture(_kept.content, _kept.upload.name)
