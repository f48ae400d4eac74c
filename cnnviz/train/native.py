"""C++ of our own, compiled at first use for one shape and this processor; not kept on disk, as it takes a second."""

import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cnnviz.errors import CnnvizError

COMPILE_SECONDS = 120  # it takes one or two
LONGEST_REASON = 200  # characters
FUNCTIONS = {"lenet.cpp": ("walk", "judge_all", "floats"), "dense.cpp": ("forward", "back_and_learn")}
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


def compiler() -> str | None:
    """A C++ compiler with vector types, None if there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((name for name in names if name and shutil.which(name)), None) if sys.platform != "win32" else None


troubles: list[str] = []  # what is wrong with the compiler here and what that costs, a line each: never a run


def note(trouble: str) -> None:
    """Remember a trouble, once, for the message of the runs, and print it for the log."""
    if trouble not in troubles:
        troubles.append(trouble)
        print(trouble, file=sys.stderr)


def first_error(said: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    line = next((line for line in lines if "error:" in line), lines[0] if lines else "no reason given")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} …"


@functools.cache
def library(source: str, *flags: str, **constants: int | str) -> ctypes.CDLL:
    """cnnviz/train/<source> with these constants. Raises CnnvizError, in one line, if it cannot be compiled."""
    defined = [f"-D{name}={value}" for name, value in constants.items()]
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made.so"
            paths = str(Path(__file__).with_name(source)), "-o", str(made)
            command = [compiler() or "c++", *FLAGS, *flags, *defined, *paths]
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, errors="replace", timeout=COMPILE_SECONDS
            )
            if done.returncode:
                reason = first_error(done.stderr) if done.stderr.strip() else f"exit status {done.returncode}"
                raise CnnvizError(f"{source} cannot be compiled: {reason}")
            library = ctypes.CDLL(str(made))
            if missing := [name for name in FUNCTIONS.get(source, ()) if not hasattr(library, name)]:
                raise CnnvizError(f"{source} cannot be compiled: what the compiler made has no {missing[0]}")
            return library
    except subprocess.TimeoutExpired as error:
        raise CnnvizError(f"{source} cannot be compiled: it took more than {COMPILE_SECONDS} s") from error
    except OSError as error:  # a temporary folder that is full, or that nothing may be run from
        reason = re.sub(r"\S*/(?=made\.so)", "", str(error))  # the folder has another name each time
        raise CnnvizError(f"{source} cannot be compiled: {reason}") from error
