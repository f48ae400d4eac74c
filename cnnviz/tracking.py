"""Runs in MLflow: the queue, the record and the lists. The only module that imports mlflow.

A run's status is its place in the queue: SCHEDULED (waiting), RUNNING, FINISHED, FAILED, KILLED (stopped by the user).
The schema (params, metrics, tags, artifacts) is written down in ARCHITECTURE.md.
"""

import contextlib
import itertools
import json
import logging
import math
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported: nothing leaves this machine
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

import pandas as pd
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from cnnviz import checkpoints, paths
from cnnviz.architectures import Architecture, architecture
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, ConfigError, StoreError

EXPERIMENT = "cnnviz"
PARAMS = ("model", "activation", "pooling", "loss", "optimizer", "lr", "momentum", "batch_size", "seed", "dataset")
RARE_PARAMS = ("weight_decay", "limit_train")  # written only where they are not 0
FORK_CHANGES = ("lr", "loss", "optimizer", "momentum", "weight_decay", "batch_size", "seed")
_OF_THE_WEIGHTS = ("train_loss", "train_accuracy", "test_", "saturation/")  # what a fork and its parent share
ACTIVE = ("SCHEDULED", "RUNNING")
PAGE = 1000  # runs a search returns at once
_MANY = 10**9
_LONGEST_TAG = 8000  # characters, MLflow's limit
SHORT = 12  # letters of a run's id where a stack's seats are noted
_LARGEST = sys.float_info.max  # MLflow stores infinity as the largest float

logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Segment:
    """One stretch of training without a break."""

    start_epoch: int  # the epoch it set out from
    started_at: float  # seconds since 1970
    seconds: float  # of training, evaluation included; the time between stretches is not in it
    device: str  # "cpu", "cuda: NVIDIA H200"
    threads: int  # of one network stack's process
    stack: int = 1  # networks trained together as one


SEGMENT = tuple(each.name for each in fields(Segment))


@dataclass(frozen=True)
class Neighbours:
    """The stack a run is trained in. Its last bits depend on it, so an interrupted run goes on in the same one."""

    begun: str  # id of the run that was marked last: while it is not, nothing of the batch has been trained
    threads: int
    seats: tuple[tuple[int, tuple[str, ...]], ...]  # first epoch → ids of the runs side by side, shortened

    def at(self, epoch: int) -> tuple[str, ...]:
        """The seats in which that epoch is trained."""
        return next(ids for first, ids in reversed(self.seats) if first <= max(epoch, self.seats[0][0]))


@dataclass(frozen=True)
class TrackedRun:
    """A run as the store knows it."""

    id: str
    name: str
    status: str
    config: RunConfig  # its epochs are the target
    epoch: int  # last complete epoch; -1: nothing recorded yet
    device: str  # asked for: "cpu", "cuda" or "mps"
    created: datetime
    queued_at: float  # seconds since 1970
    message: str = ""  # why it failed, or what it recovered from
    stopping: bool = False  # the user asked to stop it and the worker has not yet
    segments: tuple[Segment, ...] = ()
    neighbours: Neighbours | None = None  # None: not begun, or begun before cnnviz noted them
    accuracy: tuple[float, ...] = field(default=(), repr=False)  # test accuracy by epoch, from first_epoch
    parent: str = ""  # id of the run this one was forked from
    first_epoch: int = 0  # 0, or the epoch at which it left its parent

    @property
    def seconds(self) -> float:
        """Training time of all stretches together."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and value of the best test accuracy after this run's training began."""
        by_epoch = enumerate(self.accuracy[1:], self.first_epoch + 1)
        trained = [(value, -epoch) for epoch, value in by_epoch if not math.isnan(value)]
        if not trained:
            return None
        value, epoch = max(trained)
        return -epoch, value

    @property
    def active(self) -> bool:
        """Waiting or training."""
        return self.status in ACTIVE

    @property
    def architecture(self) -> Architecture:
        return architecture(self.config.model)


# -- the store -------------------------------------------------------------------------------------


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else the embedded SQLite file in paths.home()."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(paths.home() / 'mlflow.db').as_posix()}"


def _embedded() -> bool:
    return not os.environ.get("MLFLOW_TRACKING_URI")


