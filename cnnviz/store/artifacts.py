"""A run's files: checkpoints, the optimizer's state, its architecture.

This machine's own files come first. With an MLflow server, what they lack is read from there (see downloads).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnviz import paths
from cnnviz.errors import CheckpointError
from cnnviz.store import addresses, checkpoints, downloads
from cnnviz.store.runs import Run


def folder_of(run_id: str) -> Path:
    """Where this machine keeps a run's artifacts. Found from paths.home(), so a store may be moved with its folder."""
    return paths.home() / "artifacts" / run_id / "artifacts"


def upload(run_id: str, path: Path, folder: str | None = None) -> None:
    """Copy a file to the server, if there is one. Raises StoreError."""
    downloads.upload(run_id, path, folder)


def checkpoint_epochs(run_id: str) -> list[int]:
    """Epochs whose weights were kept, here or on the server, in order. Raises StoreError."""
    return sorted(downloads.epochs(run_id, "checkpoints").union(_own_epochs(run_id)))


def epochs_to_open(tracked: Run) -> list[int]:
    """The same, at least one. Raises CheckpointError that says why there is none."""
    if kept := checkpoint_epochs(tracked.id):
        return kept
    if tracked.epoch < 0 and tracked.active:
        raise CheckpointError(f"{tracked.name} has no checkpoint yet: wait for its first epoch")
    places = [str(paths.home()), *([] if addresses.is_embedded() else [addresses.shown()])]
    raise CheckpointError(
        f"{tracked.name} has no checkpoint in {' or on '.join(places)}: train it again, or move its files there"
    )


def _own_epochs(run_id: str) -> list[int]:
    found = map(checkpoints.epoch_of, (folder_of(run_id) / "checkpoints").glob("*.safetensors"))
    return sorted(epoch for epoch in found if epoch is not None)


def save_checkpoint(run_id: str, epoch: int, weights: Mapping[str, Any], optimizer: Mapping[str, Any]) -> None:
    """Keep an epoch's weights, and the optimizer's state of the last two epochs only, here and on the server.

    Raises CheckpointError, or StoreError if the server does not take them.
    """
    # Without this, the folders of a store that was moved away would be made again.
    if addresses.is_embedded() and not (paths.home() / "mlflow.db").exists():
        raise CheckpointError(f"the store in {paths.home()} is gone: it was moved or deleted while a run was training")
    folder, name = folder_of(run_id), checkpoints.file_name(epoch)
    if optimizer:
        checkpoints.save(folder / "optimizer" / name, dict(optimizer))
        upload(run_id, folder / "optimizer" / name, "optimizer")
    checkpoints.save(folder / "checkpoints" / name, dict(weights))
    upload(run_id, folder / "checkpoints" / name, "checkpoints")
    # The epoch before stays too: this one counts only once its metrics are recorded.
    for stale in (folder / "optimizer").glob("*.safetensors"):
        if (checkpoints.epoch_of(stale) or 0) < epoch - 1:
            stale.unlink()
    if optimizer and not addresses.is_embedded():
        downloads.drop_before(run_id, "optimizer", epoch - 1)


def sweep(run_id: str) -> None:
    """Delete half-written files of a killed worker. Only for the worker that has taken the run."""
    for half in folder_of(run_id).glob("*/*.tmp"):
        half.unlink(missing_ok=True)


def thin_checkpoints(run_id: str, best: int) -> None:
    """Delete this machine's checkpoints that checkpoints.which_to_keep does not keep; the server's stay."""
    folder = folder_of(run_id) / "checkpoints"
    epochs = _own_epochs(run_id)
    if not epochs:
        return
    size = (folder / checkpoints.file_name(epochs[-1])).stat().st_size
    # The epoch before the last stays too: the last counts only once its metrics are recorded.
    for epoch in set(epochs[:-2]) - checkpoints.which_to_keep(epochs, best, size):
        (folder / checkpoints.file_name(epoch)).unlink(missing_ok=True)


def load_checkpoint(tracked: Run, epoch: int) -> dict[str, Any]:
    """Weights by name, exactly those of the run's architecture. Raises CheckpointError or StoreError."""
    path = folder_of(tracked.id) / "checkpoints" / checkpoints.file_name(epoch)
    if path.exists():
        return checkpoints.load(path, tracked.architecture.weight_shapes)
    weights = downloads.load(tracked.id, "checkpoints", epoch)
    if weights is None:
        kept = ", ".join(map(str, checkpoint_epochs(tracked.id))) or "none"
        raise CheckpointError(f"{tracked.name} has no checkpoint of epoch {epoch}; kept are: {kept}")
    checkpoints.check(path, weights, tracked.architecture.weight_shapes)
    return weights


def fingerprint(run_id: str, epoch: int) -> str:
    """What tells this epoch's weights from others, without reading them; "" if they are not on this machine."""
    own = folder_of(run_id) / "checkpoints" / checkpoints.file_name(epoch)
    return checkpoints.fingerprint(own) or checkpoints.fingerprint(downloads.cached(run_id, "checkpoints", epoch))


def load_optimizer(tracked: Run, epoch: int) -> dict[str, Any]:
    """The optimizer's state after that epoch; empty for plain SGD, which has none, and if it was not kept.

    Raises CheckpointError or StoreError.
    """
    path = folder_of(tracked.id) / "optimizer" / checkpoints.file_name(epoch)
    if path.exists():
        return checkpoints.load(path)
    return downloads.load(tracked.id, "optimizer", epoch) or {}
