"""CIFAR-10: found, downloaded, verified and read, through torchvision."""

import http.client
import os
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from cnnviz import paths
from cnnviz.data.dataset import Progress, silent
from cnnviz.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE, FOLDER = paths.CIFAR10_ARCHIVE, paths.CIFAR10_FOLDER
FILES = (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta")
TIMEOUT = 30  # seconds without a byte after which a download is given up
REMEDY = f"choose the synthetic set, or put {FOLDER} or {ARCHIVE} there, or set CNNVIZ_DATA to the folder that holds it"


def available() -> bool:
    """Whether read() works offline, judged by the files' names alone."""
    root = paths.data_root()
    return all((root / FOLDER / file).is_file() for file in FILES) or (root / ARCHIVE).is_file()


def check() -> None:
    """Raises DataError naming the first file that is missing or damaged."""
    folder = paths.data_root() / FOLDER
    for file, fault in _faults(folder).items():
        raise _broken(folder / file, fault)


def fetch(on_progress: Progress | None = None) -> None:
    """Put the missing files of CIFAR-10 into paths.data_root(): from an archive in that folder, else from URL.

    No file is put in place before its checksum is verified. A damaged file in the project's own folder is replaced; in
    a folder that CNNVIZ_DATA names it belongs to the user, and is only reported.

    Raises DataError with the remedy: for a damaged file of the user's, no network, a broken download, a full disk.
    """
    progress = on_progress or silent
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
        raise DataError(f"CIFAR-10 is incomplete in {root} and CNNVIZ_OFFLINE forbids downloading it: {REMEDY}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=root) as name:
            work = Path(name)
            _unpack(own or _fresh_archive(work, progress), work, progress)
            (root / FOLDER).mkdir(exist_ok=True)
            for file in faults:
                (work / FOLDER / file).replace(root / FOLDER / file)
    except OSError as error:
        raise DataError(f"CIFAR-10 cannot be stored in {root} ({_reason(error)}): {REMEDY}") from error


def _own_archive(root: Path, progress: Progress) -> Path | None:
    """The archive that the user has put into root, if its checksum is right."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    path = root / ARCHIVE
    if path.is_file() and not check_integrity(path, CIFAR10.tgz_md5):
        progress(f"{path} is damaged and is ignored", 0.0)
        return None
    return path if path.is_file() else None


def _fresh_archive(folder: Path, progress: Progress) -> Path:
    """The archive, downloaded from URL into the folder and verified."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    path = folder / ARCHIVE
    try:
        _download(URL, path, progress)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"CIFAR-10 cannot be downloaded from {URL} ({_reason(error)}): try again later, or {REMEDY}"
        ) from error
    if not check_integrity(path, CIFAR10.tgz_md5):
        raise DataError(f"{URL} sent something other than CIFAR-10 (wrong checksum): try again later, or {REMEDY}")
    return path


def _download(url: str, path: Path, progress: Progress) -> None:
    """url → path. Raises OSError if the server cannot be reached, stops sending or sends less than it announced."""
    received = 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:  # noqa: S310, a constant
        announced = int(response.headers.get("Content-Length") or 0)
        while block := response.read(1 << 20):
            received += file.write(block)
            progress(f"downloading CIFAR-10: {received / 1e6:.0f} MB", received / announced if announced else 0.0)
    if received < announced:
        raise OSError(f"the download ended after {received:,} of {announced:,} bytes")


def _unpack(archive: Path, work: Path, progress: Progress) -> None:
    progress("unpacking CIFAR-10", 1.0)
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    if faults := _faults(work / FOLDER):
        raise OSError(f"{next(iter(faults))} from the archive is {next(iter(faults.values()))}")


def read() -> tuple[Tensor, ...]:
    """Training pictures, uint8 (50000, 32, 32, 3), and labels, int64 (50000,); the same of the 10,000 test pictures.

    Raises RuntimeError, as torchvision does, for a file that is missing or fails its checksum.
    """
    from torchvision.datasets import CIFAR10

    # one by one: all at once need three times the memory
    images, labels = zip(*map(_read_file, CIFAR10.train_list), strict=True)
    return torch.cat(images), torch.cat(labels), *read_test()


def read_test() -> tuple[Tensor, Tensor]:
    """The test pictures and labels alone, as read() has them."""
    from torchvision.datasets import CIFAR10

    return _read_file(CIFAR10.test_list[0])


def _read_file(file: list[str]) -> tuple[Tensor, Tensor]:
    from torchvision.datasets import CIFAR10

    part = type("Part", (CIFAR10,), {"train_list": [file], "test_list": []})(paths.data_root())
    return torch.from_numpy(part.data).contiguous(), torch.tensor(part.targets)


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
    remedy = "" if fault == "missing" else "delete it, and CIFAR-10 is downloaded again at its next use; or "
    return DataError(f"{path} is {fault}: {remedy}{REMEDY}")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
