"""The view Mistakes: the most confident mistakes of a network on the test set, by what was taken for what."""

from functools import partial

import numpy as np
import streamlit as st
from PIL import Image

from cnnviz.app.components.pictures import tiles
from cnnviz.app.maps.choice import Choice
from cnnviz.app.maps.looked import Looked, prediction
from cnnviz.app.maps.pictures import choose_picture
from cnnviz.app.markdown import plain
from cnnviz.app.state import text_key, whole_number
from cnnviz.app.widgets import empty_state, enlarge, save_as_png, thumbnails
from cnnviz.data import Dataset
from cnnviz.inspection import gallery
from cnnviz.render.exports import captioned

MOST_PAIRS = 12
MOST_SHOWN = 24

OF = text_key("mistakes_of", "run")  # which of the networks
PAIR = text_key("pair", "all")  # "3-5": pictures of class 3 taken for class 5
KEYS = (OF, PAIR)


def mistakes(looked: list[Looked], choice: Choice, dataset: Dataset) -> None:
    """Its most confident mistakes; a click looks at the picture."""
    by_side = {one.side: one for one in looked}
    OF.offer(by_side)
    if len(looked) > 1:
        st.segmented_control(
            "Mistakes of",
            list(by_side),
            format_func=lambda side: plain(by_side[side].title),
            required=True,
            key=OF.widget,
        )
    one = by_side[OF.get()]
    classes, labels = dataset.classes, dataset.test_labels
    found = prediction(one, dataset)
    every, pairs = gallery.mistakes(found, labels), gallery.confusions(found, labels)
    if not len(every):
        empty_state(f"This network gets all {len(labels):,} test pictures right: choose an earlier epoch.")
        return
    words = {"all": f"All {len(every):,}"}
    words |= {f"{true}-{taken}": f"{classes[true]} → {classes[taken]} {count:,}" for true, taken, count in pairs}
    PAIR.offer(words)
    frequent = list(words)[: MOST_PAIRS + 1]
    options = frequent if PAIR.get() in frequent else [*frequent, PAIR.get()]
    chosen = st.pills(
        f"What it takes for what: the {min(len(pairs), MOST_PAIRS)} most frequent",
        options,
        format_func=words.__getitem__,
        required=True,
        key=PAIR.widget,
    )
    rows = every
    if chosen != "all":
        true, taken = map(whole_number, str(chosen).split("-"))
        rows = gallery.confused(found, labels, true, taken)
    beside = {}
    for other in looked:
        if other is not one:
            beside = {"other": other.run.id[:8]}
            beside |= {"other_epoch": str(other.epoch)} if other.epoch != one.epoch else {}
    cell = {} if chosen == "all" else {"cell": str(chosen).replace("-", ".")}
    st.page_link(
        "pages/mistakes.py",
        label="All of its mistakes",
        icon=":material/rule:",
        query_params={"run": one.run.id[:8], "epoch": str(one.epoch), **beside, **cell},
    )
    shown = rows[:MOST_SHOWN].tolist()
    verdicts = [gallery.verdict(found, index, int(labels[index]), classes) for index in shown]
    st.caption(
        plain(
            f"{one.title} gets {len(every):,} of {len(labels):,} test pictures wrong. "
            f"The {len(shown)} most confident of {len(rows):,}; click one to look at it."
        )
    )
    items = []
    for index, verdict in zip(shown, verdicts, strict=True):
        name, _, note = verdict.removesuffix(")").partition(" (")
        items.append({"name": name, "note": note, "title": f"test picture {index}: {verdict}"})
    here = [index for index in shown if dataset.test_images[index].equal(choice.pixels)]
    tiles(
        "Mistakes",
        thumbnails(dataset.test_images[shown]),
        (32, 32),
        3,
        items,
        key="mistakes",
        on_pick=lambda place: choose_picture(shown[place]),
        selected=shown.index(here[0]) if here else None,
    )
    pictures = [Image.fromarray(np.asarray(enlarge(dataset.test_images[index], 3))) for index in shown]
    parts = [(verdict.translate(_PLAIN), each) for verdict, each in zip(verdicts, pictures, strict=True)]
    title = f"{one.title}: mistakes, {words[str(chosen)]}"
    save_as_png("Save as PNG", partial(captioned, title, parts), f"{one.stem}-mistakes", key="save mistakes")


_PLAIN = str.maketrans({"✗": None})  # which the font of a picture does not have
