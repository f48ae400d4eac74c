"""Processes that outlive this one, and their logs."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnviz import paths

LOG_BYTES = 1_000_000  # a log is begun again past this


def detached(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and inherits none of its pipes."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    bound(log)
    with log.open("ab") as output:  # appending: what was truncated is then really begun again
        process = subprocess.Popen(  # noqa: S603
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=paths.PROJECT, **apart
        )
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie is left when it ends
    return process


def bound(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)