_REMEDIES = {
    "disk is full": "free some space",
    "no space left": "free some space",
    "disk i/o error": "free some space, or check the disk",
    "readonly": "allow writing there, or set CNNVIZ_HOME to another folder",
    "permission denied": "allow writing there, or set CNNVIZ_HOME to another folder",
    "locked": "another program holds it; try again",
    "can't locate revision": "a newer MLflow made it; install that one, or set CNNVIZ_HOME to another folder",
}


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """MLflow's, SQLite's and the file system's exceptions as one line with its remedy."""
    try:
        yield
    except CnnvizError:
        raise
    except Exception as error:
        known = ("mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3")
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in known:
            raise
        reason = _first_line(error)
        remedy = next((each for sign, each in _REMEDIES.items() if sign in reason.lower()), "")
        raise StoreError(
            f"the store at {tracking_uri()} cannot be used: {reason}" + f": {remedy}" * bool(remedy)
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextlib.contextmanager
def _turn(run_id: str) -> Iterator[Run]:
    """The run, for one at a time who looks at its status and then changes it: no stop or deletion is overtaken."""
    with _plainly():
        path = paths.home() / "artifacts" / run_id / "status.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path).acquire(timeout=30, poll_interval=0.01):
                yield _client().get_run(run_id)
        except Timeout as error:
            raise StoreError(f"another process holds {path} for long: end it, then try again") from error


@cache
def _connect(uri: str, folder: Path) -> tuple[MlflowClient, str]:
    with _plainly():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the store's folder {folder}: {error.strerror}; set CNNVIZ_HOME") from error
        # Several processes migrating one fresh SQLite file at once break it for good: one at a time. The marker
        # outlives a process killed half way, whose database is then begun again.
        with FileLock(folder / "mlflow.db.lock"):
            database, marker = folder / "mlflow.db", folder / "mlflow.db.unfinished"
            fresh = uri.startswith("sqlite:///") and _embedded() and (marker.exists() or not database.exists())
            if fresh:
                marker.touch()
                for leftover in folder.glob("mlflow.db*"):
                    if leftover.name not in (marker.name, "mlflow.db.lock"):
                        leftover.unlink()
                with contextlib.closing(sqlite3.connect(database)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the worker; stays set
            client = MlflowClient(uri)
            for name in _WRITES:
                setattr(client, name, partial(_patiently, client, name))
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                location = (folder / "artifacts").as_uri() if _embedded() else None
                number = client.create_experiment(EXPERIMENT, artifact_location=location)
            elif experiment.lifecycle_stage == "deleted":
                raise StoreError(f"the experiment {EXPERIMENT!r} was deleted in MLflow: restore it there first")
            else:
                number = experiment.experiment_id
                if _embedded():
                    _follow_a_move(database, experiment.artifact_location, (folder / "artifacts").as_uri(), number)
            if fresh:
                marker.unlink()
    return client, number


_WRITES = ("create_run", "log_batch", "set_tag", "update_run", "set_terminated", "delete_run", "restore_run")


def _patiently(client: MlflowClient, name: str, *arguments: Any, **options: Any) -> Any:
    """A write of MLflow's, tried again where it found the database locked.

    SQLite gives the one writer's place to whoever asks at the right instant: eight sessions launching at once can keep
    one waiting for longer than MLflow's 20 s. What was refused so has changed nothing.
    """
    for attempt in itertools.count():
        try:
            return getattr(MlflowClient, name)(client, *arguments, **options)
        except MlflowException as error:
            if "database is locked" not in str(error) or attempt == 3:
                raise
            time.sleep(random.uniform(0.1, 1.0))  # noqa: S311, no secret
    return None


def _follow_a_move(database: Path, noted: str, actual: str, experiment: str) -> None:
    """MLflow notes absolute addresses; where the store's folder was moved, its own UI would look in the old place."""
    if noted == actual:
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
            " WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (actual, len(noted) + 1, experiment, len(noted) + 1, f"{noted}/"),
        )
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (actual, experiment))
        connection.commit()


def _client() -> MlflowClient:
    return _connect(tracking_uri(), paths.home())[0]


def _experiment() -> str:
    return _connect(tracking_uri(), paths.home())[1]


# -- reading ---------------------------------------------------------------------------------------


def runs(deleted: bool = False) -> list[TrackedRun]:
    """All of cnnviz's runs, newest first. Runs another program put in the experiment are passed over."""
    with _plainly():
        return _tracked(_search("", ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY))


