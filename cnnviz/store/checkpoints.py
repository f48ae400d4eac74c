"""Weights in safetensors files: written whole or not at all, never unpickled, a flipped bit found on reading.

safetensors has no checksum of its own, so the file's metadata holds a SHA-256 of everything else in it.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import safetensors.torch
import torch
from torch import Tensor

from cnnviz.errors import CheckpointError

KEEP_ALL_BELOW = 2_000_000  # bytes: every epoch of a network this small is kept
MOST_BETWEEN = 8  # checkpoints of a larger network kept between its first and its last

REMEDY = "choose another epoch, or continue the run from the one before"
_CHECKSUM = "sha256"
_LONGEST_HEADER = 1_000_000  # bytes: a damaged length asks for no more
_FILE_NAME = re.compile(r"epoch-(\d{4,})\.safetensors")


def file_name(epoch: int) -> str:
    """
    >>> file_name(7)
    'epoch-0007.safetensors'
    """
    return f"epoch-{epoch:04d}.safetensors"


def epoch_of(path: Path) -> int | None:
    """The epoch in a checkpoint's file name; None if it is not a checkpoint's."""
    match = _FILE_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def which_to_keep(saved_epochs: Iterable[int], best: int, size_bytes: int) -> set[int]:
    """Those of the saved epochs to keep, if one checkpoint takes that many bytes.

    Of a small network all are kept; of a larger one the first, the last, the best and the multiples of a stride. The
    stride is the smallest power of two that leaves at most MOST_BETWEEN multiples: doubling it as a run grows never
    asks for an epoch that was deleted before.
    """
    saved = set(saved_epochs)
    if size_bytes < KEEP_ALL_BELOW or len(saved) < 3:
        return saved
    first, last = min(saved), max(saved)
    stride = 1
    while (last - 1) // stride - first // stride > MOST_BETWEEN:
        stride *= 2
    return {epoch for epoch in saved if epoch in (first, best, last) or epoch % stride == 0}


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write the tensors, of any device and layout, so that `path` holds all of them or what it held before.

    Raises CheckpointError if the file cannot be written.
    """
    # Cloned: safetensors refuses tensors that share memory, such as slices of one stack.
    own = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    unsigned = safetensors.torch.save(own, {**(metadata or {}), _CHECKSUM: ""})
    content = safetensors.torch.save(own, {**(metadata or {}), _CHECKSUM: _digest(unsigned)})
    half = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
            _sync_folder(path.parent)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{path} cannot be written ({reason}): free some space or allow writing there") from error


def _sync_folder(folder: Path) -> None:
    """Make the renaming outlive a power cut, on systems that can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def load(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Tensor]:
    """The tensors by name, on the CPU; with `shapes` exactly these names and shapes, in float32.

    Raises CheckpointError if the file is missing, damaged or of another network.
    """
    tensors, _ = _read(path)
    if shapes is not None:
        check(path, tensors, shapes)
    return tensors


def metadata(path: Path) -> dict[str, str]:
    """What was saved beside the tensors. Raises CheckpointError as load does."""
    return _read(path)[1]


def fingerprint(path: Path) -> str:
    """The checksum that the file was written with, from its header alone; "" if there is none to read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        return str(header["__metadata__"][_CHECKSUM])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from error
    try:
        tensors = safetensors.torch.load(content)
        stored, digest = _split(content)[0].get("__metadata__", {}), _digest(content)
    except Exception as error:  # a damaged header makes the parsers raise anything
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is damaged ({reason}): {REMEDY}") from error
    if stored.pop(_CHECKSUM, None) != digest:
        raise CheckpointError(f"{path} is damaged (its checksum does not match its content): {REMEDY}")
    return tensors, stored


def _split(content: bytes) -> tuple[dict[str, dict[str, str]], memoryview]:
    """Header and tensor bytes of a safetensors file: 8 bytes of length, little endian, then JSON, then the tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _digest(content: bytes) -> str:
    header, data = _split(content)
    header.get("__metadata__", {}).pop(_CHECKSUM, None)
    digest = sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def check(path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError unless the tensors have exactly these names and shapes, in float32."""
    wrong = [f"{name} is missing" for name in shapes.keys() - tensors.keys()]
    wrong += [f"{name} does not belong to it" for name in tensors.keys() - shapes.keys()]
    for name, shape in shapes.items():
        if name in tensors and (tensors[name].shape != shape or tensors[name].dtype != torch.float32):
            kind = str(tensors[name].dtype).removeprefix("torch.")
            wrong.append(f"{name} is {tuple(tensors[name].shape)} {kind} instead of {tuple(shape)} float32")
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise CheckpointError(f"{path} is of another network ({min(wrong)}{more}): {REMEDY}")
