"""What networks answered on the test set of their data set, kept between reruns and shared by all sessions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from cnnviz import data, paths
from cnnviz.analysis.answers import Answers
from cnnviz.data import Dataset
from cnnviz.errors import CheckpointError, CnnvizError
from cnnviz.inspection import outputs
from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.mistakes import Mistakes, answers, mistakes
from cnnviz.inspection.network import Prediction
from cnnviz.render import mistake_tables
from cnnviz.store import addresses, artifacts
from cnnviz.store.runs import Run


@dataclass(frozen=True, eq=False)
class Epochs:
    """A run's answers after each epoch whose weights were kept, in order."""

    epochs: tuple[int, ...]
    answers: np.ndarray  # int8 (epochs, N); NO_ANSWER where the logits are not finite
    mistakes: tuple[Mistakes | None, ...]  # None: no predictions
    calibrations: tuple[Calibration | None, ...]

    @classmethod
    def of(cls, epochs: tuple[int, ...], found: Iterable[Prediction], dataset: Dataset) -> "Epochs":
        """Of the predictions after these epochs."""
        rows, wrong, sure = [], [], []
        for prediction in found:
            rows.append(answers(prediction).astype(np.int8))
            wrong.append(mistakes(rows[-1], dataset.test_labels, len(dataset.classes)))
            sure.append(calibration(prediction, dataset.test_labels))
        return cls(epochs, np.stack(rows), tuple(wrong), tuple(sure))


def of_findings(run: Run) -> Answers | None:
    """For the findings on a run: None unless what it answered after every epoch has been computed before."""
    if not outputs.may_be_kept(run, [run.epoch]):  # before its checkpoints are listed, which a server does slowly
        return None
    try:
        epochs = tuple(artifacts.checkpoint_epochs(run.id))
        if not epochs or not outputs.may_be_kept(run, epochs):
            return None
        return _of_findings(addresses.tracking_uri(), run.id, epochs, run)
    except CnnvizError:  # its data set or its checkpoints are gone: it has its other findings
        return None


@st.cache_data(max_entries=256, show_spinner=False)
def _of_findings(uri: str, run_id: str, epochs: tuple[int, ...], _run: Run) -> Answers:
    dataset = load_dataset(_run.config.dataset)
    found = outputs.every_kept(_run, epochs, dataset)
    if found is None:
        raise CheckpointError("what it answered was damaged or evicted")  # which is not kept as None is
    every = Epochs.of(epochs, found, dataset)
    return mistake_tables.evidence(dataset.classes, epochs, every.mistakes, every.calibrations)


@st.cache_resource(max_entries=2, show_spinner="Loading the data set …")
def _loaded(name: str, root: str) -> Dataset:
    return data.load(name)


def load_dataset(name: str) -> Dataset:
    return _loaded(name, str(paths.data_root()))
