"""C++ of our own, compiled at first use for one shape and this processor; not kept on disk, as it takes a second."""

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cnnviz.errors import CnnvizError

FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


def compiler() -> str | None:
    """A C++ compiler with vector types, None if there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((name for name in names if name and shutil.which(name)), None) if sys.platform != "win32" else None


@functools.cache
def library(source: str, *flags: str, **constants: int | str) -> ctypes.CDLL:
    """cnnviz/train/<source> with these constants. Raises CnnvizError, in one line, if it cannot be compiled."""
    defined = [f"-D{name}={value}" for name, value in constants.items()]
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made.so"
            paths = str(Path(__file__).with_name(source)), "-o", str(made)
            command = [compiler() or "c++", *FLAGS, *flags, *defined, *paths]
            subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
            return ctypes.CDLL(str(made))
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        reason = next((line for line in lines if "error" in line), str(error))
        raise CnnvizError(f"{source} cannot be compiled: {reason}") from error
    except OSError as error:  # a temporary folder that is full, or that nothing may be run from
        raise CnnvizError(f"{source} cannot be compiled: {error}") from error
