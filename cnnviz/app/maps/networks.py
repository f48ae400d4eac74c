"""Choosing one or two networks, an epoch, and changes to channels of the first."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from cnnviz.analysis.comparison import labels
from cnnviz.app import widgets
from cnnviz.app.maps.looked import Looked, scan
from cnnviz.app.maps.pictures import load_dataset
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot, list_key, number_key, text_key
from cnnviz.errors import CnnvizError, ConfigError
from cnnviz.inspection import edits, recorded
from cnnviz.inspection.edits import Change
from cnnviz.inspection.network import SUFFIX, Network
from cnnviz.store import artifacts
from cnnviz.store.runs import Run

NONE = "none"
FOLLOW = "the same"
RUN = text_key(
    "run",
    pinned=True,
    parse=lambda text: text[:8],
    wrong="run {text} from the address is not in this store; here is the best instead",
)
OTHER = text_key(
    "other",
    NONE,
    parse=lambda text: text[:8],
    wrong="run {text} from the address is not in this store; it is left out",
)
EPOCH = number_key("epoch", pinned=True)
OTHER_EPOCH = text_key("other_epoch", FOLLOW)
CHANGES = list_key("change")
KEYS = (RUN, OTHER, EPOCH, OTHER_EPOCH, CHANGES)
PLAYING = Slot("playing", False)
SHOWN_EPOCH = Slot[int | None]("shown_epoch", None)
SECONDS_A_FRAME = 0.8


def choose(found: list[Run], below: DeltaGenerator) -> list[Looked]:
    """Draw the choice of one or two networks in a row, and below it what of the address is not possible.

    Nothing to look into is said so, and comes back as an empty list.
    """
    begun = sorted((run for run in found if run.epoch >= 0), key=lambda run: -run.best_accuracy)
    if not begun:
        widgets.no_runs()
        return []
    names = labels(begun)
    by_id = {run.id[:8]: run for run in begun}
    keys = list(by_id)
    RUN.offer(keys, keys[0])
    OTHER.offer([NONE, *keys])

    def title(key: str) -> str:
        run = by_id[key]
        return " · ".join([names[run.id] or run.name, *([f"{run.best[1]:.0%}".replace("%", " %")] if run.best else [])])

    run = st.selectbox("Network", keys, format_func=title, key=RUN.widget, help=_about(by_id[RUN.get()]), width=290)
    other = st.selectbox(
        "Compare with",
        [NONE, *keys],
        format_func=lambda key: "no other network" if key == NONE else title(key),
        key=OTHER.widget,
        help="A second network on the same picture; the same one may stand there at another epoch (Layout).",
        width=250,
    )
    chosen = [by_id[key] for key in (run, other) if key != NONE]
    kept = [artifacts.epochs_to_open(each) for each in chosen]
    epoch = _epoch(sorted(set().union(*kept)))
    OTHER_EPOCH.offer([FOLLOW, *map(str, kept[-1])] if len(chosen) > 1 else [FOLLOW])
    looked = []
    for side, each, epochs in zip(("run", "other"), chosen, kept, strict=False):
        fixed = OTHER_EPOCH.get() if side == "other" else FOLLOW
        at = recorded.nearest_epoch(epochs, epoch if fixed == FOLLOW else int(fixed))
        network = recorded.load(each, at)
        looked.append(Looked(side, each, at, network, network, names[each.id] or each.name))
    return [_operated(looked, below), *looked[1:]]


def _about(run: Run) -> str:
    best = f" Its best epoch was {run.best[0]}, with {run.best[1]:.1%} of the test pictures right." if run.best else ""
    return plain(f"{run.name} · {run.id[:6]}. The best network comes first.{best}")


def _epoch(epochs: list[int]) -> int:
    """The slider over every epoch that one of the networks kept, and its play button."""
    epoch = EPOCH.offer(epochs, epochs[-1])
    if len(epochs) > 1:
        st.select_slider(
            "Epoch",
            epochs,
            key=EPOCH.widget,
            width=170,
            help="Opens at the last epoch that was kept, as training left the network; 0 is the untrained one. "
            "A network that has not kept this epoch shows its last one before it.",
        )
        epoch = EPOCH.get()
        playing = PLAYING.get()
        st.button(
            "Stop" if playing else "Play",
            icon=":material/stop:" if playing else ":material/play_arrow:",
            key="play",
            on_click=_toggle_play,
            args=(epochs,),
        )
    if PLAYING.get():
        st.fragment(_advance, run_every=SECONDS_A_FRAME)(epochs, epoch)
    return epoch


def layout(looked: list[Looked]) -> None:
    """Choices that are seldom made."""
    if len(looked) > 1:
        options = [FOLLOW, *map(str, artifacts.epochs_to_open(looked[1].run))]
        st.selectbox("Epoch of the second network", options, key=OTHER_EPOCH.widget)
    arch, chosen = looked[0].run.architecture, CHANGES.get()
    channels = [
        str(Change(layer.name, channel, edits.OFF))
        for layer in arch.weight_layers[:-1]
        for channel in range(layer.output[0])
    ]
    st.multiselect(
        "Channels of the first network switched off or replaced",
        channels + [text for text in chosen if text not in channels],
        format_func=lambda text: edits.parse(text).words,
        key=CHANGES.widget,
        placeholder="Open a map, or choose here",
    )


def _toggle_play(epochs: list[int]) -> None:
    PLAYING.set(not PLAYING.get())
    SHOWN_EPOCH.set(None)
    if PLAYING.get() and EPOCH.get() == epochs[-1]:
        EPOCH.set(epochs[0])


def _advance(epochs: list[int], epoch: int) -> None:
    """The first run, with the page, only notes which epoch is on show; the timed one after it goes on to the next."""
    if SHOWN_EPOCH.get() != epoch:
        SHOWN_EPOCH.set(epoch)
        return
    after = [each for each in epochs if each > epoch]
    if after:
        EPOCH.set(after[0])
    PLAYING.set(len(after) > 1)
    st.rerun(scope="app")


def _operated(looked: list[Looked], below: DeltaGenerator) -> Looked:
    """The first network with the changes that are chosen for it."""
    one = looked[0]
    changes, faults = _fitting(looked, CHANGES.get())
    for fault in faults:
        below.warning(plain(fault))
    CHANGES.show([str(change) for change in changes])
    if not changes:
        return one
    beside = looked[1].key if len(looked) > 1 else None
    return replace(one, network=_changed(looked, changes), changes=tuple(changes), beside=beside)


def change_channel(layer: str, channel: int, source: str | None) -> None:
    """Switch a channel of the first network off or replace it, as edits.Change has it; None: as it was trained."""
    kept = [text for text in CHANGES.get() if not text.startswith(f"{layer}.{channel}:")]
    CHANGES.set(kept if source is None else [*kept, f"{layer}.{channel}:{source}"])


def restore() -> None:
    """All channels as they were trained."""
    CHANGES.set([])


def _fitting(looked: list[Looked], asked: Sequence[str]) -> tuple[list[Change], list[str]]:
    changes: list[Change] = []
    faults: list[str] = []
    for text in asked:
        try:
            change = edits.parse(text)
            _changed(looked, [change])
            changes.append(change)
        except CnnvizError as error:
            faults.append(f"{text[:40]} is left out: {error}")
    return changes, faults


def _changed(looked: list[Looked], changes: Sequence[Change]) -> Network:
    def donor(change: Change) -> Network:
        if change.epoch is not None:
            return recorded.load(looked[0].run, change.epoch)
        if len(looked) < 2:
            raise ConfigError("there is no second network to take the channel from: choose one beside the first")
        return looked[1].trained

    def means(layer: str) -> Tensor:
        one = looked[0]
        step = layer if one.run.architecture.layer(layer).kind == "pooling" else layer + SUFFIX
        return scan(one, load_dataset(one.run.config.dataset), step).means

    return edits.changed(looked[0].trained, changes, donor, means)
