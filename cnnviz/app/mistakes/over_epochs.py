"""Pictures over epochs: learned early, late, never, forgotten."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from cnnviz import wording
from cnnviz.app.answers import Epochs
from cnnviz.app.components.parts import Part, parts
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import answered, gallery
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key, text_key
from cnnviz.app.widgets import empty_state, one_of
from cnnviz.data import Dataset
from cnnviz.inspection.forgetting import FATES, Fate, Learned, learned
from cnnviz.inspection.mistakes import NO_ANSWER
from cnnviz.render import fate_charts
from cnnviz.render.epoch_strips import as_html, story
from cnnviz.render.fate_charts import HUES, WORDS
from cnnviz.wording import percent

OF = text_key("epochs_of", "run")  # which of the two networks
FATE = Key[Fate]("fate", "forgotten")
KEYS: tuple[Key[Any], ...] = (OF, FATE)

MEANING: dict[Fate, str] = {
    "early": "right from an epoch of the first half on, up to the last one; the earliest first",
    "late": "right up to the last epoch, from one of the second half on; the latest first",
    "forgotten": "right after some epoch, wrong after the last; the most often forgotten first (after Toneva et al. "
    "2019, who look at training pictures)",
    "never": "wrong after every epoch",
}


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of one network, the first or the chosen one."""
    by_side = {one.side: one for one in chosen}
    OF.offer(by_side)
    if len(chosen) > 1:
        titles = {side: plain(one.short) for side, one in by_side.items()}
        one_of("Network over its epochs", titles, OF, on_change=gallery.restart)
    one = by_side[OF.get()]
    every = answered.every_epoch(one, dataset)
    asked = (every.answers != NO_ANSWER).any(1)
    kept = [epoch for epoch, any_answer in zip(every.epochs, asked, strict=True) if any_answer and epoch > 0]
    if len(kept) < 2:
        _too_few(one, every, kept)
        return
    rows = np.isin(every.epochs, kept)
    told = every.answers[rows]
    found = learned(kept, told, dataset.test_labels)
    if found is None:
        return
    _headline(every, found)
    _choose(found)
    _pictures(one, found, FATE.get(), told, dataset)
    _charts(found, told, dataset)


def _too_few(one: Chosen, every: Epochs, kept: Sequence[int]) -> None:
    trained = [epoch for epoch in every.epochs if epoch > 0]
    if len(trained) > 1:
        empty_state(
            f"{plain(one.short)} has predictions after {wording.count(len(kept), 'trained epoch')} only: it diverged, "
            "its logits are not finite from then on. Choose another network, or train it with a lower learning rate."
        )
    else:
        empty_state(
            f"The weights of {plain(one.short)} were kept after {wording.count(len(trained), 'trained epoch')}: to "
            "see what it learns and forgets takes two. Train it further: **Continue** on the page Runs."
        )


def _headline(every: Epochs, found: Learned) -> None:
    counts, total = found.counts(), len(found.fate)
    lost = counts["forgotten"]
    ever = total - counts["never"]
    words = (
        f"Over epochs {found.epochs[0]} to {found.epochs[-1]} it got {ever:,} of {total:,} test pictures right at some "
        f"time; {lost:,} of these are wrong again at the end."
    )
    st.markdown(words)
    without = [epoch for epoch in every.epochs if epoch > 0 and epoch not in found.epochs]
    gaps = len(found.epochs) < found.epochs[-1] - found.epochs[0] + 1 - len(without)
    notes = []
    constant = sum(
        each is not None and each.always is not None
        for epoch, each in zip(every.epochs, every.mistakes, strict=True)
        if epoch in found.epochs
    )
    if constant:
        notes.append(
            f"After {wording.count(constant, 'epoch')} it says one class for everything: what seems learned or "
            "forgotten there is that class changing."
        )
    if gaps:
        notes.append(f"Not all epochs' weights were kept: these are {len(found.epochs)} of them.")
    if without:
        notes.append(f"No predictions after {_epochs(without)}: its logits are not finite. They are left out.")
    if notes:
        st.caption(" ".join(notes))


def _epochs(those: Sequence[int]) -> str:
    return f"epoch {those[0]}" if len(those) == 1 else f"epochs {wording.listed([str(each) for each in those])}"


def _choose(found: Learned) -> None:
    counts, total = found.counts(), len(found.fate)
    FATE.offer(FATES)

    def pick(place: int) -> None:
        FATE.set(FATES[place])
        gallery.restart()

    parts(
        "What became of the test pictures",
        [
            Part(
                WORDS[fate].capitalize(),
                f"{counts[fate]:,}",
                percent(counts[fate] / total),
                counts[fate] / total,
                HUES[fate],
                MEANING[fate],
            )
            for fate in FATES
        ],
        key="fates",
        on_pick=pick,
        selected=FATES.index(FATE.get()),
        columns=len(FATES),
    )


def _pictures(one: Chosen, found: Learned, fate: Fate, told: np.ndarray, dataset: Dataset) -> None:
    rows = found.pictures(fate).tolist()
    if not len(rows):
        st.caption(f"No picture was {WORDS[fate].removesuffix(' right')}{' right' * (fate == 'never')}.")
        return
    st.caption(
        f"{WORDS[fate].capitalize()}: {MEANING[fate]}. Each strip is a picture's epochs "
        f"{found.epochs[0]} to {found.epochs[-1]}: tall where it is right, low where it is wrong."
    )
    labels, classes = dataset.test_labels.numpy(), dataset.classes

    def items(shown: Sequence[int]) -> list[dict[str, str]]:
        made = []
        for index in shown:
            label, line = int(labels[index]), told[:, index]
            made.append(
                {
                    "name": classes[label],
                    "note": _note(found, fate, index),
                    "strip": "".join("1" if each == label else "0" for each in line),
                    "title": f"test picture {index}, {classes[label]}: {story(found.epochs, line, label, classes)}",
                }
            )
        return made

    def about(index: int) -> None:
        label, line = int(labels[index]), told[:, index]
        st.html(as_html(found.epochs, line, label, classes))

    gallery.show(WORDS[fate].capitalize(), rows, items, [one], dataset, about=about)


def _note(found: Learned, fate: Fate, index: int) -> str:
    if fate in ("early", "late"):
        return f"from epoch {found.right_since[index]}"
    return f"forgotten {found.forgettings[index]} ×" if fate == "forgotten" else ""


def _charts(found: Learned, told: np.ndarray, dataset: Dataset) -> None:
    left, right = st.columns(2)
    with left:
        st.markdown("**How many are right after each epoch, by what becomes of them**")
        shares = fate_charts.right_by_fate(found, told, dataset.test_labels)
        last = shares[shares.epoch == shares.epoch.max()].share.sum()
        st.altair_chart(
            fate_charts.over_epochs(shares),
            key="fates_over_epochs",
            alt=f"Test pictures right after each epoch, by what becomes of them: {last:.1f} % at the last one",
        )
    with right:
        st.markdown("**How often a picture was forgotten**, of those that were ever right")
        counts = fate_charts.events(found)
        words = ", ".join(f"{times} times {count:,}" for times, count in counts)
        st.altair_chart(
            fate_charts.forgettings(counts), key="forgettings", alt=f"Pictures by forgetting events: {words}"
        )
