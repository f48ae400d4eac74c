"""Processes that outlive this one, and their logs."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnviz import paths
from cnnviz.store import addresses

LOG_BYTES = 1_000_000  # a longer log is emptied


def detached(
    command: Sequence[str], log: Path, settings: Mapping[str, str] = MappingProxyType({}), is_told: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and inherits none of its pipes; its output is appended to log.

    is_told: it can read what is written to its stdin. settings: of its environment.

    It works in the project's folder, so what the settings name relative to this process's is made absolute for it.
    """
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    bound(log)
    environment = os.environ | paths.settled() | addresses.settled() | dict(settings)
    with log.open("ab") as output:  # appending: after the file was emptied, writing goes on at its start
        process = subprocess.Popen(  # noqa: S603
            list(command),
            stdin=subprocess.PIPE if is_told else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=paths.PROJECT,
            env=environment,
            **apart,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie is left when it ends
    return process


def bound(log: Path) -> None:
    """Empty a log that has grown too long; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)
