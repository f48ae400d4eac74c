"""Two networks on the same pictures: who is right where, whether that may be luck, and the pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from cnnviz.analysis import comparison
from cnnviz.app import cache
from cnnviz.app.components.parts import Part, parts
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import gallery
from cnnviz.app.networks import Chosen, predictions
from cnnviz.app.state import Key, text_key
from cnnviz.app.widgets import empty_state
from cnnviz.data import Dataset
from cnnviz.inspection import agreement
from cnnviz.inspection.agreement import Pair
from cnnviz.inspection.mistakes import answers
from cnnviz.inspection.network import Prediction
from cnnviz.render import pair_words
from cnnviz.render.colours import NEUTRAL, PALETTE
from cnnviz.store import artifacts
from cnnviz.store.runs import Run
from cnnviz.wording import percent

PART = text_key("part", "only_a")
KEYS: tuple[Key[Any], ...] = (PART,)
DISAGREE = "disagree"
NAMES = {  # of the parts: what they are called, their colours, which of their pictures come first
    "both_right": ("Both right", PALETTE[0], "the least sure first"),
    "only_a": ("Only A right", PALETTE[2], "the most confident mistakes of B first"),
    "only_b": ("Only B right", PALETTE[1], "the most confident mistakes of A first"),
    "both_wrong": ("Both wrong", NEUTRAL, "the most confident first"),
    DISAGREE: ("Different answers", "", "right or wrong; those of which both are surest first"),
}
MOST_SEEDS = 6  # that a network is compared with


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of A, the first network, and B."""
    found = [predictions(one, dataset) for one in chosen]
    told = [answers(each) for each in found]
    without = [letter for letter, each in zip("AB", told, strict=True) if pair_words.has_none(each)]
    if without:
        empty_state(f"{pair_words.missing(without)}. Choose an earlier epoch, or another network.")
        return
    quarters = agreement.pair(told[0], told[1], dataset.test_labels)
    apart = pair_words.disagree(told[0], told[1])
    st.markdown(plain(pair_words.verdict(quarters)))
    _choose(quarters, apart, len(dataset.test_labels))
    rows = _in_order(PART.get(), quarters, apart, found)
    _pictures(rows, chosen, found, dataset)
    _seeds(chosen, told, quarters, dataset)


def _choose(quarters: Pair, apart: np.ndarray, total: int) -> None:
    counts = quarters.counts() | {DISAGREE: len(apart)}
    PART.offer(NAMES)
    names = list(NAMES)

    def pick(place: int) -> None:
        PART.set(names[place])
        gallery.restart()

    parts(
        "A and B on the same pictures",
        [
            Part(
                title,
                f"{counts[name]:,}",
                percent(counts[name] / total),
                0.0 if name == DISAGREE else counts[name] / total,
                hue,
                f"Show these pictures, {order}",
            )
            for name, (title, hue, order) in NAMES.items()
        ],
        key="quarters",
        on_pick=pick,
        selected=names.index(PART.get()),
        columns=len(names),
    )


def _in_order(name: str, quarters: Pair, apart: np.ndarray, found: Sequence[Prediction]) -> list[int]:
    """The pictures of that part, as NAMES says."""
    rows = apart if name == DISAGREE else vars(quarters)[name]
    a, b = (each.confidence.nan_to_num(0).numpy()[rows] for each in found)
    sure = {"both_right": -np.minimum(a, b), "only_a": b, "only_b": a, "both_wrong": a + b, DISAGREE: np.minimum(a, b)}
    return [int(each) for each in rows[np.argsort(-sure[name], kind="stable")]]


def _pictures(rows: list[int], chosen: Sequence[Chosen], found: Sequence[Prediction], dataset: Dataset) -> None:
    title, _, order = NAMES[PART.get()]
    if not rows:
        st.caption(f"{title}: there is no such picture.")
        return
    st.caption(f"{title}: {order}.")

    def items(shown: Sequence[int]) -> list[dict[str, str]]:
        made = []
        for index in shown:
            label = int(dataset.test_labels[index])
            said = [f"{letter} {_short(each, index, label, dataset)}" for letter, each in zip("AB", found, strict=True)]
            name = dataset.classes[label]
            title = f"test picture {index}, {name}: {', '.join(said)}"
            made.append({"name": name, "note": "\n".join(said), "title": title})
        return made

    gallery.show(title, rows, items, chosen, dataset)


def _short(one: Prediction, index: int, label: int, dataset: Dataset) -> str:
    """ "✗ dog 51 %"."""
    right = bool(one.logits[index].isfinite().all()) and int(one.logits[index].argmax()) == label
    return f"{'✓' if right else '✗'} {gallery.answer(one, index, dataset.classes)}"


# -- seeds -----------------------------------------------------------------------------------------


def _seeds(chosen: Sequence[Chosen], told: Sequence[np.ndarray], quarters: Pair, dataset: Dataset) -> None:
    """The same between runs that differ in their seed alone: how much of it is luck."""
    st.markdown("**How much of this is luck?**")
    a, b = chosen
    seeds_alone = b.run.id in {run.id for run in _alike(a.run)}
    which = next((place for place, one in enumerate(chosen) if _others(one, b.run.id)), 0)
    one, mine, letter = chosen[which], told[which], "AB"[which]
    others = _others(one, b.run.id)[:MOST_SEEDS]
    if not others and not seeds_alone:
        empty_state(
            f"No run differs from {plain(one.short)} in its seed alone. Train it with two or three seeds to see how "
            "far chance alone drives two networks apart: **New experiment**, *Your own*, several values of *Seed*."
        )
        return
    rows = [("A and B", len(pair_words.disagree(told[0], told[1])), quarters)]
    for run in others:
        seed = Chosen("seed", run, one.epoch, one.epochs, "")
        other = _answers(seed.key, seed, dataset)
        name = f"{letter} and its seed {run.config.seed}"
        rows.append((name, len(pair_words.disagree(mine, other)), agreement.pair(mine, other, dataset.test_labels)))
    st.markdown(pair_words.luck([row[1] for row in rows[1:]], rows[0][1], letter, seeds_alone))
    st.markdown(pair_words.table(rows, len(dataset.test_labels)))
    st.caption(
        "McNemar's p asks whether these trained networks differ on pictures like these. That another seed trains "
        "another network is not in it: where seeds alone give a small p, one pair says little about the settings."
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _answers(key: tuple[str, str, int], _one: Chosen, _dataset: Dataset) -> np.ndarray:
    return answers(predictions(_one, _dataset)).astype(np.int8)


def _alike(run: Run) -> list[Run]:
    """The runs that differ from this one in their seed alone."""
    for each in comparison.repeats(cache.runs()):
        if run.id in {one.id for one in each.runs}:
            return [one for one in each.samples if one.config.seed != run.config.seed]
    return []


def _others(one: Chosen, b: str) -> list[Run]:
    """Those of them that kept the weights of the same epoch; B has a row of its own."""
    return [run for run in _alike(one.run) if run.id != b and one.epoch in artifacts.checkpoint_epochs(run.id)]
