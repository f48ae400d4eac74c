"""What is recorded: runs, the queue, histories."""

import math
import sys
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

import pandas as pd
from mlflow import entities
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException

from cnnviz import paths
from cnnviz.errors import StoreError
from cnnviz.store import addresses, connection, records
from cnnviz.store.failures import readable_errors
from cnnviz.store.runs import ACTIVE, Run

PAGE = 1000  # runs a search returns at once
MOST_KNOWN = 10_000  # runs kept as they were last read
EPOCH_METRICS = ("test_loss", "train_loss", "train_accuracy", "epoch_seconds", "images_per_second")
TRAIN_METRIC = "train_accuracy"  # one of those that are added to epoch 0 when it is recorded already
VALIDATION_METRICS = ("val_loss", "val_accuracy")
_LARGEST = sys.float_info.max  # MLflow stores infinity as the largest float


def runs(deleted: bool = False) -> list[Run]:
    """All of cnnviz's runs, newest first. Runs another program put in the experiment are passed over."""
    with readable_errors():
        return _tracked(_search("", ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY))


def run(run_id: str) -> Run:
    """The run with that id, or with the only id that starts so. Raises StoreError."""
    with readable_errors():
        try:
            found = [connection.client().get_run(run_id)] if len(run_id) == 32 else []
        except MlflowException:  # not there, which the search finds out as well
            found = []
        if not found and run_id:
            found = [each for each in _search("") if each.info.run_id.startswith(run_id)]
        found = [each for each in found if each.info.lifecycle_stage == "active"]
        if len(found) > 1:
            raise StoreError(f"{len(found)} runs start with {run_id!r}: give more letters of the id")
        tracked = _tracked(found)
        if not tracked:
            raise StoreError(f"no run {run_id!r} in {addresses.shown()}: `python -m cnnviz runs` lists them")
        return tracked[0]


def queue(device: str) -> list[Run]:
    """What a worker of that device should train, oldest first: this installation's waiting runs, and its RUNNING ones,
    whose worker died. What trains elsewhere is not its business."""
    with readable_errors():
        # By cnnviz's own tag, and by MLflow's status for runs of versions that had no such tag.
        of_status = [
            f"{what} = '{status}'" for what in ("tags.`cnnviz.status`", "attributes.status") for status in ACTIVE
        ]
        found = {each.info.run_id: each for filter_string in of_status for each in _search(filter_string)}
        waiting = [
            each for each in _tracked(list(found.values())) if each.active and each.is_here and each.device == device
        ]
    return sorted(waiting, key=lambda each: each.queued_at)


def stop_requests() -> set[str]:
    """Ids of the runs the user asked to stop."""
    with readable_errors():
        return {each.info.run_id for each in _search("tags.`cnnviz.stop` = 'true'")}


