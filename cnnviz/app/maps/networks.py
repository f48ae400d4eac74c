"""Choosing one or two networks, an epoch and changes to channels; and what is worth keeping of them between reruns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from cnnviz.app import widgets
from cnnviz.app.state import remembered
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError, ConfigError
from cnnviz.inspection import cells, edits, recorded
from cnnviz.inspection.edits import Change
from cnnviz.inspection.network import Network, Prediction, each_step, predict
from cnnviz.store import artifacts, connection
from cnnviz.store.runs import Run

NONE = "none"
FOLLOW = "the same"
ACCURACY_PICTURES = 1000  # test pictures, from the first on, that a change is judged by
SECONDS_A_FRAME = 0.8


@dataclass(frozen=True)
class Looked:
    """A network that is looked into."""

    side: str  # "run" or "other"
    run: Run
    epoch: int
    trained: Network  # as recorded
    network: Network  # with the changes
    changes: tuple[Change, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.run.name}, epoch {self.epoch}"

    @property
    def key(self) -> tuple[str, str, int]:
        """What its trained weights are known by, in a cache."""
        return connection.tracking_uri(), self.run.id, self.epoch


def choose(found: list[Run]) -> list[Looked]:
    """Draw the choice of one or two networks; nothing to look into is said so, and an empty list."""
    by_id = {run.id[:8]: run for run in found if run.epoch >= 0}
    if not by_id:
        widgets.empty_state("No network to look into yet. Choose a preset in the sidebar and click **Train**.")
        return []
    keys = list(by_id)
    _warn_of_unknown(keys)
    left, right = st.columns(2)
    run = remembered("run", keys, keys[0])
    remembered("other", [NONE, *keys], NONE)
    run = left.selectbox("Run", keys, format_func=lambda key: widgets.label(by_id[key]), key="run")
    other = right.selectbox(
        "Beside it",
        [NONE, *keys],
        format_func=lambda key: "no second network" if key == NONE else widgets.label(by_id[key]),
        key="other",
        help="A second network on the same picture; the same run may stand beside itself at another epoch.",
    )
    chosen = [by_id[key] for key in (run, other) if key != NONE]
    kept = [artifacts.epochs_to_open(each) for each in chosen]
    epoch = _epoch(sorted(set().union(*kept)), len(chosen) > 1, kept[-1])
    looked = []
    for side, each, epochs in zip(("run", "other"), chosen, kept, strict=False):
        fixed = st.session_state.get("other_epoch", FOLLOW) if side == "other" else FOLLOW
        at = recorded.nearest_epoch(epochs, epoch if fixed == FOLLOW else int(fixed))
        network = recorded.load(each, at)
        looked.append(Looked(side, each, at, network, network))
    return [_operated(looked), *looked[1:]]


def _warn_of_unknown(keys: Sequence[str]) -> None:
    for name in ("run", "other"):
        asked = st.query_params.get(name, NONE)
        if name not in st.session_state and asked != NONE:
            if asked[:8] in keys:
                st.session_state[name] = asked[:8]
            else:
                instead = "here is the newest instead" if name == "run" else "it is left out"
                st.warning(widgets.plain(f"run {asked[:8]} from the address is not in this store; {instead}."))


def _epoch(epochs: list[int], two: bool, others: list[int]) -> int:
    """The slider over every epoch that one of the networks kept, and its play button."""
    if (ahead := st.session_state.pop("next_epoch", None)) is not None:
        st.session_state.epoch = ahead
    epoch = remembered("epoch", epochs, epochs[-1])
    row = st.container(horizontal=True, vertical_alignment="bottom")
    if len(epochs) > 1:
        with row.container():
            epoch = st.select_slider("Epoch", epochs, key="epoch", help="0 is the untrained network")
        playing = st.session_state.get("playing", False)
        row.button(
            "Stop" if playing else "Play",
            icon=":material/stop:" if playing else ":material/play_arrow:",
            key="play",
            on_click=_toggle_play,
            args=(epochs,),
        )
    if two:
        remembered("other_epoch", [FOLLOW, *map(str, others)], FOLLOW)
        row.selectbox("Epoch beside it", [FOLLOW, *map(str, others)], key="other_epoch", width=140)
    if st.session_state.get("playing", False):
        st.fragment(_advance, run_every=SECONDS_A_FRAME)(epochs, epoch)
    return epoch


def _toggle_play(epochs: list[int]) -> None:
    st.session_state.playing = not st.session_state.get("playing", False)
    st.session_state.shown_epoch = None
    if st.session_state.playing and st.session_state.get("epoch") == epochs[-1]:
        st.session_state.next_epoch = epochs[0]


def _advance(epochs: list[int], epoch: int) -> None:
    """The first run, with the page, only notes which epoch is on show; the timed one after it goes on to the next."""
    if st.session_state.get("shown_epoch") != epoch:
        st.session_state.shown_epoch = epoch
        return
    after = [each for each in epochs if each > epoch]
    if after:
        st.session_state.next_epoch = after[0]
    st.session_state.playing = len(after) > 1
    st.rerun(scope="app")


def _operated(looked: list[Looked]) -> Looked:
    """The first network with the changes that are chosen for it."""
    one = looked[0]
    arch = one.run.architecture
    options = [
        str(Change(layer.name, channel, edits.OFF))
        for layer in arch.weight_layers[:-1]
        for channel in range(layer.output[0])
    ]
    asked = st.session_state.get("change", st.query_params.get_all("change"))
    changes, faults = _fitting(looked, asked)
    for fault in faults:
        st.warning(widgets.plain(fault))
    st.session_state.change = [str(change) for change in changes]
    with st.expander(f"Channels of the first network switched off or replaced: {len(changes) or 'none'}"):
        st.multiselect(
            "Channels",
            options + [text for text in st.session_state.change if text not in options],
            format_func=lambda text: edits.parse(text).words,
            key="change",
            placeholder="Click a map below, or choose channels here",
        )
    if not changes:
        return one
    return Looked(one.side, one.run, one.epoch, one.trained, _changed(looked, changes), tuple(changes))


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

    return edits.changed(looked[0].trained, changes, donor)


# -- kept between reruns, within bounds ----------------------------------------------------------


def prediction(one: Looked, images: Tensor, changed: bool = False) -> Prediction:
    """Of the first so many test pictures of its data set."""
    # A channel from the network beside it is that network's, not just "other's".
    sources = tuple(map(str, one.changes)) if changed else ()
    beside = (st.session_state.get("other"), st.session_state.get("other_epoch"), st.session_state.get("epoch"))
    network = one.network if changed else one.trained
    return Prediction(
        torch.from_numpy(_logits(one.key, len(images), sources, beside if sources else (), network, images))
    )


@st.cache_data(max_entries=128, show_spinner="Asking the network about the test pictures …")
def _logits(
    key: tuple[str, str, int],
    count: int,
    changes: tuple[str, ...],
    beside: tuple[object, ...],
    _network: Network,
    _images: Tensor,
) -> np.ndarray:
    return predict(_network, _images).logits.numpy()


def accuracies(one: Looked, pictures: Dataset) -> tuple[float, float]:
    """Share of the first ACCURACY_PICTURES test pictures it gets right, before and after the changes."""
    images, labels = pictures.test_images[:ACCURACY_PICTURES], pictures.test_labels[:ACCURACY_PICTURES]
    before, after = ((prediction(one, images, changed).classes == labels).double().mean() for changed in (False, True))
    return float(before), float(after)


def scan(one: Looked, pictures: Dataset, step: str) -> cells.Scan:
    """What the channels of a step of the trained network do over the test set."""
    return _scan(one.key, step, one.trained, pictures.test_images)


@st.cache_resource(max_entries=64, show_spinner=False)
def _scan(key: tuple[str, str, int], step: str, _network: Network, _images: Tensor) -> cells.Scan:
    bar = st.progress(0.0, "Showing the test pictures to the network …")
    found = cells.scan(_network, _images, step, bar.progress)
    bar.empty()
    return found


def ranges(one: Looked, pixels: Tensor) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each step on the picture, over all epochs of the run that were kept."""
    kept = tuple(artifacts.checkpoint_epochs(one.run.id))
    return _ranges(one.key[:2], kept, pixels.numpy().tobytes(), one.run, pixels)


@st.cache_data(max_entries=512, show_spinner=False)
def _ranges(
    key: tuple[str, str], kept: tuple[int, ...], picture: bytes, _run: Run, _pixels: Tensor
) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for epoch in kept:
        for maps in each_step(recorded.load(_run, epoch), _pixels[None]):
            low, high = found.get(maps.name, (maps.low, maps.high))
            found[maps.name] = min(low, maps.low), max(high, maps.high)
    return found
