"""What the chosen networks answer on the test set, and what is kept of it between reruns."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from cnnviz.app.networks import Chosen
from cnnviz.data import Dataset
from cnnviz.inspection import outputs
from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.mistakes import answers
from cnnviz.store.runs import Run


@dataclass(frozen=True, eq=False)
class Epochs:
    """A run's answers after each epoch whose weights were kept, in order."""

    epochs: tuple[int, ...]
    answers: np.ndarray  # int8 (epochs, N); NO_ANSWER where the logits are not finite
    calibrations: tuple[Calibration | None, ...]  # None: no predictions


def every_epoch(one: Chosen, dataset: Dataset) -> Epochs:
    """Of all its epochs; a bar while they are computed."""
    return _every_epoch(one.key[:2], one.epochs, one.run, dataset)


@st.cache_resource(max_entries=16, show_spinner=False)
def _every_epoch(key: tuple[str, str], epochs: tuple[int, ...], _run: Run, _dataset: Dataset) -> Epochs:
    bar = st.progress(0.0, "Asking the network about the test pictures, epoch by epoch …")

    def show(words: str, fraction: float) -> None:
        bar.progress(fraction, f"Asking the network about the test pictures: {words}")

    rows, calibrations = [], []
    for _, found in outputs.each_epoch(_run, epochs, _dataset, show):
        rows.append(answers(found).astype(np.int8))
        calibrations.append(calibration(found, _dataset.test_labels))
    bar.empty()
    return Epochs(epochs, np.stack(rows), tuple(calibrations))
