"""Choosing a picture: from the test set in several orders, or one from outside."""

from collections.abc import Callable, Sequence

import streamlit as st
import torch
from torch import Tensor

from cnnviz import data, paths
from cnnviz.app import widgets
from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps import uploads
from cnnviz.app.maps.choice import Choice
from cnnviz.app.state import number_key, text_key
from cnnviz.app.widgets import thumbnails
from cnnviz.data import Dataset
from cnnviz.inspection import gallery
from cnnviz.inspection.network import Prediction

SOURCES = {"test": "Test set", "upload": "Upload", "camera": "Camera"}
ON_A_PAGE = 20  # thumbnails
ORDERS = {"index": "all, by number", "random": "at random", "mistakes": "this run's mistakes"}
DISAGREEMENTS = {"disagreements": "the two runs disagree"}
MOST_SEEDS = 1000

SOURCE = text_key("source", "test")
ORDER = text_key("order", "index")
SEED = number_key("seed")
CLASS = text_key("class", "all")
PICTURE = number_key("picture", pinned=True)
PAGE = number_key("page", 1)
KEYS = (SOURCE, ORDER, SEED, CLASS, PICTURE, PAGE)


def choose_picture(index: int) -> None:
    """The test picture of that number."""
    SOURCE.set("test")
    PICTURE.set(index)


@st.cache_resource(max_entries=2, show_spinner="Loading the data set …")
def _loaded(name: str, root: str) -> Dataset:
    return data.load(name)


def load_dataset(name: str) -> Dataset:
    return _loaded(name, str(paths.data_root()))


def choose(dataset: Dataset, predictions: Sequence[Callable[[], Prediction]]) -> Choice | None:
    """Draw the choice; None while there is no picture yet.

    predictions: of the data set's test pictures, by the networks that are looked into, made when asked.
    """
    SOURCE.offer(SOURCES)
    source = st.segmented_control(
        "Picture from", list(SOURCES), format_func=SOURCES.__getitem__, required=True, key=SOURCE.widget
    )
    if source == "test":
        return _from_test_set(dataset, predictions)
    return uploads.choose(source == "camera")


def _from_test_set(dataset: Dataset, predictions: Sequence[Callable[[], Prediction]]) -> Choice:
    orders = ORDERS | (DISAGREEMENTS if len(predictions) > 1 else {})
    row = st.container(horizontal=True, vertical_alignment="bottom")
    ORDER.offer(orders)
    order = row.selectbox("Show", list(orders), format_func=orders.__getitem__, key=ORDER.widget, width=220)
    seed = 0
    if order == "random":
        SEED.offer(range(MOST_SEEDS))
        seed = int(row.number_input("Seed", 0, MOST_SEEDS - 1, key=SEED.widget, width=120))
    classes = ["all", *dataset.classes]
    CLASS.offer(classes)
    wanted = row.selectbox("Class", classes, key=CLASS.widget, width=150)
    count = len(dataset.test_labels)
    PICTURE.offer(range(count))
    rows = _ordered(order, seed, dataset.test_labels, predictions)
    if wanted != "all":
        rows = rows[dataset.test_labels[rows] == dataset.classes.index(wanted)]
    index = int(row.number_input("Test picture", 0, count - 1, key=PICTURE.widget, width=130))
    if not len(rows):
        widgets.empty_state("No picture is like that: choose another class or order.")
    pages = max(1, -(-len(rows) // ON_A_PAGE))
    PAGE.offer(range(1, pages + 1))
    page = row.number_input(f"Page (of {pages})", 1, pages, key=PAGE.widget, width=130)
    shown = rows[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    if len(shown):
        numbers, labels = shown.tolist(), dataset.test_labels[shown].tolist()
        tiles(
            "Test pictures",
            thumbnails(dataset.test_images[shown]),
            (32, 32),
            2,
            [
                {"name": str(number), "title": f"test picture {number}, {dataset.classes[label]}"}
                for number, label in zip(numbers, labels, strict=True)
            ],
            key="gallery",
            on_pick=lambda place: PICTURE.set(numbers[place]),
            selected=numbers.index(index) if index in numbers else None,
        )
    label = int(dataset.test_labels[index])
    return Choice(
        dataset.test_images[index],
        label,
        f"test picture {index}",
        dataset.test_images[shown],
        dataset.test_labels[shown],
    )


def _ordered(order: str, seed: int, labels: Tensor, predictions: Sequence[Callable[[], Prediction]]) -> Tensor:
    if order == "random":
        return gallery.at_random(len(labels), seed)
    if order == "mistakes":
        return gallery.mistakes(predictions[0](), labels)
    if order == "disagreements":
        return gallery.disagreements(predictions[0](), predictions[1]())
    return torch.arange(len(labels))
