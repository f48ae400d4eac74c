"""What went wrong unexpectedly, for whoever mends it."""

import contextlib
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from cnnviz import paths
from cnnviz.jobs import processes
from cnnviz.store.addresses import masked


class _Masking(logging.Formatter):
    """Passwords of addresses are in no log."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def write(error: Exception) -> Path:
    """Append the error and its traceback to the app's log, whose path comes back."""
    log = paths.home() / "app.log"
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(log, maxBytes=processes.LOG_BYTES, backupCount=1, encoding="utf-8")
        handler.setFormatter(_Masking())
        logger = logging.getLogger("cnnviz.app")
        logger.propagate = False  # elsewhere it would not be masked
        logger.addHandler(handler)
        logger.error("unexpected", exc_info=error)
        logger.removeHandler(handler)
        handler.close()
    return log