def run(run_id: str) -> TrackedRun:
    """The run with that id, or with the only id that starts so. Raises StoreError."""
    with _plainly():
        try:
            found = [_client().get_run(run_id)] if len(run_id) == 32 else []
        except MlflowException:
            found = []
        if not found and run_id:
            found = [each for each in _search("") if each.info.run_id.startswith(run_id)]
        found = [each for each in found if each.info.lifecycle_stage == "active"]
        if len(found) > 1:
            raise StoreError(f"{len(found)} runs start with {run_id!r}: give more letters of the id")
        tracked = _tracked(found)
        if not tracked:
            raise StoreError(f"no run {run_id!r} in {tracking_uri()}: `python -m cnnviz runs` lists them")
        return tracked[0]


def queue(device: str) -> list[TrackedRun]:
    """What a worker of that device should train, oldest first: waiting runs, and RUNNING ones whose worker died."""
    with _plainly():
        waiting = _tracked(_search("attributes.status = 'SCHEDULED'") + _search("attributes.status = 'RUNNING'"))
    return sorted((each for each in waiting if each.device == device), key=lambda each: each.queued_at)


def stop_requests() -> set[str]:
    """Ids of the runs the user asked to stop."""
    with _plainly():
        return {each.info.run_id for each in _search("tags.`cnnviz.stop` = 'true'")}


