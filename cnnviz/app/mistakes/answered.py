"""What the chosen networks answer on the test set, and what follows from it, kept between reruns."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import streamlit as st

from cnnviz.app.answers import Epochs
from cnnviz.app.networks import Chosen, predictions
from cnnviz.data import Dataset
from cnnviz.inspection import outputs
from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.mistakes import Mistakes, answers, by_similarity, mistakes
from cnnviz.inspection.network import Prediction
from cnnviz.store.runs import Run


@dataclass(frozen=True, eq=False)
class Answered:
    """A network's answers after one epoch."""

    prediction: Prediction
    mistakes: Mistakes | None  # None: no predictions
    calibration: Calibration | None


def at_epoch(one: Chosen, dataset: Dataset) -> Answered:
    """Of the epoch it is looked at; a bar if they are computed only now."""
    return _at_epoch(one.key, dataset.name, predictions(one, dataset), dataset)


@st.cache_resource(max_entries=64, show_spinner=False)
def _at_epoch(key: tuple[str, str, int], name: str, _prediction: Prediction, _dataset: Dataset) -> Answered:
    labels = _dataset.test_labels
    found = mistakes(answers(_prediction), labels, len(_dataset.classes))
    return Answered(_prediction, found, calibration(_prediction, labels))


def order(one: Chosen, dataset: Dataset) -> list[int]:
    """The classes by similarity, as the last epoch has it if that is known: so that they stay while epochs change."""
    last = replace(one, epoch=one.epochs[-1])
    at = last if outputs.kept(one.run, last.epoch, dataset) is not None else one
    found = at_epoch(at, dataset).mistakes or at_epoch(one, dataset).mistakes
    return by_similarity(found.confusion) if found else list(range(len(dataset.classes)))


def every_epoch(one: Chosen, dataset: Dataset) -> Epochs:
    """Of all its epochs; a bar while they are computed."""
    return _every_epoch(one.key[:2], one.epochs, one.run, dataset)


@st.cache_resource(max_entries=16, show_spinner=False)
def _every_epoch(key: tuple[str, str], epochs: tuple[int, ...], _run: Run, _dataset: Dataset) -> Epochs:
    bar = st.progress(0.0, "Asking the network about the test pictures, epoch by epoch …")

    def show(words: str, fraction: float) -> None:
        bar.progress(fraction, f"Asking the network about the test pictures: {words}")

    def found() -> Iterator[Prediction]:
        for _, prediction in outputs.each_epoch(_run, epochs, _dataset, show):
            yield prediction

    made = Epochs.of(epochs, found(), _dataset)
    bar.empty()
    return made
