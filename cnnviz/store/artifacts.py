"""A run's files: checkpoints, the optimizer's state, its architecture."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from cnnviz import paths
from cnnviz.errors import CheckpointError
from cnnviz.store import checkpoints, connection
from cnnviz.store.runs import Run


def folder_of(run_id: str) -> Path:
    """Where this machine keeps a run's artifacts. Found from paths.home(), so a store may be moved with its folder."""
    return paths.home() / "artifacts" / run_id / "artifacts"


def upload(run_id: str, path: Path, folder: str | None = None) -> None:
    if not connection.is_embedded():  # another server keeps its own copy
        connection.client().log_artifact(run_id, str(path), folder)


def checkpoint_epochs(run_id: str) -> list[int]:
    """Epochs whose weights were kept, in order."""
    folder = folder_of(run_id) / "checkpoints"
    epochs = (checkpoints.epoch_of(path) for path in folder.glob("*.safetensors"))
    return sorted(epoch for epoch in epochs if epoch is not None)


def save_checkpoint(run_id: str, epoch: int, weights: Mapping[str, Any], optimizer: Mapping[str, Any]) -> None:
    """Keep an epoch's weights, and the optimizer's state of the last two alone. Raises CheckpointError."""
    folder = folder_of(run_id)
    if (
        connection.is_embedded() and not (paths.home() / "mlflow.db").exists()
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
    upload(run_id, path, "checkpoints")


def sweep(run_id: str) -> None:
    """Remove halves of files that a killed worker left. For the worker that has taken the run, and no other."""
    for half in folder_of(run_id).glob("*/*.tmp"):
        half.unlink(missing_ok=True)


def thin_checkpoints(run_id: str, best: int) -> None:
    """Drop what checkpoints.which_to_keep does not keep."""
    folder = folder_of(run_id) / "checkpoints"
    epochs = checkpoint_epochs(run_id)
    if not epochs:
        return
    size = (folder / checkpoints.file_name(epochs[-1])).stat().st_size
    # Nor the one before the last, for the same reason as above.
    for epoch in set(epochs[:-2]) - checkpoints.which_to_keep(epochs, best, size):
        (folder / checkpoints.file_name(epoch)).unlink(missing_ok=True)


def load_checkpoint(tracked: Run, epoch: int) -> dict[str, Any]:
    """Weights by name, strictly of the run's architecture. Raises CheckpointError."""
    path = folder_of(tracked.id) / "checkpoints" / checkpoints.file_name(epoch)
    if not path.exists():
        _download(tracked.id, f"checkpoints/{path.name}")
    if not path.exists():
        kept = ", ".join(map(str, checkpoint_epochs(tracked.id))) or "none"
        raise CheckpointError(f"{tracked.name} has no checkpoint of epoch {epoch}; kept are: {kept}")
    return checkpoints.load(path, tracked.architecture.weight_shapes)


def load_optimizer(tracked: Run, epoch: int) -> dict[str, Any]:
    """The optimizer's state after that epoch; empty for plain SGD, which has none."""
    path = folder_of(tracked.id) / "optimizer" / checkpoints.file_name(epoch)
    return checkpoints.load(path) if path.exists() else {}


def _download(run_id: str, name: str) -> None:
    if not connection.is_embedded():
        with contextlib.suppress(MlflowException, OSError):
            connection.client().download_artifacts(run_id, name, str(folder_of(run_id)))
