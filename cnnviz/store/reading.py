"""What is recorded: runs, the queue, histories."""

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from threading import Lock

import pandas as pd
from mlflow import entities
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from cnnviz.config import restored
from cnnviz.errors import ConfigError, StoreError
from cnnviz.store import connection
from cnnviz.store.runs import SEGMENT, Run, Segment, StackHistory

PAGE = 1000  # runs a search returns at once
MOST_KNOWN = 10_000  # runs kept as they were last read
_LARGEST = sys.float_info.max  # MLflow stores infinity as the largest float


def runs(deleted: bool = False) -> list[Run]:
    """All of cnnviz's runs, newest first. Runs another program put in the experiment are passed over."""
    with connection.readable_errors():
        return _tracked(_search("", ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY))


def run(run_id: str) -> Run:
    """The run with that id, or with the only id that starts so. Raises StoreError."""
    with connection.readable_errors():
        try:
            found = [connection.client().get_run(run_id)] if len(run_id) == 32 else []
        except MlflowException:
            found = []
        if not found and run_id:
            found = [each for each in _search("") if each.info.run_id.startswith(run_id)]
        found = [each for each in found if each.info.lifecycle_stage == "active"]
        if len(found) > 1:
            raise StoreError(f"{len(found)} runs start with {run_id!r}: give more letters of the id")
        tracked = _tracked(found)
        if not tracked:
            raise StoreError(f"no run {run_id!r} in {connection.tracking_uri()}: `python -m cnnviz runs` lists them")
        return tracked[0]


def queue(device: str) -> list[Run]:
    """What a worker of that device should train, oldest first: waiting runs, and RUNNING ones whose worker died."""
    with connection.readable_errors():
        waiting = _tracked(_search("attributes.status = 'SCHEDULED'") + _search("attributes.status = 'RUNNING'"))
    return sorted((each for each in waiting if each.device == device), key=lambda each: each.queued_at)


def stop_requests() -> set[str]:
    """Ids of the runs the user asked to stop."""
    with connection.readable_errors():
        return {each.info.run_id for each in _search("tags.`cnnviz.stop` = 'true'")}


def history(run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Recorded values in long form: columns run_id, metric, epoch (int), value (float), empty if nothing was recorded.

    NaN and infinity come back as such.
    """
    with connection.readable_errors():
        rows = [
            (run_id, metric, step, value)
            for metric in metrics
            for run_id, points in _points(run_ids, metric).items()
            for step, value in points
        ]
    columns = {"run_id": "str", "metric": "str", "epoch": "int64", "value": "float64"}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)  # else an empty frame's would be object


def metric_names(run_id: str) -> list[str]:
    with connection.readable_errors():
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


def _points(run_ids: Sequence[str], metric: str) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of one metric, by run. A step written twice counts once: its latest value."""
    points: dict[str, dict[int, tuple[int, float]]] = {run_id: {} for run_id in run_ids}
    for run_id, each in connection.metric_histories(run_ids, metric):
        steps = points[run_id]
        if each.step not in steps or steps[each.step][0] <= each.timestamp:
            steps[each.step] = (each.timestamp, _finite_or_not(each.value))
    return {run_id: [(step, steps[step][1]) for step in sorted(steps)] for run_id, steps in points.items()}


def _finite_or_not(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


_known = OrderedDict[tuple[str, str], tuple[str, Run | None]]()  # by address and run id: as it was, and what it meant
_lock = Lock()  # a server's sessions are threads


def forget(run_id: str) -> None:
    """Read the run anew at the next look, whatever of it has changed."""
    with _lock:
        _known.pop((connection.tracking_uri(), run_id), None)


def _tracked(found: Sequence[entities.Run]) -> list[Run]:
    """The runs that are cnnviz's. Those that look as they did at the last look are not read again: every epoch changes
    a run's latest metrics, so its accuracy line is as it was as long as they are."""
    uri = connection.tracking_uri()
    found = [each for each in found if "cnnviz.target_epochs" in each.data.tags]
    looks = {each.info.run_id: _look(each) for each in found}
    with _lock:
        known = {run_id: _known.get((uri, run_id), ("", None)) for run_id in looks}
    new = [each for each in found if known[each.info.run_id][0] != looks[each.info.run_id]]
    accuracy = _points([each.info.run_id for each in new], "test_accuracy")
    read = {each.info.run_id: _describe(each, accuracy[each.info.run_id]) for each in new}
    with _lock:
        for run_id, run in read.items():
            _known[uri, run_id] = looks[run_id], run
        for run_id in looks:
            if (uri, run_id) in _known:
                _known.move_to_end((uri, run_id))
        while len(_known) > MOST_KNOWN:
            _known.popitem(last=False)
    described = (read[run_id] if run_id in read else known[run_id][1] for run_id in looks)
    return [run for run in described if run is not None]


def _look(found: entities.Run) -> str:
    """All that a search says of a run, as text: in it NaN is equal to NaN."""
    info, run_data = found.info, found.data
    said = (info.status, info.lifecycle_stage, info.run_name, info.start_time)
    return repr((*said, *(sorted(each.items()) for each in (run_data.tags, run_data.params, run_data.metrics))))


def _describe(found: entities.Run, accuracy: list[tuple[int, float]]) -> Run | None:
    tags, params, info = found.data.tags, found.data.params, found.info
    try:
        config = restored(params, int(tags["cnnviz.target_epochs"]))
        segments = tuple(
            Segment(**{name: each[name] for name in SEGMENT if name in each})  # a newer cnnviz may note more
            for each in json.loads(tags.get("cnnviz.segments") or "[]")
        )
        stack_history = _stack_history(tags.get("cnnviz.stack", ""))
    except (KeyError, ValueError, TypeError, ConfigError):
        return None  # another program's, or edited by hand: not ours to show
    return Run(
        id=info.run_id,
        name=info.run_name or config.name,
        status=info.status,
        config=config,
        epoch=accuracy[-1][0] if accuracy else -1,
        device=tags.get("cnnviz.device", "cpu"),
        created=datetime.fromtimestamp(info.start_time / 1000),
        queued_at=float(tags.get("cnnviz.queued_at", info.start_time / 1000)),
        message=tags.get("cnnviz.message", ""),
        stopping=tags.get("cnnviz.stop") == "true",
        segments=segments,
        stack_history=stack_history,
        accuracy=tuple(value for _, value in accuracy),
        parent=tags.get("cnnviz.parent", ""),
        first_epoch=int(tags.get("cnnviz.fork_epoch", 0)),
    )


def _stack_history(text: str) -> StackHistory | None:
    """Of the tag cnnviz.stack, as changes writes it."""
    if not text:
        return None
    noted = json.loads(text)
    members = tuple((int(first), tuple(ids)) for first, ids in noted["seats"])
    return StackHistory(noted["begun"], int(noted["threads"]), members) if members else None
