"""Checkpoints that another machine left on the MLflow server: listed, downloaded, checked, cached within bounds.

The cache is a folder of its own, so what is evicted from it is never a file that this machine's training wrote.
"""

import contextlib
import tempfile
import time
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from torch import Tensor

from cnnviz import paths
from cnnviz.errors import CheckpointError
from cnnviz.store import addresses, caches, checkpoints, connection, spool
from cnnviz.store.failures import readable_errors

MOST_BYTES = 1_000_000_000  # of the cache
LIST_AGAIN_SECONDS = 10.0  # a page that is drawn again asks the server no sooner

_listed: dict[tuple[str, str, str], tuple[float, frozenset[int]]] = {}  # store, run, folder → when, epochs


def epochs(run_id: str, folder: str, *, now: bool = False) -> frozenset[int]:
    """Epochs that have a file in that folder on the server, at most LIST_AGAIN_SECONDS ago unless `now`.

    None of the embedded store, which has no files but this machine's. Raises StoreError if the server does not answer.
    """
    if addresses.is_embedded():
        return frozenset()
    key = (addresses.tracking_uri(), run_id, folder)
    asked_at, known = _listed.get(key, (-LIST_AGAIN_SECONDS, frozenset()))
    if now or time.monotonic() - asked_at >= LIST_AGAIN_SECONDS:
        with readable_errors():
            names = [Path(each.path) for each in connection.client().list_artifacts(run_id, folder)]
        known = frozenset(epoch for name in names if (epoch := checkpoints.epoch_of(name)) is not None)
        _listed[key] = time.monotonic(), known
    return known


def load(run_id: str, folder: str, epoch: int) -> dict[str, Tensor] | None:
    """The tensors by name, from the cache or the server; None if the server has no such file.

    A file damaged in the cache or on its way is downloaded again, once. Raises CheckpointError if it is damaged on the
    server, StoreError if the server does not answer.
    """
    path = cached(run_id, folder, epoch)
    if path.exists():
        with contextlib.suppress(CheckpointError, OSError):
            tensors = checkpoints.load(path)
            path.touch()  # last used now
            return tensors
    if epoch not in epochs(run_id, folder) and epoch not in epochs(run_id, folder, now=True):
        return None
    with readable_errors():
        _cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_cache()) as unchecked:
            tensors, file = _download(run_id, f"{folder}/{path.name}", unchecked)
            path.parent.mkdir(parents=True, exist_ok=True)
            file.replace(path)
        caches.evict(_cache(), MOST_BYTES, path)
    return tensors


def _download(run_id: str, name: str, to: str) -> tuple[dict[str, Tensor], Path]:
    for attempt in (1, 2):
        file = Path(connection.client().download_artifacts(run_id, name, to))
        try:
            return checkpoints.load(file), file
        except CheckpointError as error:
            if attempt == 2:
                whose = f"{name} of run {run_id[:8]} is damaged on {addresses.shown()}"
                raise CheckpointError(f"{whose}: {checkpoints.REMEDY}") from error
    raise AssertionError  # the second attempt returns or raises


def upload(run_id: str, path: Path, folder: str | None = None) -> None:
    """Copy a file of cnnviz's to the server, if there is one. Raises StoreError."""
    if not addresses.is_embedded():
        _upload(run_id, str(path.relative_to(paths.home())), folder)


@spool.operation
def _upload(run_id: str, name: str, folder: str | None) -> None:
    path = paths.home() / name
    if path.exists():  # written late, it may have been deleted meanwhile, as not all epochs are kept
        with readable_errors():
            connection.client().log_artifact(run_id, str(path), folder)


@spool.operation
def drop_before(run_id: str, folder: str, epoch: int) -> None:
    """Delete the folder's files of epochs before that one on the server. One that does not allow it keeps them."""
    if stale := [each for each in epochs(run_id, folder, now=True) if each < epoch]:
        with readable_errors():
            uri = connection.client().get_run(run_id).info.artifact_uri
            repository = get_artifact_repository(uri, tracking_uri=addresses.tracking_uri())
            for each in stale:
                with contextlib.suppress(Exception):  # each kind of repository raises its own
                    repository.delete_artifacts(f"{folder}/{checkpoints.file_name(each)}")


def cached(run_id: str, folder: str, epoch: int) -> Path:
    """Where that file is, once it has been downloaded."""
    return _cache() / run_id / folder / checkpoints.file_name(epoch)


def _cache() -> Path:
    return paths.home() / "downloads"
