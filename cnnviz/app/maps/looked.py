"""A network that is looked into, and what is kept of it between reruns, within bounds."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from cnnviz.app.networks import Chosen, predictions
from cnnviz.data import Dataset
from cnnviz.inspection import cells, outputs, recorded
from cnnviz.inspection.edits import Change
from cnnviz.inspection.network import Network, Prediction, each_step, predict
from cnnviz.store import artifacts
from cnnviz.store.runs import Run

ACCURACY_PICTURES = 1000  # test pictures, from the first on, that a change is judged by


@dataclass(frozen=True)
class Looked(Chosen):
    """A network that is looked into."""

    trained: Network  # as recorded
    network: Network  # with the changes
    changes: tuple[Change, ...] = ()
    beside: tuple[str, str, int] | None = None  # the key of the network that channels may come from


def prediction(one: Looked, dataset: Dataset, count: int | None = None, changed: bool = False) -> Prediction:
    """Of the first so many test pictures of its data set; None: of all, which are kept on the disk for every page."""
    if not changed or not one.changes:
        found = outputs.kept(one.run, one.epoch, dataset) or (None if count else predictions(one, dataset))
        if found is not None:
            return found.first(count or len(dataset.test_images))
    images = dataset.test_images[:count]
    sources = tuple(map(str, one.changes)) if changed else ()
    network = one.network if changed else one.trained
    # A channel from "other" is that of the network beside it.
    beside = one.beside if sources else None
    return Prediction(torch.from_numpy(_logits(one.key, len(images), sources, beside, network, images)))


@st.cache_data(max_entries=128, show_spinner="Asking the network about the test pictures …")
def _logits(
    key: tuple[str, str, int],
    count: int,
    changes: tuple[str, ...],
    beside: tuple[str, str, int] | None,
    _network: Network,
    _images: Tensor,
) -> np.ndarray:
    return predict(_network, _images).logits.numpy()


def accuracies(one: Looked, dataset: Dataset) -> tuple[float, float]:
    """Share of the first ACCURACY_PICTURES test pictures it gets right, before and after the changes."""
    labels = dataset.test_labels[:ACCURACY_PICTURES]
    found = (prediction(one, dataset, ACCURACY_PICTURES, changed) for changed in (False, True))
    before, after = ((each.classes == labels).double().mean() for each in found)
    return float(before), float(after)


def scan(one: Looked, dataset: Dataset, step: str) -> cells.Scan:
    """What the channels of a step of the trained network do over the test set."""
    return _scan(one.key, step, one.trained, dataset.test_images)


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