def history(run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Recorded values in long form: columns run_id, metric, epoch, value. NaN and infinity come back as such."""
    with _plainly():
        rows = [
            (run_id, metric, step, value)
            for metric in metrics
            for run_id, points in _points(run_ids, metric).items()
            for step, value in points
        ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])


def metric_names(run_id: str) -> list[str]:
    with _plainly():
        return sorted(_client().get_run(run_id).data.metrics)


def _search(filter_string: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    found: list[Run] = []
    token = None
    while True:
        page = _client().search_runs([_experiment()], filter_string, view, PAGE, ["attributes.start_time DESC"], token)
        found += page
        token = page.token
        if not token:
            return found


def _points(run_ids: Sequence[str], metric: str) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of one metric, by run. A step written twice counts once: its latest value."""
    if not run_ids:
        return {}
    store = _client()._tracking_client.store
    if hasattr(store, "get_metric_history_bulk"):  # one query for all runs; SQL stores have it
        logged = [(each.run_id, each) for each in store.get_metric_history_bulk(list(run_ids), metric, _MANY)]
    else:
        logged = [(run_id, each) for run_id in run_ids for each in _client().get_metric_history(run_id, metric)]
    points: dict[str, dict[int, tuple[int, float]]] = {run_id: {} for run_id in run_ids}
    for run_id, each in logged:
        steps = points[run_id]
        if each.step not in steps or steps[each.step][0] <= each.timestamp:
            steps[each.step] = (each.timestamp, _finite_or_not(each.value))
    return {run_id: [(step, steps[step][1]) for step in sorted(steps)] for run_id, steps in points.items()}


def _finite_or_not(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


def _tracked(found: Sequence[Run]) -> list[TrackedRun]:
    found = [each for each in found if "cnnviz.target_epochs" in each.data.tags]
    accuracy = _points([each.info.run_id for each in found], "test_accuracy")
    described = (_describe(each, accuracy[each.info.run_id]) for each in found)
    return [each for each in described if each is not None]


def _describe(found: Run, accuracy: list[tuple[int, float]]) -> TrackedRun | None:
    tags, params, info = found.data.tags, found.data.params, found.info
    try:
        config = RunConfig(
            lr=float(params["lr"]),
            momentum=float(params["momentum"]),
            weight_decay=float(params.get("weight_decay", 0)),
            batch_size=int(params["batch_size"]),
            seed=int(params["seed"]),
            limit_train=int(params.get("limit_train", 0)),
            epochs=int(tags["cnnviz.target_epochs"]),
            **{name: params[name] for name in ("model", "activation", "pooling", "loss", "optimizer", "dataset")},
        )
        segments = tuple(
            Segment(**{name: each[name] for name in SEGMENT if name in each})  # a newer cnnviz may note more
            for each in json.loads(tags.get("cnnviz.segments") or "[]")
        )
        neighbours = _neighbours(tags.get("cnnviz.stack", ""))
    except (KeyError, ValueError, TypeError, ConfigError):
        return None  # another program's, or edited by hand: not ours to show
    return TrackedRun(
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
        neighbours=neighbours,
        accuracy=tuple(value for _, value in accuracy),
        parent=tags.get("cnnviz.parent", ""),
        first_epoch=int(tags.get("cnnviz.fork_epoch", 0)),
    )


def _neighbours(text: str) -> Neighbours | None:
    if not text:
        return None
    noted = json.loads(text)
    seats = tuple((int(first), tuple(ids)) for first, ids in noted["seats"])
    return Neighbours(noted["begun"], int(noted["threads"]), seats) if seats else None


# -- the user's hand -------------------------------------------------------------------------------


def schedule(configs: Sequence[RunConfig], device: str) -> list[str]:
    """New runs, waiting for a worker of that device ("cpu", "cuda" or "mps"); their ids in the order given."""
    with _plainly():
        return [_release(_create(config, device), config) for config in configs]


def _create(config: RunConfig, device: str, origin: str = "") -> str:
    """A run that no worker takes yet."""
    client = _client()
    values = asdict(config)
    tags = {
        "cnnviz.device": device,
        "cnnviz.queued_at": repr(time.time()),
        "cnnviz.train_loss": "train_*: mean over the epoch as it trains; train_*_exact: with the test figures' weights",
    }
    names = [*PARAMS, *(name for name in RARE_PARAMS if values[name])]
    run_id = client.create_run(_experiment(), tags=tags, run_name=config.name + origin).info.run_id
    client.log_batch(run_id, params=[Param(name, str(values[name])) for name in names])
    folder = _artifacts(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    description = json.dumps(architecture(config.model).to_dict(), indent=1)
    (folder / "architecture.json").write_text(description, encoding="utf-8")
    _upload(run_id, folder / "architecture.json")
    return run_id


def _release(run_id: str, config: RunConfig) -> str:
    _client().update_run(run_id, status="SCHEDULED")
    # Last, as runs without it are passed over: neither a worker nor a page must find half a run.
    _client().set_tag(run_id, "cnnviz.target_epochs", str(config.epochs))
    return run_id


def fork(run_id: str, epoch: int, changes: Mapping[str, Any], epochs: int, device: str) -> str:
    """Schedule a new run that leaves its parent at a saved epoch, with something changed, for so many epochs; its id.

    It starts from the parent's weights and with a fresh optimizer; its first point is the parent's at that epoch. The
    loss is not copied where the fork measures another one. Raises StoreError or ConfigError for what cannot be forked.
    """
    with _plainly():
        parent = run(run_id)
        if unfit := sorted(set(changes) - set(FORK_CHANGES)):
            raise StoreError(f"a fork keeps its parent's {unfit[0]}: change one of {', '.join(FORK_CHANGES)}")
        config = replace(parent.config, epochs=epoch + epochs, **changes)
        if config == replace(parent.config, epochs=config.epochs):
            raise StoreError(f"the fork of {parent.name} changes nothing: continue the run, or change a setting")
        weights = load_checkpoint(parent, epoch)
        left_at = history([parent.id], metric_names(parent.id))
        left_at = left_at[left_at.epoch == epoch]
        if left_at.empty:
            raise StoreError(f"{parent.name} has not recorded epoch {epoch}: fork it at one it has")
        same_loss = config.loss == parent.config.loss
        figures = {
            name: value
            for name, value in zip(left_at.metric, left_at.value, strict=True)
            if name.startswith(_OF_THE_WEIGHTS) and (same_loss or "_loss" not in name)
        }
        forked = _create(config, device, f" (fork of {parent.id[:6]} at {epoch})")
        _tag(forked, {"parent": parent.id, "fork_epoch": epoch})
        save_checkpoint(forked, epoch, weights, {})
        record(forked, epoch, figures, [])
        return _release(forked, config)


def request_stop(run_ids: Sequence[str], ended_ok: bool = False) -> None:
    """Waiting runs are stopped at once; training ones by their worker, which keeps the last complete epoch.

    Raises StoreError for one that is not active, unless ended_ok: then somebody was faster.
    """
    with _plainly():
        for each in [run(run_id) for run_id in run_ids]:
            with _turn(each.id) as found:
                if found.info.status == "SCHEDULED":
                    _client().set_terminated(each.id, "KILLED")
                elif found.info.status == "RUNNING":
                    _client().set_tag(each.id, "cnnviz.stop", "true")
                elif not ended_ok:
                    raise StoreError(f"{each.name} is not training: there is nothing to stop")


def continue_runs(run_ids: Sequence[str], epochs: int) -> list[str]:
    """Schedule so many more epochs in the same runs. Raises StoreError for one that is still training or waiting."""
    if not 1 <= epochs <= 10_000:
        raise StoreError(f"{epochs} more epochs are out of range: it must be at least 1 and at most 10000")
    with _plainly():
        chosen = [run(run_id) for run_id in run_ids]
        for each in chosen:
            _must_be_idle(each, each.status)
        for each in chosen:
            with _turn(each.id) as found:
                _must_be_idle(each, found.info.status)
                target = max(each.epoch, 0) + epochs
                fresh = {"queued_at": time.time(), "message": "", "stop": "", "stack": ""}
                _tag(each.id, {"target_epochs": target} | fresh)
                _client().update_run(each.id, status="SCHEDULED")
    return [each.id for each in chosen]


def _must_be_idle(each: TrackedRun, status: str) -> None:
    if status in ACTIVE:
        raise StoreError(f"{each.name} ({each.id[:8]}) is still training or waiting: let it finish or stop it")


def delete(run_ids: Sequence[str]) -> None:
    """Hide runs from every list; restore() brings them back, `mlflow gc` frees the disk. Raises StoreError for one that
    is training; one that somebody has deleted already is no error."""
    with _plainly():
        chosen = [run(run_id) for run_id in run_ids if not _is_deleted(run_id)]
        for each in chosen:
            _must_not_train(each, each.status)
        for each in chosen:
            with _turn(each.id) as found:
                _must_not_train(each, found.info.status)
                if found.info.status == "SCHEDULED":
                    _client().set_terminated(each.id, "KILLED")
                if not _is_deleted(each.id):
                    _client().delete_run(each.id)


def _must_not_train(each: TrackedRun, status: str) -> None:
    if status == "RUNNING":
        raise StoreError(f"{each.name} ({each.id[:8]}) is training: stop it first")


def restore(run_ids: Sequence[str]) -> None:
    """Bring deleted runs back; one that is back already is no error."""
    for run_id in run_ids:
        with _turn(run_id):
            if _is_deleted(run_id):
                _client().restore_run(run_id)


def _is_deleted(run_id: str) -> bool:
    return bool(_client().get_run(run_id).info.lifecycle_stage == "deleted")


# -- the worker's hand -----------------------------------------------------------------------------


def start(run_id: str, message: str = "", neighbours: Neighbours | None = None) -> bool:
    """Mark a run as training, beside those neighbours, and say what it recovered from.

    False, and nothing is marked, where somebody stopped or deleted it since it was read from the queue.
    """
    with _turn(run_id) as found:
        if found.info.lifecycle_stage != "active" or found.info.status not in ACTIVE:
            return False
        said = {"message": message} if message else {}  # what happened to it before stays said
        _tag(run_id, said | {"stack": _noted(neighbours)})
        _client().update_run(run_id, status="RUNNING")
    return True


def is_wanted(run_id: str) -> bool:
    """Whether the run is still there to be trained: it may have been deleted elsewhere."""
    with _plainly():
        info = _client().get_run(run_id).info
    return info.lifecycle_stage == "active" and info.status in ACTIVE


def note_neighbours(run_id: str, neighbours: Neighbours) -> None:
    """The stack has become another one. To be called before the epoch is recorded after which it has."""
    with _plainly():
        _tag(run_id, {"stack": _noted(neighbours)})


def _noted(neighbours: Neighbours | None) -> str:
    text = json.dumps(asdict(neighbours), separators=(",", ":")) if neighbours else ""
    return text if len(text) <= _LONGEST_TAG else ""


def record(run_id: str, epoch: int, metrics: Mapping[str, float], segments: Sequence[Segment]) -> None:
    """Write one epoch: all of its metrics in one transaction, at step = epoch.

    The segments go before, in one of their own: killed in between, they are mended from the epochs that are there.
    """
    now = int(time.time() * 1000)
    with _plainly():
        _tag(run_id, {"segments": json.dumps([asdict(segment) for segment in segments])})
        _client().log_batch(run_id, [Metric(name, float(value), now, epoch) for name, value in metrics.items()])


def finish(run_id: str, status: str, message: str | None = None) -> None:
    """FINISHED, FAILED (with the reason) or KILLED; or back to SCHEDULED. message=None leaves what was said before."""
    with _turn(run_id) as found:
        if found.info.lifecycle_stage == "deleted":
            return
        # In this order: killed in between, a failure keeps its reason and a stop is not forgotten.
        if message is not None:
            _tag(run_id, {"message": message})
        if status == "SCHEDULED":
            _client().update_run(run_id, status=status)
        else:
            _client().set_terminated(run_id, status)
        _tag(run_id, {"stop": ""})


def _tag(run_id: str, tags: Mapping[str, object]) -> None:
    _client().log_batch(run_id, tags=[RunTag(f"cnnviz.{name}", str(value)) for name, value in tags.items()])


# -- artifacts -------------------------------------------------------------------------------------


def _artifacts(run_id: str) -> Path:
    """Where this machine keeps a run's artifacts. Found from paths.home(), so a store may be moved with its folder."""
    return paths.home() / "artifacts" / run_id / "artifacts"


def _upload(run_id: str, path: Path, folder: str | None = None) -> None:
    if not _embedded():  # another server keeps its own copy
        _client().log_artifact(run_id, str(path), folder)


def checkpoint_epochs(run_id: str) -> list[int]:
    """Epochs whose weights were kept, in order."""
    folder = _artifacts(run_id) / "checkpoints"
    epochs = (checkpoints.epoch_of(path) for path in folder.glob("*.safetensors"))
    return sorted(epoch for epoch in epochs if epoch is not None)


def save_checkpoint(run_id: str, epoch: int, weights: Mapping[str, Any], optimizer: Mapping[str, Any]) -> None:
    """Keep an epoch's weights, and the optimizer's state of the last two alone. Raises CheckpointError."""
    folder = _artifacts(run_id)
    if (
        _embedded() and not (paths.home() / "mlflow.db").exists()
    ):  # else the folders would be made again, and a store lost
        raise CheckpointError(f"the store in {paths.home()} is gone: it was moved or deleted while a run was training")
    path = folder / "checkpoints" / checkpoints.file_name(epoch)
    if optimizer:
        checkpoints.save(folder / "optimizer" / checkpoints.file_name(epoch), dict(optimizer))
    checkpoints.save(path, dict(weights))
    for stale in (folder / "optimizer").glob("*.safetensors"):
        # The epoch before stays too: this one counts only once its metrics are recorded.
        if (checkpoints.epoch_of(stale) or 0) < epoch - 1:
            stale.unlink()
    _upload(run_id, path, "checkpoints")


def sweep(run_id: str) -> None:
    """Remove halves of files that a killed worker left. For the worker that has taken the run, and no other."""
    for half in _artifacts(run_id).glob("*/*.tmp"):
        half.unlink(missing_ok=True)


def thin_checkpoints(run_id: str, best: int) -> None:
    """Drop what checkpoints.which_to_keep does not keep."""
    folder = _artifacts(run_id) / "checkpoints"
    epochs = checkpoint_epochs(run_id)
    if not epochs:
        return
    size = (folder / checkpoints.file_name(epochs[-1])).stat().st_size
    # Nor the one before the last, for the same reason as above.
    for epoch in set(epochs[:-2]) - checkpoints.which_to_keep(epochs, best, size):
        (folder / checkpoints.file_name(epoch)).unlink(missing_ok=True)


def load_checkpoint(tracked: TrackedRun, epoch: int) -> dict[str, Any]:
    """Weights by name, strictly of the run's architecture. Raises CheckpointError."""
    path = _artifacts(tracked.id) / "checkpoints" / checkpoints.file_name(epoch)
    if not path.exists():
        _download(tracked.id, f"checkpoints/{path.name}")
    if not path.exists():
        kept = ", ".join(map(str, checkpoint_epochs(tracked.id))) or "none"
        raise CheckpointError(f"{tracked.name} has no checkpoint of epoch {epoch}; kept are: {kept}")
    return checkpoints.load(path, tracked.architecture.weight_shapes)


def load_optimizer(tracked: TrackedRun, epoch: int) -> dict[str, Any]:
    """The optimizer's state after that epoch; empty for plain SGD, which has none."""
    path = _artifacts(tracked.id) / "optimizer" / checkpoints.file_name(epoch)
    return checkpoints.load(path) if path.exists() else {}


def _download(run_id: str, name: str) -> None:
    if not _embedded():
        with contextlib.suppress(MlflowException, OSError):
            _client().download_artifacts(run_id, name, str(_artifacts(run_id)))
