"""A substitute for CIFAR-10 that is drawn, not downloaded (see shapes), and kept on disk."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnviz import paths
from cnnviz.data.dataset import TENSORS, Progress
from cnnviz.data.shapes import CLASSES, VERSION, draw

__all__ = ["CLASSES", "VERSION", "draw", "kept", "kept_test", "load", "path"]


def load(progress: Progress) -> tuple[torch.Tensor, ...]:
    """Training pictures and labels, test pictures and labels, as of draw(): from disk, else drawn and stored there."""
    arrays = kept()
    if not arrays:
        arrays = [*draw("train", 50_000, progress), *draw("test", 10_000, progress)]
        _keep(arrays)
    return tuple(torch.from_numpy(array) for array in arrays)


def path() -> Path:
    """Path of the file in which the drawn set is kept."""
    return paths.data_root() / f"synthetic-v{VERSION}.npz"


def kept() -> list[np.ndarray]:
    """The four arrays from disk; none if they are missing or damaged, by the archive's own checksums."""
    try:
        with path().open("rb") as file, np.load(file) as archive:
            return [archive[name] for name in TENSORS]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return []


def kept_test() -> tuple[torch.Tensor, torch.Tensor]:
    """The test pictures and labels from disk. Raises OSError if they are not there, or damaged."""
    try:
        with path().open("rb") as file, np.load(file) as archive:
            images, labels = (torch.from_numpy(archive[name]) for name in TENSORS[2:])
    except (EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise OSError(f"{path()} is damaged") from error
    return images, labels


def _keep(arrays: list[np.ndarray]) -> None:
    """Store the arrays, which saves the next load a few seconds; a folder that cannot be written to is no error."""
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=target.parent) as work:
            named: dict[str, Any] = dict(zip(TENSORS, arrays, strict=True))
            np.savez(Path(work) / target.name, **named)
            (Path(work) / target.name).replace(target)
    except OSError:
        return
