"""The connection to MLflow: where the store is, how it is made, what its failures are called."""

import contextlib
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported: nothing leaves this machine
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from cnnviz import paths
from cnnviz.errors import CnnvizError, StoreError

logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT = "cnnviz"
_ALL = 10**9  # rows

T = TypeVar("T")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI if it is set, else the embedded SQLite file in paths.home()."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(paths.home() / 'mlflow.db').as_posix()}"


def is_embedded() -> bool:
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
def readable_errors() -> Iterator[None]:
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
def exclusive(run_id: str) -> Iterator[Run]:
    """The run, for one process at a time that reads its status and then changes it.

    So a stop, a deletion and a worker that takes the run do not overtake one another.
    """
    with readable_errors():
        path = paths.home() / "artifacts" / run_id / "status.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path).acquire(timeout=30, poll_interval=0.01):
                yield client().get_run(run_id)
        except Timeout as error:
            raise StoreError(f"another process holds {path} for long: end it, then try again") from error


@cache
def _connect(uri: str, folder: Path) -> tuple[MlflowClient, str]:
    with readable_errors():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the store's folder {folder}: {error.strerror}; set CNNVIZ_HOME") from error
        # Several processes migrating one fresh SQLite file at once break it for good: one at a time. The marker
        # outlives a process killed half way, whose database is then begun again.
        with FileLock(folder / "mlflow.db.lock"):
            database, marker = folder / "mlflow.db", folder / "mlflow.db.unfinished"
            fresh = uri.startswith("sqlite:///") and is_embedded() and (marker.exists() or not database.exists())
            if fresh:
                marker.touch()
                for leftover in folder.glob("mlflow.db*"):
                    if leftover.name not in (marker.name, "mlflow.db.lock"):
                        leftover.unlink()
                with contextlib.closing(sqlite3.connect(database)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the worker; stays set
            client = _Client(uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                location = (folder / "artifacts").as_uri() if is_embedded() else None
                number = client.create_experiment(EXPERIMENT, artifact_location=location)
            elif experiment.lifecycle_stage == "deleted":
                raise StoreError(f"the experiment {EXPERIMENT!r} was deleted in MLflow: restore it there first")
            else:
                number = experiment.experiment_id
                if is_embedded():
                    _mend_artifact_addresses(
                        database, experiment.artifact_location, (folder / "artifacts").as_uri(), number
                    )
            if fresh:
                marker.unlink()
    return client, number


class _Client(MlflowClient):
    """MLflow's client, whose writes are tried again if SQLite's one writer was another for too long.

    SQLite lets whoever asks at the right instant write: eight sessions launching at once can keep one waiting for
    longer than MLflow's 20 s. A write that was refused has changed nothing.
    """

    def create_run(self, *arguments: Any, **options: Any) -> Run:
        return _again_if_locked(super().create_run, *arguments, **options)

    def log_batch(self, *arguments: Any, **options: Any) -> Any:
        return _again_if_locked(super().log_batch, *arguments, **options)

    def set_tag(self, *arguments: Any, **options: Any) -> Any:
        return _again_if_locked(super().set_tag, *arguments, **options)

    def update_run(self, *arguments: Any, **options: Any) -> None:
        _again_if_locked(super().update_run, *arguments, **options)

    def set_terminated(self, *arguments: Any, **options: Any) -> None:
        _again_if_locked(super().set_terminated, *arguments, **options)

    def delete_run(self, *arguments: Any, **options: Any) -> None:
        _again_if_locked(super().delete_run, *arguments, **options)

    def restore_run(self, *arguments: Any, **options: Any) -> None:
        _again_if_locked(super().restore_run, *arguments, **options)


def _again_if_locked(write: Callable[..., T], *arguments: Any, **options: Any) -> T:
    for _ in range(3):
        try:
            return write(*arguments, **options)
        except MlflowException as error:
            if "database is locked" not in str(error):
                raise
            time.sleep(random.uniform(0.1, 1.0))  # noqa: S311, no secret
    return write(*arguments, **options)


def _mend_artifact_addresses(database: Path, noted: str, actual: str, experiment: str) -> None:
    """MLflow notes absolute addresses: after the store's folder was moved, its own UI would look in the old place.

    MLflow's interface cannot change them, so this is the one place that writes to its tables.
    """
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


@cache
def _sql_store(uri: str, artifacts: str) -> SqlAlchemyStore:
    return SqlAlchemyStore(uri, artifacts)


def metric_histories(run_ids: Sequence[str], metric: str) -> list[tuple[str, Metric]]:
    """All that was logged of a metric, each with its run's id: in one query if the store is a database."""
    if not run_ids:
        return []
    uri = tracking_uri()
    if urlsplit(uri).scheme.split("+")[0] not in DATABASE_ENGINES:
        return [(run_id, each) for run_id in run_ids for each in client().get_metric_history(run_id, metric)]
    client()  # the first to connect makes the database
    store = _sql_store(uri, (paths.home() / "artifacts").as_uri())
    return [(each.run_id, each) for each in store.get_metric_history_bulk(list(run_ids), metric, _ALL)]


def client() -> MlflowClient:
    return _connect(tracking_uri(), paths.home())[0]


def experiment() -> str:
    return _connect(tracking_uri(), paths.home())[1]


def tag(run_id: str, tags: Mapping[str, object]) -> None:
    client().log_batch(run_id, tags=[RunTag(f"cnnviz.{name}", str(value)) for name, value in tags.items()])
