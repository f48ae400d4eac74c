"""What is read from the store, kept between reruns and shared by all sessions."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import pandas as pd
import streamlit as st

from cnnviz.analysis.answers import Answers
from cnnviz.analysis.findings import Finding, diagnose, metric_names
from cnnviz.app import answers
from cnnviz.app.state import first_look
from cnnviz.store import addresses, reading
from cnnviz.store.runs import Run

SOON = 12  # runs: reading as many for the first time takes half a second, less than drawing their curves twice
MOST_DIAGNOSED = 24  # runs: reading 73 of them for the first time takes five seconds


@st.cache_data(ttl=1.0, show_spinner=False)
def all_runs(uri: str) -> list[Run]:
    return reading.runs()


def runs() -> list[Run]:
    """All runs, newest first, at most a second old; those there are now if an address has just been opened."""
    if first_look():
        all_runs.clear()
    return all_runs(addresses.tracking_uri())


_Extent = tuple[int, int | None]


def _extent(run: Run) -> _Extent:
    """How far it is recorded."""
    return run.epoch, run.half_since


class _Histories:
    """Recorded values that were read before: those of an epoch never change, once all are there. Bounded; shared by all
    sessions."""

    MOST = 20_000  # lines of one metric of one run: 40 epochs of them take 2 KB each

    def __init__(self) -> None:
        self.lock, self.kept = Lock(), OrderedDict[tuple[str, str, tuple[str, ...]], tuple[_Extent, pd.DataFrame]]()

    def read(self, uri: str, runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
        if not runs:  # all of them were deleted elsewhere
            return reading.history([], metrics)
        keys = {(uri, run.id, tuple(metrics)): run for run in runs}
        with self.lock:
            kept = {key: self.kept[key] for key in keys if key in self.kept}
        found = {key: part for key, (extent, part) in kept.items() if extent == _extent(keys[key])}
        if new := {key: run for key, run in keys.items() if key not in found}:
            history = reading.history([run.id for run in new.values()], metrics)
            parts = dict(iter(history.groupby("run_id")))
            found |= {key: parts.get(run.id, history.iloc[:0].copy()) for key, run in new.items()}
        with self.lock:
            for key, part in found.items():
                self.kept[key] = _extent(keys[key]), part
                self.kept.move_to_end(key)
            while sum(len(metrics) for _, _, metrics in self.kept) > self.MOST:
                self.kept.popitem(last=False)
        return pd.concat(found.values(), ignore_index=True)


@st.cache_resource(show_spinner=False)
def _histories() -> _Histories:
    return _Histories()


def history(found: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """reading.history() of these runs, each epoch read once."""
    return _histories().read(addresses.tracking_uri(), found, metrics)


def takes_long(chosen: Sequence[Run]) -> bool:
    """Whether findings() is to read so many runs for the first time that one would wait for it."""
    if len(chosen) > MOST_DIAGNOSED:
        return False  # it reads none
    return sum((addresses.tracking_uri(), run.id) not in _seen() for run in chosen) > SOON


@st.cache_resource(show_spinner=False)
def _seen() -> set[tuple[str, str]]:
    return set()


def findings(chosen: Sequence[Run], most: int = MOST_DIAGNOSED) -> dict[str, list[Finding]]:
    """Each run's findings, by its id; none of more than so many runs.

    Those on what it answers on the test pictures are among them once that has been computed for every epoch.
    """
    if len(chosen) > most:
        return {}
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in chosen:
        alike.setdefault(tuple(metric_names(run.config)), []).append(run)
    found: dict[str, list[Finding]] = {}
    for names, runs in alike.items():
        recorded = history(runs, names)
        parts = dict(iter(recorded.groupby("run_id")))
        for run in runs:
            found[run.id] = _findings(run, parts.get(run.id, recorded.iloc[:0]), answers.of_findings(run))
    _seen().update((addresses.tracking_uri(), run.id) for run in chosen)
    return found


def _findings(run: Run, history: pd.DataFrame, answered: Answers | None) -> list[Finding]:
    known = tuple(answered.epochs) if answered else ()
    return _diagnosed(addresses.tracking_uri(), run.id, run.epoch, known, run, history, answered)


@st.cache_data(max_entries=1000, show_spinner=False)
def _diagnosed(
    uri: str,
    run_id: str,
    epoch: int,
    known: tuple[int, ...],
    _run: Run,
    _history: pd.DataFrame,
    _answered: Answers | None,
) -> list[Finding]:
    return diagnose(_run.config, _history, _answered)
