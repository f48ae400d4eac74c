"""Choosing a picture: ten of them in one strip, from the test set in several orders or from outside."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps import uploads
from cnnviz.app.maps.choice import Choice
from cnnviz.app.state import Slot, number_key, text_key
from cnnviz.app.widgets import thumbnails
from cnnviz.data import Dataset
from cnnviz.inspection import gallery
from cnnviz.inspection.network import Network, Prediction

SOURCES = {"test": "Test set", "upload": "Upload", "camera": "Camera"}
ON_A_PAGE = 10  # thumbnails
STRIP = 358  # pixels wide
ORDERS = {"index": "All, by number", "random": "At random", "mistakes": "Mistakes of the first network"}
DISAGREEMENTS = {"disagreements": "The two networks disagree"}
HITS = ("mistakes", "disagreements")  # the first is chosen at once
MOST_SEEDS = 1000

SOURCE = text_key("source", "test")
ORDER = text_key("order", "index")
SEED = number_key("seed")
CLASS = text_key("class", "all")
PICTURE = number_key("picture", pinned=True)
PAGE = number_key("page", 1)
OF_TEST_SET = (ORDER, SEED, CLASS, PICTURE, PAGE)
KEYS = (SOURCE, *OF_TEST_SET)
ASKED = Slot("picture_asked", "")  # what was chosen since the strip was drawn: "order" or "number"


def choose_picture(index: int) -> None:
    """The test picture of that number."""
    SOURCE.set("test")
    PICTURE.set(index)
    ASKED.set("number")


def choose(
    dataset: Dataset, predictions: Sequence[Callable[[], Prediction]], networks: Sequence[Network] = ()
) -> Choice:
    """Draw the strip and its popovers into the row it is called in.

    predictions: of the data set's test pictures, by the networks that are looked into, made when asked; networks: whose
    most probable classes stand beside an upload while it is cropped.
    """
    SOURCE.offer(SOURCES)
    source = SOURCE.get()
    strip = st.container(width=STRIP, key="picture_strip")
    # Drawn only while it is open: closed, the browser would go on reporting what it last showed there.
    more = st.popover("More", icon=":material/photo_library:", key=uploads.MORE.name, on_change="rerun")
    if more.open:
        with more:
            st.segmented_control(
                "Pictures from",
                list(SOURCES),
                format_func=SOURCES.__getitem__,
                required=True,
                key=SOURCE.widget,
                on_change=_switch_source,
            )
    else:
        SOURCE.keep()
    if source == "test":
        with strip:
            return _from_test_set(dataset, predictions, more if more.open else None)
    with strip:
        choice = uploads.choose("Uploaded pictures")
    if choice is not None:
        uploads.frame(networks, dataset.classes)
    if more.open or choice is None:
        with more if more.open else strip:
            uploads.ask(source == "camera", ON_A_PAGE)
    if choice is None:  # the picture before it stays until there is one
        with strip:
            return _from_test_set(dataset, predictions, None)
    return choice


def _keep_choices() -> None:
    for key in OF_TEST_SET:
        key.keep()


def _switch_source() -> None:
    _keep_choices()
    ASKED.set("order")


def _from_test_set(
    dataset: Dataset, predictions: Sequence[Callable[[], Prediction]], more: DeltaGenerator | None
) -> Choice:
    orders = ORDERS | (DISAGREEMENTS if len(predictions) > 1 else {})
    order = ORDER.offer(orders)
    SEED.offer(range(MOST_SEEDS))
    classes = ["all", *dataset.classes]
    wanted = CLASS.offer(classes)
    labels = dataset.test_labels
    rows = _ordered(order, SEED.get(), labels, predictions)
    if wanted != "all":
        rows = rows[labels[rows] == dataset.classes.index(wanted)]
    index, page, pages = _place(rows, order, len(labels))
    if more is not None:
        with more:
            _controls(orders, order, classes, len(labels), pages)
    else:
        _keep_choices()
    shown = rows[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    if len(shown):
        _strip(dataset, shown, index, predictions[0]() if order in HITS else None)
    else:
        _nothing(order, wanted)
        shown = torch.tensor([index])
    return Choice(
        dataset.test_images[index],
        int(labels[index]),
        f"test picture {index}",
        dataset.test_images[shown],
        labels[shown],
    )


def _place(rows: Tensor, order: str, count: int) -> tuple[int, int, int]:
    """Which picture is chosen, on which page the strip is, and how many there are."""
    asked = ASKED.pop()
    first = int(rows[0]) if len(rows) else 0
    if asked == "order" and len(rows) and (order in HITS or PICTURE.get() not in rows):
        PICTURE.set(first)
    index = PICTURE.offer(range(count), first if order in HITS else 0)
    found = (rows == index).nonzero().flatten().tolist()
    its_page = found[0] // ON_A_PAGE + 1 if found else 1
    if asked:
        PAGE.set(its_page)
    pages = max(1, -(-len(rows) // ON_A_PAGE))
    return index, PAGE.offer(range(1, pages + 1), its_page), pages


def _controls(orders: dict[str, str], order: str, classes: Sequence[str], count: int, pages: int) -> None:
    reordered, numbered = partial(ASKED.set, "order"), partial(ASKED.set, "number")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = orders.__getitem__
    row.selectbox("Show", list(orders), format_func=name, key=ORDER.widget, width=250, on_change=reordered)
    row.selectbox("Class", classes, format_func=_sentence_case, key=CLASS.widget, width=150, on_change=reordered)
    if order == "random":
        row.number_input("Seed", 0, MOST_SEEDS - 1, key=SEED.widget, width=130, on_change=reordered)
    else:
        SEED.keep()
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.number_input("Test picture", 0, count - 1, key=PICTURE.widget, width=150, on_change=numbered)
    row.number_input(f"Page (of {pages:,})", 1, pages, key=PAGE.widget, width=150)


def _sentence_case(name: str) -> str:
    return "All" if name == "all" else name


def _strip(dataset: Dataset, shown: Tensor, index: int, prediction: Prediction | None) -> None:
    numbers, labels = shown.tolist(), dataset.test_labels[shown].tolist()
    items = []
    for number, label in zip(numbers, labels, strict=True):
        words = f"test picture {number}, {dataset.classes[label]}"
        if prediction is not None:
            words = f"test picture {number}: {gallery.verdict(prediction, number, label, dataset.classes)}"
        items.append({"name": str(number), "title": words})
    tiles(
        "Test pictures",
        thumbnails(dataset.test_images[shown]),
        (32, 32),
        1,
        items,
        key="gallery",
        on_pick=lambda place: PICTURE.set(numbers[place]),
        selected=numbers.index(index) if index in numbers else None,
        dense=True,
    )


def _nothing(order: str, wanted: str) -> None:
    """Why the strip is empty, and the way back."""
    of = "" if wanted == "all" else f" of class {wanted}"
    words = {
        "mistakes": f"No mistakes{of}: the network gets every one right.",
        "disagreements": f"No disagreements{of}: both networks say the same.",
    }
    st.caption(words.get(order, f"No pictures{of}."))
    st.button("Show all pictures", key="all_pictures", type="tertiary", icon=":material/close:", on_click=_show_all)


def _show_all() -> None:
    ORDER.set("index")
    CLASS.set("all")
    ASKED.set("number")


def _ordered(order: str, seed: int, labels: Tensor, predictions: Sequence[Callable[[], Prediction]]) -> Tensor:
    if order == "random":
        return gallery.at_random(len(labels), seed)
    if order == "mistakes":
        return gallery.mistakes(predictions[0](), labels)
    if order == "disagreements":
        return gallery.disagreements(predictions[0](), predictions[1]())
    return torch.arange(len(labels))
