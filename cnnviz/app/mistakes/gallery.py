"""Test pictures in a grid, a page at a time; a click opens one beside it, and from there its feature maps."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
from torch import Tensor

from cnnviz.app.components.pictures import tiles
from cnnviz.app.markdown import plain
from cnnviz.app.networks import Chosen, predictions
from cnnviz.app.state import Key, number_key, open_page, whole_number
from cnnviz.app.widgets import enlarge, thumbnails
from cnnviz.data import Dataset
from cnnviz.inspection import gallery
from cnnviz.inspection.network import Prediction

ON_A_PAGE = 24

PAGE = number_key("page", 1)
PICTURE = Key[int | None]("picture", None, whole_number)  # the one that is open
KEYS = (PAGE, PICTURE)


Items = Sequence[dict[str, str]]


def show(
    label: str,
    rows: Sequence[int],
    items: Items | Callable[[Sequence[int]], Items],
    chosen: Sequence[Chosen],
    dataset: Dataset,
    about: Callable[[int], None] | None = None,
) -> None:
    """Draw the test pictures with these numbers, the first page first.

    items: for each its "name", "note" and "title", as tiles() takes them, or what makes them for the numbers of those
    on show; about: draws what else there is to say of the picture that is open.
    """
    if not len(rows):
        return
    pages = -(-len(rows) // ON_A_PAGE)
    page = PAGE.offer(range(1, pages + 1))
    part = slice((page - 1) * ON_A_PAGE, page * ON_A_PAGE)
    shown = [int(each) for each in rows[part]]
    picture = PICTURE.get()
    tiles(
        label,
        thumbnails(dataset.test_images[shown]),
        (32, 32),
        3,
        items(shown) if callable(items) else items[part],
        key="mistakes_gallery",
        on_pick=lambda place: PICTURE.set(shown[place]),
        selected=shown.index(picture) if picture in shown else None,
    )
    if pages > 1:
        st.number_input(f"Page (of {pages:,})", 1, pages, key=PAGE.widget, width=150)
    if picture is not None and picture < len(dataset.test_labels):
        _open(picture, chosen, dataset, about)


def described(rows: Tensor, prediction: Prediction, dataset: Dataset) -> list[dict[str, str]]:
    """Items for show(): of these pictures, the predicted class and the true one with their probabilities."""
    labels = dataset.test_labels[rows].tolist()
    items = []
    for index, label, taken, shares in zip(
        rows.tolist(),
        labels,
        prediction.classes[rows].tolist(),
        (100 * prediction.logits[rows].softmax(1)).tolist(),
        strict=True,
    ):
        true, said = dataset.classes[label], dataset.classes[taken]
        if math.isnan(shares[taken]):
            items.append({"name": "no class", "note": true, "title": f"test picture {index}: no class, {true} (true)"})
            continue
        name, note = f"{said} {shares[taken]:.0f} %", "" if taken == label else f"{true} {shares[label]:.0f} %"
        title = f"test picture {index}: {name}" + (f", true class {note}" if note else ", which is right")
        items.append({"name": name, "note": note, "title": title})
    return items


def answer(prediction: Prediction, index: int, classes: Sequence[str]) -> str:
    """ "dog 91 %"."""
    logits = prediction.logits[index]
    if not bool(logits.isfinite().all()):
        return "no class"
    best = int(logits.argmax())
    return f"{classes[best]} {100 * float(logits.softmax(0)[best]):.0f} %"


def restart() -> None:
    """Other pictures are asked for: from their first page on, and none open."""
    PAGE.set(1)
    PICTURE.set(None)


def _open(index: int, chosen: Sequence[Chosen], dataset: Dataset, about: Callable[[int], None] | None = None) -> None:
    label = int(dataset.test_labels[index])
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="mistakes_open"):
        name = f"test picture {index}"
        st.image(enlarge(dataset.test_images[index], 4), width=128, caption=name, alt=f"{name}, four times as large")
        with st.container():
            for one in chosen:
                said = gallery.verdict(predictions(one, dataset), index, label, dataset.classes)
                st.markdown(f"**{plain(said)}** · {plain(one.short)}, epoch {one.epoch}")
            if about is not None:
                about(index)
            with st.container(horizontal=True):
                if st.button("Look inside", icon=":material/grid_view:", key="look_inside"):
                    _look_inside(index, chosen)
                st.button("Close", icon=":material/close:", type="tertiary", on_click=partial(PICTURE.set, None))


def _look_inside(index: int, chosen: Sequence[Chosen]) -> None:
    beside = {"other": chosen[1].run.id[:8]} if len(chosen) > 1 else {}
    open_page(
        "pages/feature_maps.py",
        run=chosen[0].run.id[:8],
        epoch=str(chosen[0].epoch),
        picture=str(index),
        **beside,
    )
