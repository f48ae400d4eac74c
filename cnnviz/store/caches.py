"""Folders of files that can be had again: what was used least recently goes, so that they stay within a bound."""

import contextlib
from pathlib import Path


def evict(folder: Path, most_bytes: int, newest: Path) -> None:
    """Delete the folder's tensors that were used least recently, until it is within its bound; `newest` stays."""
    used = []
    for path in folder.rglob("*.safetensors"):
        with contextlib.suppress(OSError):  # another process evicts too
            used.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total > most_bytes and path != newest:
            path.unlink(missing_ok=True)
            total -= size
