"""The two data sets by name: CIFAR-10, and a synthetic one that needs no download."""

import torch

from cnnviz import paths
from cnnviz.data import cifar10, synthetic
from cnnviz.data.cifar10 import CLASSES, fetch
from cnnviz.data.dataset import TITLES, Dataset, Progress, batch_order, shuffled_labels, silent, sorted_order
from cnnviz.data.pixels import UNIT, Scale, normalise, scale_of
from cnnviz.errors import DataError

__all__ = [
    "CLASSES",
    "TITLES",
    "UNIT",
    "Dataset",
    "Progress",
    "Scale",
    "available",
    "batch_order",
    "check",
    "fetch",
    "load",
    "load_test",
    "normalise",
    "scale_of",
    "shuffled_labels",
    "sorted_order",
]


def available(name: str) -> bool:
    """Whether load(name) works offline, judged by the files' names; load() verifies their checksums."""
    _must_be_known(name)
    return name == "synthetic" or cifar10.available()


def load(name: str, on_progress: Progress | None = None) -> Dataset:
    """The data set of that name, on the CPU, its checksums verified.

    CIFAR-10 is downloaded into paths.data_root() if it is missing; the synthetic set is drawn once and kept there.

    Raises DataError, with the remedy, for an unknown name, a damaged file or a download that fails.
    """
    _must_be_known(name)
    if name == "synthetic":
        return Dataset(name, TITLES[name], synthetic.CLASSES, *synthetic.load(on_progress or silent))
    try:
        tensors = cifar10.read()
    except (RuntimeError, OSError):  # missing or damaged, for which torchvision has a RuntimeError; unreadable
        fetch(on_progress)
        tensors = cifar10.read()
    return Dataset(name, TITLES[name], CLASSES, *tensors)


def load_test(name: str) -> Dataset:
    """The data set without its training pictures, of which none are in it: it takes a fraction of the time.

    Raises DataError if it is not complete on the disk.
    """
    _must_be_known(name)
    classes = synthetic.CLASSES if name == "synthetic" else CLASSES
    nothing = torch.empty(0)
    try:
        images, labels = synthetic.kept_test() if name == "synthetic" else cifar10.read_test()
    except (RuntimeError, OSError) as error:
        raise DataError(f"{TITLES[name]} is not complete in {paths.data_root()}: load it whole first") from error
    return Dataset(name, TITLES[name], classes, nothing, nothing, images, labels)


def check(name: str = "cifar10") -> str:
    """One line that confirms the data set is complete. Raises DataError naming the first missing or damaged file."""
    _must_be_known(name)
    if name == "synthetic":
        state = "whole" if synthetic.kept() else "drawn at its next use"
        return f"{TITLES[name]}: {state}, {synthetic.path()}"
    cifar10.check()
    folder = paths.data_root() / cifar10.FOLDER
    return f"{TITLES[name]}: all {len(cifar10.FILES)} files in {folder} have the right checksum"


def _must_be_known(name: str) -> None:
    if name not in TITLES:
        raise DataError(f"data set {name!r} is not known: choose one of {', '.join(TITLES)}")
