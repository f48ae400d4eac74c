"""What the command line writes to: outputs that lack letters, that nobody reads any more, that are full."""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable

READ_ENOUGH = 128 + 13  # the exit status of a program that the signal SIGPIPE has ended
_SPELLED_OUT = "cnnviz.spelled_out"
_PLAIN = {"×": "x", "…": "...", "–": "-", "−": "-", "·": "-", "→": "->", "’": "'", "█": "#"}


def run(command: Callable[[], int]) -> int:
    """The command's exit status.

    Its output never fails for a letter that the terminal lacks. A reader that has gone, as `head` does, ends it
    quietly; an output that is full, in one line.
    """
    codecs.register_error(_SPELLED_OUT, _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None without a terminal, something else within another program
            stream.reconfigure(errors=_SPELLED_OUT)
    try:
        try:
            return command()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where it is known what to do if that fails
    except BrokenPipeError:
        _discard()
        return READ_ENOUGH
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _discard()
        print(f"cnnviz: the output cannot be written ({error.strerror}): free some space", file=sys.stderr)
        return 2


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, spelled with what all have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each, ascii(each)[1:-1]) for each in lacking), error.end


def _discard() -> None:
    """What is left in the buffer goes nowhere: Python would try once more at its end, and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