def history(run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Recorded values in long form: columns run_id, metric, epoch (int), value (float), empty if nothing was recorded.

    NaN and infinity come back as such. What another program has logged to the runs is left out.
    """
    with readable_errors():
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids)
        found = _looked_at(_search(f"attributes.run_id IN ({listed})", ViewType.ALL)) if run_ids and metrics else {}
        ours = [run_id for run_id in run_ids if run_id in found]
        rows = [
            (run_id, metric, step, value)
            for metric in metrics
            for run_id, logged in _rows(ours, metric).items()
            for step, value in _recorded(found[run_id], logged)
        ]
    columns = {"run_id": "str", "metric": "str", "epoch": "int64", "value": "float64"}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)  # else an empty frame's would be object


def metric_names(run_id: str) -> list[str]:
    with readable_errors():
        return sorted(connection.client().get_run(run_id).data.metrics)


def _search(filter_string: str, view: int = ViewType.ACTIVE_ONLY) -> list[entities.Run]:
    found: list[entities.Run] = []
    token = None
    while True:
        page = connection.client().search_runs(
            [connection.experiment()], filter_string, view, PAGE, ["attributes.start_time DESC"], token
        )
        found += page
        token = page.token
        if not token:
            return found


class _Known(NamedTuple):
    """What was read of a run."""

    look: str  # of the run as it was then
    run: Run | None  # None: another program's
    written_at: dict[int, int]  # by epoch, the time that cnnviz logged its metrics with, all of them with the same


def _rows(run_ids: Sequence[str], metric: str) -> dict[str, list[Metric]]:
    """All that anybody has logged of a metric, by run."""
    rows: dict[str, list[Metric]] = {run_id: [] for run_id in run_ids}
    for run_id, each in connection.metric_histories(run_ids, metric):
        rows[run_id].append(each)
    return rows


def _read(found: entities.Run, accuracy: Sequence[Metric], validation: Sequence[Sequence[Metric]] = ()) -> _Known:
    by_step: dict[int, list[Metric]] = {}
    for row in accuracy:
        by_step.setdefault(row.step, []).append(row)
    if any(len(rows) > 1 for rows in by_step.values()):
        company = _company(found.info.run_id)
        by_step = {
            step: sorted(rows, key=lambda row: (-company[row.step, row.timestamp], row.timestamp))
            for step, rows in by_step.items()
        }
    at = {step: rows[0].timestamp for step, rows in by_step.items()}
    held_out = [
        {row.step: _finite_or_not(row.value) for row in rows if at.get(row.step) == row.timestamp}
        for rows in validation
    ]
    tested = {step: _finite_or_not(rows[0].value) for step, rows in by_step.items()}
    run = records.describe(found, tested, *held_out)
    if run and run.epoch == run.first_epoch == 0 and not run.parent and TRAIN_METRIC not in found.data.metrics:
        run = replace(run, half_since=at[0])
    epochs = range(run.first_epoch, run.epoch + 1) if run else range(0)
    return _Known(_look(found), run, {epoch: by_step[epoch][0].timestamp for epoch in epochs})


def _company(run_id: str) -> Counter[tuple[int, int]]:
    """How many of an epoch's metrics were logged at a step and time: where a program has logged to a step of cnnviz's,
    the most are at cnnviz's own time."""
    logged = [_rows([run_id], metric)[run_id] for metric in EPOCH_METRICS]
    return Counter(pair for rows in logged for pair in {(row.step, row.timestamp) for row in rows})


def _recorded(known: _Known, logged: Sequence[Metric]) -> list[tuple[int, float]]:
    """Epochs and values of a metric, those that cnnviz has logged."""
    ours = {row.step: row.value for row in logged if known.written_at.get(row.step) == row.timestamp}
    return [(step, _finite_or_not(ours[step])) for step in sorted(ours)]


def _finite_or_not(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


_known = OrderedDict[tuple[str, str], _Known]()  # by the store, as it is seen from here, and run id
_lock = Lock()  # a server's sessions are threads


def forget(run_id: str) -> None:
    """Read the run anew at the next look, whatever of it has changed."""
    with _lock:
        _known.pop((_seen_from(), run_id), None)


def _seen_from() -> str:
    return f"{addresses.tracking_uri()} {paths.home()}"


def _tracked(found: Sequence[entities.Run]) -> list[Run]:
    """The runs that are cnnviz's."""
    return [known.run for known in _looked_at(found).values() if known.run is not None]


def _looked_at(found: Sequence[entities.Run]) -> dict[str, _Known]:
    """What is known of the runs, by id. Those that look as they did at the last look are not read again: every epoch
    changes a run's latest metrics, so its accuracy line is as it was as long as they are."""
    uri = _seen_from()
    ours = {each.info.run_id: each for each in found if records.is_ours(each)}
    with _lock:
        known = {run_id: _known[uri, run_id] for run_id in ours if (uri, run_id) in _known}
    new = [run_id for run_id, each in ours.items() if run_id not in known or known[run_id].look != _look(each)]
    accuracy = _rows(new, "test_accuracy")
    validated = [run_id for run_id in new if "validation" in ours[run_id].data.params]
    held_out = [_rows(validated, metric) for metric in VALIDATION_METRICS] if validated else []
    known |= {
        run_id: _read(ours[run_id], accuracy[run_id], [rows[run_id] for rows in held_out if run_id in rows])
        for run_id in new
    }
    with _lock:
        for run_id, each in known.items():
            _known[uri, run_id] = each
            _known.move_to_end((uri, run_id))
        while len(_known) > MOST_KNOWN:
            _known.popitem(last=False)
    return {run_id: known[run_id] for run_id in ours}


def _look(found: entities.Run) -> str:
    """All that a search says of a run, as text: in it NaN is equal to NaN."""
    info, run_data = found.info, found.data
    said = (info.status, info.lifecycle_stage, info.run_name, info.start_time, info.end_time)
    return repr((*said, *(sorted(each.items()) for each in (run_data.tags, run_data.params, run_data.metrics))))
