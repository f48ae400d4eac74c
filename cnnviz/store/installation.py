"""Which installation this is. On a store that several share, a run is trained by the installation it belongs to."""

import os
import platform
import re
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from cnnviz import paths

_NOTED = re.compile(r"([0-9a-f]{32}) (\d+)\s*")


def this() -> str:
    """The id of this CNNVIZ_HOME, made when it is first asked for. Raises OSError if it cannot be kept.

    The file notes its own inode, by which a copy of the folder is told from the folder itself, under another path or on
    another host: a copy gets an id of its own, as the original may still be training what belongs to it.
    """
    return _kept_in(paths.home())


@cache
def _kept_in(folder: Path) -> str:
    file = folder / "installation"
    if noted := _read(file):
        return noted
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "installation.lock"):  # two processes at once end with the same one
        if noted := _read(file):
            return noted
        new, half = uuid4().hex, folder / f"installation.{uuid4().hex}.tmp"
        with half.open("x", encoding="ascii") as writing:
            writing.write(f"{new} {os.fstat(writing.fileno()).st_ino}\n")
            writing.flush()
            os.fsync(writing.fileno())
        half.replace(file)  # which keeps the inode
        return new


def _read(file: Path) -> str:
    """The id, "" if there is none or the file is a copy."""
    try:
        noted = _NOTED.fullmatch(file.read_text(encoding="ascii"))
        return noted[1] if noted and int(noted[2]) == file.stat().st_ino else ""
    except (OSError, ValueError):
        return ""


def host() -> str:
    """This computer's name as people say it, without its domain."""
    return platform.node().partition(".")[0][:60] or "a computer without a name"
