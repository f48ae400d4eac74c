"""Choosing a picture: from the test set in several orders, uploaded, or from the camera."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
import torch
from torch import Tensor

from cnnviz import data, paths
from cnnviz.app import shell, widgets
from cnnviz.app.components import tiles
from cnnviz.app.state import remembered
from cnnviz.app.widgets import enlarge, thumbnails
from cnnviz.data import Dataset
from cnnviz.data.pictures import HOWS, Picture, Prepared, open_picture, prepare
from cnnviz.inspection import gallery
from cnnviz.inspection.network import Prediction

SOURCES = {"test": "Test set", "upload": "Upload", "camera": "Camera"}
PAGE = 20  # thumbnails at once
ORDERS = {"index": "all, by number", "random": "at random", "mistakes": "this run's mistakes"}
DISAGREEMENTS = {"disagreements": "the two runs disagree"}


@dataclass(frozen=True)
class Choice:
    """The picture to look at, and those it was chosen from."""

    pixels: Tensor  # uint8 (32, 32, 3), as the network sees it
    label: int | None  # its class where it is known
    name: str
    others: Tensor  # uint8 (N, 32, 32, 3): the ones on show, for the sheet
    labels: Tensor | None  # (N,)


@st.cache_resource(max_entries=2, show_spinner="Loading the data set …")
def _dataset(name: str, root: str) -> Dataset:
    return data.load(name)


def dataset(name: str) -> Dataset:
    return _dataset(name, str(paths.data_root()))


def choose(pictures: Dataset, predictions: Sequence[Callable[[], Prediction]]) -> Choice | None:
    """Draw the choice; None while there is no picture yet.

    predictions: of the data set's test pictures, by the networks that are looked into, made when asked.
    """
    remembered("source", list(SOURCES), "test")
    source = st.segmented_control(
        "Picture from", list(SOURCES), format_func=SOURCES.__getitem__, required=True, key="source"
    )
    if source == "test":
        return _from_test_set(pictures, predictions)
    return _from_outside(source == "camera")


def _from_test_set(pictures: Dataset, predictions: Sequence[Callable[[], Prediction]]) -> Choice:
    orders = ORDERS | (DISAGREEMENTS if len(predictions) > 1 else {})
    row = st.container(horizontal=True, vertical_alignment="bottom")
    remembered("order", list(orders), "index")
    order = row.selectbox("Show", list(orders), format_func=orders.__getitem__, key="order", width=220)
    seed = 0
    if order == "random":
        remembered("seed", range(1000), 0)
        seed = int(row.number_input("Seed", 0, 999, key="seed", width=120))
    remembered("class", [*pictures.classes, "all"], "all")
    wanted = row.selectbox("Class", ["all", *pictures.classes], key="class", width=150)
    count = len(pictures.test_labels)
    remembered("picture", range(count), 0)
    rows = _ordered(order, seed, pictures.test_labels, predictions)
    if wanted != "all":
        rows = rows[pictures.test_labels[rows] == pictures.classes.index(wanted)]
    index = int(row.number_input("Test picture", 0, count - 1, key="picture", width=130))
    if not len(rows):
        widgets.empty_state("No picture is like that: choose another class or order.")
    pages = max(1, -(-len(rows) // PAGE))
    remembered("page", range(1, pages + 1), 1)
    page = row.number_input(f"Page (of {pages})", 1, pages, key="page", width=130)
    shown = rows[(page - 1) * PAGE : page * PAGE]
    if len(shown):
        numbers, labels = shown.tolist(), pictures.test_labels[shown].tolist()
        tiles(
            "Test pictures",
            thumbnails(pictures.test_images[shown]),
            (32, 32),
            2,
            [
                {"name": str(number), "title": f"test picture {number}, {pictures.classes[label]}"}
                for number, label in zip(numbers, labels, strict=True)
            ],
            key="gallery",
            on_pick=lambda place: st.session_state.update(picture=numbers[place]),
            selected=numbers.index(index) if index in numbers else None,
        )
    label = int(pictures.test_labels[index])
    return Choice(
        pictures.test_images[index],
        label,
        f"test picture {index}",
        pictures.test_images[shown],
        pictures.test_labels[shown],
    )


def _ordered(order: str, seed: int, labels: Tensor, predictions: Sequence[Callable[[], Prediction]]) -> Tensor:
    if order == "random":
        return gallery.at_random(len(labels), seed)
    if order == "mistakes":
        return gallery.mistakes(predictions[0](), labels)
    if order == "disagreements":
        return gallery.disagreements(predictions[0](), predictions[1]())
    return torch.arange(len(labels))


def _from_outside(camera: bool) -> Choice | None:
    left, right = st.columns([3, 1])
    if camera:
        shot = left.camera_input("A photograph", key="camera", width=400)
        files = [shot] if shot else []
    else:
        files = left.file_uploader(
            "Pictures (JPEG, PNG, WebP, GIF or BMP; at most 20 MB each)", accept_multiple_files=True, key="upload"
        )
    remembered("how", HOWS, "crop")
    how = right.radio(
        "Make it square",
        HOWS,
        format_func={"crop": "cut its middle out", "fit": "all of it on grey"}.__getitem__,
        key="how",
    )
    opened: list[Picture] = []
    for file in files:
        with shell.readable_errors():
            opened.append(open_picture(file.getvalue(), file.name))
    if not opened:
        what = "Take a photograph" if camera else "Upload one picture or several"
        widgets.empty_state(f"{what}: it is shrunk to 32×32 pixels, and shown as the network gets it.")
        return None
    prepared = [prepare(picture, how) for picture in opened]
    pixels = torch.stack([each.pixels for each in prepared])
    index = 0
    if len(opened) > 1:
        index = remembered("uploaded", range(len(opened)), 0)
        tiles(
            "Uploaded pictures",
            thumbnails(pixels),
            (32, 32),
            2,
            [{"name": picture.name, "title": picture.name} for picture in opened],
            key="uploads",
            on_pick=partial(_take_upload),
            selected=index,
        )
    _strip(opened[index], prepared[index])
    return Choice(pixels[index], None, opened[index].name, pixels, None)


def _take_upload(index: int) -> None:
    st.session_state.uploaded = index


def _strip(picture: Picture, prepared: Prepared) -> None:
    """What became of an upload."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    thumbnail = picture.image.copy()
    thumbnail.thumbnail((220, 160))
    row.image(thumbnail, caption="original")
    row.image(prepared.square.resize((160, 160)), caption="square")
    row.image(prepared.pixels.numpy(), caption="32×32")
    row.image(enlarge(prepared.pixels, 5), caption="the same, as the network gets it")
    st.caption(widgets.plain(prepared.note))
