"""A data set as tensors, and what training needs of it: the pictures of a split, the order of the batches.

Pictures stay uint8 (N, 32, 32, 3): a quarter of float32's memory, and already in channels-last order, in which
convolutions run fastest. Each training step normalises its own batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

TITLES = {"cifar10": "CIFAR-10", "synthetic": "Synthetic shapes (not CIFAR-10)"}
TENSORS = ("train_images", "train_labels", "test_images", "test_labels")
VALIDATION = ("validation_images", "validation_labels")

Progress = Callable[[str, float], None]  # (what is being done, the fraction that is done: 0…1)


def silent(message: str, fraction: float) -> None:
    """Progress that is not reported."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test pictures with their labels, on one device."""

    name: str  # "cifar10" or "synthetic"
    title: str  # for the screen
    classes: tuple[str, ...]  # label → name
    train_images: Tensor  # uint8 (50000, 32, 32, 3)
    train_labels: Tensor  # int64 (50000,)
    test_images: Tensor  # uint8 (10000, 32, 32, 3)
    test_labels: Tensor  # int64 (10000,)
    validation_images: Tensor | None = None  # held out of the training pictures
    validation_labels: Tensor | None = None

    @property
    def synthetic(self) -> bool:
        return self.name == "synthetic"

    def limited(self, n: int, held_out: int = 0) -> "Dataset":
        """The first n training pictures, or all of them for n = 0, and the whole test set.

        held_out: so many of all training pictures, the last, become the validation set: the same for every n and seed,
        so that runs can be compared by it.
        """
        if held_out:
            kept = len(self.train_labels) - held_out
            rest = replace(self, train_images=self.train_images[:kept], train_labels=self.train_labels[:kept])
            pictures, labels = self.train_images[kept:], self.train_labels[kept:]
            return replace(rest.limited(n), validation_images=pictures, validation_labels=labels)
        return replace(self, train_images=self.train_images[:n], train_labels=self.train_labels[:n]) if n else self

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set with its tensors on that device."""
        names = (*TENSORS, *(VALIDATION if self.validation_images is not None else ()))
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def batch_order(seed: int, epoch: int, size: int) -> Tensor:
    """The order of an epoch's pictures: a permutation, int64 (size,), that depends on (seed, epoch) alone.

    It ranks raw PCG64 draws, whose values NumPy guarantees for all versions; its shuffles have no such guarantee.
    """
    draws = np.random.PCG64([seed, epoch]).random_raw(size)
    return torch.from_numpy(np.argsort(draws, kind="stable").astype(np.int64))


def sorted_order(labels: Tensor) -> Tensor:
    """The order of an epoch whose pictures are sorted by class, and never shuffled: int64, as batch_order."""
    return torch.argsort(labels.cpu(), stable=True)


def shuffled_labels(labels: Tensor, seed: int) -> Tensor:
    """The same labels, each at another picture: a permutation that depends on the seed alone (Zhang et al. 2017)."""
    draws = np.random.PCG64([seed, 0, 3]).random_raw(len(labels))
    return labels[torch.from_numpy(np.argsort(draws, kind="stable").astype(np.int64)).to(labels.device)]
