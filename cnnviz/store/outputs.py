"""What networks answered on the test pictures, an epoch a file, kept on this machine within a bound.

The folder is a cache of its own beside the artifacts: what is evicted, damaged or of other weights is computed again,
and a folder that cannot be written to is no error. It serves runs of an MLflow server as well, whose files it never
changes.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cnnviz import paths
from cnnviz.errors import CheckpointError
from cnnviz.store import artifacts, caches, checkpoints

MOST_BYTES = 500_000_000  # 2,000 epochs of 10,000 pictures


def load(run_id: str, epoch: int, pictures: str) -> dict[str, Tensor] | None:
    """What was kept of that epoch, if it is of these pictures and of the weights that are on this machine.

    pictures: what tells one set of pictures from another.
    """
    path = _path(run_id, epoch)
    if not path.exists():
        return None
    try:
        about, tensors = checkpoints.metadata(path), checkpoints.load(path)
        path.touch()  # last used now
    except (CheckpointError, OSError):
        return None
    weights = artifacts.fingerprint(run_id, epoch)
    if about.get("pictures") != pictures or (weights and about.get("weights") != weights):
        return None
    return tensors


def epochs(run_id: str) -> list[int]:
    """Those of which something is kept, in order."""
    found = map(checkpoints.epoch_of, (_folder() / run_id).glob("*.safetensors"))
    return sorted(epoch for epoch in found if epoch is not None)


def save(run_id: str, epoch: int, pictures: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep what the network answered after that epoch."""
    path = _path(run_id, epoch)
    about = {"pictures": pictures, "weights": artifacts.fingerprint(run_id, epoch)}
    with contextlib.suppress(CheckpointError, OSError):
        checkpoints.save(path, tensors, about)
        caches.evict(_folder(), MOST_BYTES, path)


def _path(run_id: str, epoch: int) -> Path:
    return _folder() / run_id / checkpoints.file_name(epoch)


def _folder() -> Path:
    return paths.home() / "outputs"
