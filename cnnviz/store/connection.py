"""The connection to MLflow: how the store is made and opened, and how long is waited for a server."""

import contextlib
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from cnnviz import paths
from cnnviz.errors import StoreError, UnreachableError
from cnnviz.store import addresses, failures
from cnnviz.store.failures import readable_errors

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it logs with a traceback is raised, too
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT = "cnnviz"  # as it is called at first: it may be renamed
_OURS = "cnnviz.experiment"  # the tag by which it is found again
_ALL = 10**9  # rows

T = TypeVar("T")


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


# -- waiting for a server ----------------------------------------------------------------------------

_wait: ContextVar[Callable[[UnreachableError], None] | None] = ContextVar("wait", default=None)


@contextlib.contextmanager
def patient(wait: Callable[[UnreachableError], None] | None) -> Iterator[None]:
    """Within it, what a server did not answer is asked again whenever wait(error) returns. None: not at all."""
    before = _wait.set(wait)
    try:
        yield
    finally:
        _wait.reset(before)


def _persistently(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """The call's result. Tried again if the store's one writer was another for too long, and as patient() says.

    SQLite lets whoever asks at the right instant write: eight sessions launching at once can keep one waiting for
    longer than MLflow's 20 s. A write that was refused has changed nothing; what a server may have carried out without
    saying so, it takes a second time without a difference.
    """
    refusals = 0
    while True:
        try:
            return call(*arguments, **options)
        except Exception as error:
            wait = _wait.get()
            if isinstance(error, MlflowException) and "database is locked" in str(error) and refusals < 3:
                refusals += 1
                time.sleep(random.uniform(0.1, 1.0))  # noqa: S311, no secret
            elif wait and failures.is_unreachable(error):
                wait(failures.unreachable(error))
            else:
                raise


class _Client(MlflowClient):
    """MLflow's client, whose calls are tried again where that helps."""

    PERSISTENT = frozenset(
        {
            *("create_run", "log_batch", "log_param", "set_tag", "update_run", "set_terminated"),
            *("delete_run", "restore_run"),
            *("get_run", "search_runs", "get_metric_history", "metric_history_bulk"),
            *("list_artifacts", "download_artifacts", "log_artifact"),
        }
    )

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(_persistently, found) if name in _Client.PERSISTENT else found

    def metric_history_bulk(self, run_ids: Sequence[str], metric: str) -> list[Any]:
        """Of a database, whose store MLflow's client has: another one would look through MLflow's migrations again."""
        found: list[Any] = self._tracking_client.store.get_metric_history_bulk(list(run_ids), metric, _ALL)
        return found


# -- opening the store -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Connection:
    client: _Client
    experiment: str
    uri: str  # as it was opened
    read_only: bool = False


def _connection() -> _Connection:
    with readable_errors():
        while True:
            try:
                failures.must_answer(addresses.tracking_uri())
                return _connect(addresses.tracking_uri(), paths.home(), _read_only())
            except UnreachableError as error:
                wait = _wait.get()
                if not wait:
                    raise
                wait(error)


def _read_only() -> str:
    """The address to open the embedded store with if nothing can be written to it; empty if it can, or is to be made.

    SQLite makes files beside one in WAL mode even to read it. Where it cannot, the file is opened as one that does not
    change; the time of its last change makes it another address whenever that was not so.
    """
    database = addresses.database()
    if (
        not addresses.is_embedded()
        or not database.exists()
        or (os.access(database, os.W_OK) and os.access(database.parent, os.W_OK))
    ):
        return ""
    uri = addresses.opened_read_only(database, mode="ro")
    with contextlib.suppress(sqlite3.OperationalError):
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master")
        return uri
    log = database.with_name("mlflow.db-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(f"the store in {database.parent} cannot be read without writing there: allow it, or copy it")
    return addresses.opened_read_only(database, immutable="1", changed=str(database.stat().st_mtime_ns))


@cache
def _connect(uri: str, folder: Path, read_only: str) -> _Connection:
    if read_only:
        client = _Client(read_only)
        found = _found_experiment(client)
        if found is None:
            raise StoreError(f"the store in {folder} has no runs of cnnviz, and nothing can be written there")
        return _Connection(client, found.experiment_id, uri=read_only, read_only=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the store's folder {folder}: {error.strerror}; set CNNVIZ_HOME") from error
    # Several processes migrating one fresh SQLite file at once break it for good: one at a time. The marker
    # outlives a process killed half way, whose database is then begun again.
    with FileLock(folder / "mlflow.db.lock"):
        database, marker = folder / "mlflow.db", folder / "mlflow.db.unfinished"
        fresh = addresses.is_embedded() and (marker.exists() or not database.exists())
        if fresh:
            marker.touch()
            for leftover in folder.glob("mlflow.db*"):
                if leftover.name not in (marker.name, "mlflow.db.lock"):
                    leftover.unlink()
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the worker; stays set
        location = (folder / "artifacts").as_uri()
        if fresh:
            SqlAlchemyStore(uri, location)  # before the client, which would put MLflow's own experiment elsewhere
        client = _Client(uri)
        found = _found_experiment(client, location)
        if found is None:
            number = client.create_experiment(EXPERIMENT, addresses.artifact_root(), {_OURS: "true"})
        elif found.lifecycle_stage == "deleted":
            raise StoreError(f"the experiment {found.name!r} was deleted in MLflow: restore it there first")
        else:
            number = found.experiment_id
            if _OURS not in found.tags:
                with contextlib.suppress(MlflowException):  # a server may allow reading alone
                    client.set_experiment_tag(number, _OURS, "true")
            if addresses.is_embedded():
                _mend_artifact_addresses(database, found.artifact_location, location, number)
        if fresh:
            marker.unlink()
    return _Connection(client, number, uri)


def _found_experiment(client: MlflowClient, location: str = "") -> Experiment | None:
    """cnnviz's experiment, by its tag, as it may have been renamed; those of earlier versions have a name, and a place
    for their artifacts, alone. A deleted one only if there is no other."""
    tagged = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{_OURS}` = 'true'")
    named = client.get_experiment_by_name(EXPERIMENT)
    candidates = [*sorted(tagged, key=lambda each: each.name != EXPERIMENT), *([named] if named else [])]
    if not candidates and location:
        candidates = [each for each in client.search_experiments() if each.artifact_location == location]
    return min(candidates, key=lambda each: each.lifecycle_stage == "deleted", default=None)


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


# -- what the others use -----------------------------------------------------------------------------


def metric_histories(run_ids: Sequence[str], metric: str) -> list[tuple[str, Metric]]:
    """All that was logged of a metric, each with its run's id: in one query if the store is a database."""
    if not run_ids:
        return []
    connected = _connection()
    if urlsplit(connected.uri).scheme.split("+")[0] not in DATABASE_ENGINES:
        return [(run_id, each) for run_id in run_ids for each in connected.client.get_metric_history(run_id, metric)]
    return [(each.run_id, each) for each in connected.client.metric_history_bulk(run_ids, metric)]


def is_read_only() -> bool:
    """Whether the store can be looked at and not changed. Raises StoreError."""
    return _connection().read_only


def client() -> MlflowClient:
    return _connection().client


def experiment() -> str:
    return _connection().experiment


def tag(run_id: str, tags: Mapping[str, object]) -> None:
    """Write these tags of cnnviz in one transaction."""
    client().log_batch(run_id, tags=as_tags(tags))


def as_tags(tags: Mapping[str, object]) -> list[RunTag]:
    return [RunTag(f"cnnviz.{name}", str(value)) for name, value in tags.items()]
