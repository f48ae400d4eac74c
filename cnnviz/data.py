"""The two data sets as tensors: CIFAR-10, and a synthetic one that needs no network.

Pictures stay uint8 (N, 32, 32, 3): a quarter of the memory, and already in the channels-last order that convolutions
like best. The training step normalises the few it looks at.
"""

import http.client
import os
import tarfile
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnviz import paths, synthetic
from cnnviz.errors import DataError
from cnnviz.synthetic import Progress

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = STD = 0.5  # of pixels scaled to 0…1, as in PyTorch's CIFAR-10 tutorial
TITLES = {"cifar10": "CIFAR-10", "synthetic": "Synthetic shapes (not CIFAR-10)"}

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
FILES = (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta")
TIMEOUT = 30  # seconds without a byte after which a download is given up
ELSEWHERE = (
    f"choose the synthetic set, or put {FOLDER} or {ARCHIVE} there, or set CNNVIZ_DATA to the folder that holds it"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test pictures with their labels, on one device."""

    name: str  # "cifar10" or "synthetic"
    title: str  # for people
    classes: tuple[str, ...]  # label → name
    train_images: Tensor  # uint8 (50000, 32, 32, 3)
    train_labels: Tensor  # int64 (50000,)
    test_images: Tensor  # uint8 (10000, 32, 32, 3)
    test_labels: Tensor  # int64 (10000,)

    @property
    def synthetic(self) -> bool:
        return self.name == "synthetic"

    def limited(self, n: int) -> "Dataset":
        """The first n training pictures and the whole test set; n = 0: everything."""
        return replace(self, train_images=self.train_images[:n], train_labels=self.train_labels[:n]) if n else self

    def to(self, device: torch.device | str) -> "Dataset":
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})


_TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 32, 32, 3) → float32 (N, 3, 32, 32) from -1 to 1, in channels-last memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / (255 * STD) - MEAN / STD


def batch_order(seed: int, epoch: int, size: int) -> Tensor:
    """The order in which an epoch visits its pictures: a permutation, int64 (size,), of (seed, epoch) alone.

    It ranks raw PCG64 draws, which NumPy promises never to change; its own shuffles carry no such promise.
    """
    draws = np.random.PCG64([seed, epoch]).random_raw(size)
    return torch.from_numpy(np.argsort(draws, kind="stable").astype(np.int64))


def available(name: str) -> bool:
    """Whether load(name) needs no network, as far as the files' names tell; their checksums are load's to verify."""
    _known(name)
    root = paths.data_root()
    unpacked = all((root / FOLDER / file).is_file() for file in FILES)
    return name == "synthetic" or unpacked or (root / ARCHIVE).is_file()


def load(name: str, on_progress: Progress | None = None) -> Dataset:
    """The data set of that name, on the CPU, its checksums verified.

    CIFAR-10 is fetched into paths.data_root() where it is missing; the synthetic set is drawn, and kept there.

    Raises DataError, with the remedy, for an unknown name, a damaged file or a download that fails.
    """
    _known(name)
    if name == "synthetic":
        return Dataset(name, TITLES[name], synthetic.CLASSES, *_load_synthetic(on_progress or _silent))
    try:
        tensors = _read_cifar10()
    except (RuntimeError, OSError):  # torchvision's word for a file that is missing or fails its checksum; unreadable
        fetch(on_progress)
        tensors = _read_cifar10()
    return Dataset(name, TITLES[name], CLASSES, *tensors)


def check(name: str = "cifar10") -> str:
    """One line that says the data set is whole. Raises DataError naming the first missing or damaged file."""
    _known(name)
    if name == "synthetic":
        state = "whole" if _kept_synthetic() else "drawn at its next use"
        return f"{TITLES[name]}: {state}, {_synthetic_path()}"
    folder = paths.data_root() / FOLDER
    for file, fault in _faults(folder).items():
        raise _broken(folder / file, fault)
    return f"{TITLES[name]}: all {len(FILES)} files in {folder} have the right checksum"


# -- CIFAR-10 ------------------------------------------------------------------------------------


def fetch(on_progress: Progress | None = None) -> None:
    """Put the files of CIFAR-10 that are missing into paths.data_root(): from an archive lying there, else from URL.

    Nothing is put in place before its checksum is right. A damaged file is replaced in the project's own folder; in a
    folder that CNNVIZ_DATA names it is the user's, and only reported.

    Raises DataError with the remedy: a damaged file of the user's, no network, a broken download, a full disk.
    """
    progress = on_progress or _silent
    root = paths.data_root()
    faults = _faults(root / FOLDER)
    if not faults:
        return
    for file, fault in faults.items():
        if fault != "missing":
            if os.environ.get("CNNVIZ_DATA"):
                raise _broken(root / FOLDER / file, fault)
            progress(f"{file} is {fault}: replacing it", 0.0)
    own = _own_archive(root, progress)
    if not own and os.environ.get("CNNVIZ_OFFLINE", "") not in ("", "0"):
        raise DataError(f"CIFAR-10 is not whole in {root} and CNNVIZ_OFFLINE forbids to fetch it: {ELSEWHERE}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=root) as name:
            work = Path(name)
            _unpack(own or _fresh_archive(work, progress), work, progress)
            (root / FOLDER).mkdir(exist_ok=True)
            for file in faults:
                (work / FOLDER / file).replace(root / FOLDER / file)
    except OSError as error:
        raise DataError(f"CIFAR-10 cannot be stored in {root} ({_reason(error)}): {ELSEWHERE}") from error


def _own_archive(root: Path, progress: Progress) -> Path | None:
    """The archive that somebody has put into root, if it is whole."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    path = root / ARCHIVE
    if path.is_file() and not check_integrity(path, CIFAR10.tgz_md5):
        progress(f"{path} is damaged: it is not used", 0.0)
        return None
    return path if path.is_file() else None


def _fresh_archive(folder: Path, progress: Progress) -> Path:
    """The archive from URL, in folder, verified."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    path = folder / ARCHIVE
    try:
        _download(URL, path, progress)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"CIFAR-10 cannot be fetched from {URL} ({_reason(error)}): try again later, or {ELSEWHERE}"
        ) from error
    if not check_integrity(path, CIFAR10.tgz_md5):
        raise DataError(f"what {URL} sent is not CIFAR-10, its checksum is wrong: try again later, or {ELSEWHERE}")
    return path


def _download(url: str, path: Path, progress: Progress) -> None:
    """url → path. Raises OSError where the server cannot be reached, falls silent or sends less than it promised."""
    received = 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:  # noqa: S310, a constant
        promised = int(response.headers.get("Content-Length") or 0)
        while block := response.read(1 << 20):
            received += file.write(block)
            progress(f"fetching CIFAR-10: {received / 1e6:.0f} MB", received / promised if promised else 0.0)
    if received < promised:
        raise OSError(f"it broke off after {received:,} of {promised:,} bytes")


def _unpack(archive: Path, work: Path, progress: Progress) -> None:
    progress("unpacking CIFAR-10", 1.0)
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    if faults := _faults(work / FOLDER):
        raise OSError(f"{next(iter(faults))} came out of the archive {next(iter(faults.values()))}")


def _read_cifar10() -> tuple[Tensor, ...]:
    """Raises RuntimeError, as torchvision does, for a file that is missing or fails its checksum."""
    from torchvision.datasets import CIFAR10

    parts = []
    for file in [*CIFAR10.train_list, *CIFAR10.test_list]:  # one by one: all at once take three times the memory
        part = type("Part", (CIFAR10,), {"train_list": [file], "test_list": []})(paths.data_root())
        parts.append((torch.from_numpy(part.data).contiguous(), torch.tensor(part.targets)))
    (*train, test) = parts
    images, labels = zip(*train, strict=True)
    return torch.cat(images), torch.cat(labels), *test


def _faults(folder: Path) -> dict[str, str]:
    """File → what is wrong with it: "missing", "damaged" or "unreadable"."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    checksums = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    faults = {}
    for file in FILES:
        try:
            if not (folder / file).is_file():
                faults[file] = "missing"
            elif not check_integrity(folder / file, checksums[file]):
                faults[file] = "damaged"
        except OSError:
            faults[file] = "unreadable"
    return faults


def _broken(path: Path, fault: str) -> DataError:
    remedy = "" if fault == "missing" else "delete it, and CIFAR-10 is fetched again at its next use; or "
    return DataError(f"{path} is {fault}: {remedy}{ELSEWHERE}")


# -- the synthetic set ---------------------------------------------------------------------------


def _load_synthetic(progress: Progress) -> tuple[Tensor, ...]:
    arrays = _kept_synthetic()
    if not arrays:
        arrays = [*synthetic.draw("train", 50_000, progress), *synthetic.draw("test", 10_000, progress)]
        _keep_synthetic(arrays)
    return tuple(torch.from_numpy(array) for array in arrays)


def _synthetic_path() -> Path:
    return paths.data_root() / f"synthetic-v{synthetic.VERSION}.npz"


def _kept_synthetic() -> list[np.ndarray]:
    """The four arrays as they were kept; none where they are not or are damaged: the archive has its own checksums."""
    try:
        with _synthetic_path().open("rb") as file, np.load(file) as kept:
            return [kept[name] for name in _TENSORS]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return []


def _keep_synthetic(arrays: list[np.ndarray]) -> None:
    """Spares the next load a few seconds; a folder that cannot be written to is no reason to fail."""
    path = _synthetic_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=path.parent) as work:
            named: dict[str, Any] = dict(zip(_TENSORS, arrays, strict=True))
            np.savez(Path(work) / path.name, **named)
            (Path(work) / path.name).replace(path)
    except OSError:
        return


def _known(name: str) -> None:
    if name not in TITLES:
        raise DataError(f"data set {name!r} is not known: choose one of {', '.join(TITLES)}")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__


def _silent(message: str, fraction: float) -> None:
    pass
