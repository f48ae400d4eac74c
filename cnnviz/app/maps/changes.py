"""The networks that are looked into, and changes to channels of the first."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from cnnviz.app import answers, networks
from cnnviz.app.maps.looked import Looked, scan
from cnnviz.app.markdown import plain
from cnnviz.app.networks import Chosen
from cnnviz.app.state import list_key
from cnnviz.errors import CnnvizError, ConfigError
from cnnviz.inspection import edits, recorded
from cnnviz.inspection.edits import Change
from cnnviz.inspection.network import Network, output_step

CHANGES = list_key("change")
KEYS = (*networks.KEYS, CHANGES)


def load(chosen: list[Chosen], below: DeltaGenerator) -> list[Looked]:
    """Their weights; below, what of the changes in the address is not possible."""
    looked = []
    for each in chosen:
        network = recorded.load(each.run, each.epoch)
        looked.append(Looked(each.side, each.run, each.epoch, each.epochs, each.short, network, network))
    return [_operated(looked, below), *looked[1:]]


def layout(looked: list[Looked]) -> None:
    """Choices that are seldom made."""
    if len(looked) > 1:
        options = [networks.FOLLOW, *map(str, looked[1].epochs)]
        st.selectbox("Epoch of the second network", options, key=networks.OTHER_EPOCH.widget)
    arch, chosen = looked[0].run.architecture, CHANGES.get()
    channels = [
        str(Change(layer.name, channel, edits.OFF))
        for layer in edits.changeable(arch)
        for channel in range(layer.output[0])
    ]
    st.multiselect(
        "Channels of the first network switched off or replaced",
        channels + [text for text in chosen if text not in channels],
        format_func=lambda text: edits.parse(text).words,
        key=CHANGES.widget,
        placeholder="Open a map, or choose here",
    )


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
        step = output_step(one.run.architecture.layer(layer))
        return scan(one, answers.load_dataset(one.run.config.dataset), step).means

    return edits.changed(looked[0].trained, changes, donor, means)
