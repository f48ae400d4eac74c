"""What sections are made of, read once: runs, their histories and findings, networks, pictures."""

import contextlib
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from threading import Lock

import pandas as pd

from cnnviz import data
from cnnviz.analysis import curves, study
from cnnviz.analysis.findings import Finding, diagnose, metric_names
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError, DataError
from cnnviz.inspection import outputs, recorded
from cnnviz.inspection.network import Network, Prediction
from cnnviz.store import artifacts, reading
from cnnviz.store.runs import Run, figure_to_rank

_MORE = (
    "train_loss",
    "val_loss",
    "test_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "epoch_seconds",
    "images_per_second",
)


class Sources:
    """Of the runs of a report. every: all runs of the store, newest first."""

    def __init__(self, runs: Sequence[Run], every: Sequence[Run], parts: Sequence[study.Part] = ()) -> None:
        self.runs, self.newest = list(runs), list(every)
        self.every = {run.id: run for run in every}
        self.parts = {part.key: part for part in parts}
        self._datasets: dict[str, Dataset] = {}
        self._reading = Lock()
        self._answers: dict[tuple[str, int], Future[Prediction]] = {}
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answers")

    def of_part(self, key: str) -> list[Run]:
        """The runs of a part of the study, in its order; of a report on other runs, all of them."""
        return [self.every[run_id] for run_id in self.parts[key].look] if self.parts else self.runs

    @cached_property
    def history(self) -> pd.DataFrame:
        """All that is recorded of the runs and of what they were forked from."""
        wanted = [*self.runs, *curves.ancestors(self.runs, self.every)]
        names = {name: None for run in wanted for name in (*_MORE, *metric_names(run.config))}
        return reading.history([run.id for run in wanted], list(names))

    @cached_property
    def findings(self) -> dict[str, list[Finding]]:
        parts = dict(iter(self.history.groupby("run_id")))
        nothing = self.history.iloc[:0]
        return {run.id: diagnose(run.config, parts.get(run.id, nothing)) for run in self.runs}

    def dataset(self, run: Run) -> Dataset:
        """The test set that the run is judged by. Raises DataError."""
        with self._reading:
            return self._dataset(run.config.dataset)

    def _dataset(self, name: str) -> Dataset:
        if name not in self._datasets:
            if not data.available(name):
                raise DataError(
                    f"{data.TITLES[name]} is not on this machine: `python -m cnnviz data --fetch` fetches it"
                )
            try:
                self._datasets[name] = data.load_test(name)
            except DataError:
                self._datasets[name] = data.load(name)  # drawn
        return self._datasets[name]

    def epochs(self, run: Run) -> list[int]:
        """Those whose weights are kept. Raises CheckpointError if there are none."""
        return artifacts.epochs_to_open(run)

    def network(self, run: Run, epoch: int) -> Network:
        """Raises CheckpointError."""
        return recorded.load(run, epoch)

    def answers(self, run: Run, epoch: int) -> Prediction:
        """What it says of all test pictures. Raises CheckpointError."""
        return self._asked(run, epoch).result()

    def look_ahead(self, runs: Sequence[Run]) -> None:
        """Begin to compute the answers of these after their last epochs, beside whatever else is made."""
        for run in runs:
            with contextlib.suppress(CnnvizError):  # whoever asks for them is told
                self._asked(run, self.epochs(run)[-1])

    def _asked(self, run: Run, epoch: int) -> Future[Prediction]:
        key = (run.id, epoch)
        if key not in self._answers:
            self._answers[key] = self._answering.submit(lambda: outputs.of(run, epoch, self.dataset(run)))
        return self._answers[key]

    def has_weights(self, run: Run) -> bool:
        return bool(artifacts.checkpoint_epochs(run.id))


def best(runs: Sequence[Run]) -> Run | None:
    trained = [run for run in runs if run.best]
    return max(trained, key=figure_to_rank(trained), default=None)


def worst(runs: Sequence[Run], than: Run) -> Run | None:
    """Of the same architecture, to be looked at beside it."""
    others = [run for run in runs if run.best and run.id != than.id and run.config.model == than.config.model]
    figure = figure_to_rank(others)
    return min(others, key=lambda run: (figure(run), last(run)), default=None)


def last(run: Run) -> float:
    """The last test accuracy; -1 if there is none."""
    return run.accuracy[-1] if run.accuracy and math.isfinite(run.accuracy[-1]) else -1.0
