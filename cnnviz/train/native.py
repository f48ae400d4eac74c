"""C++ of our own, compiled at first use for one shape and this processor; not kept on disk, as it takes a second."""

import contextlib
import ctypes
import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cnnviz.errors import CnnvizError

COMPILE_SECONDS = 120  # it takes one or two
ANSWER_SECONDS = 30  # for a program of two lines, which takes a tenth of one
LONGEST_REASON = 200  # characters
FUNCTIONS = {"lenet.cpp": ("walk", "judge_all", "floats"), "dense.cpp": ("forward", "back_and_learn")}
NO_COMPILER = "There is no C++ compiler here: every step runs without one, slower"


def compiler() -> str | None:
    """A C++ compiler with vector types, None if there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((name for name in names if name and shutil.which(name)), None) if sys.platform != "win32" else None


def is_arm() -> bool:
    """Whether this processor is a 64-bit ARM."""
    return platform.machine().lower() in ("arm64", "aarch64")


def flags() -> tuple[str, ...]:
    """The compiler's, for a library of this processor. An ARM's is named by -mcpu: older Clangs know no other word."""
    return ("-O3", "-mcpu=native" if is_arm() else "-march=native", "-std=c++17", "-fno-math-errno", "-shared", "-fPIC")


def openmp() -> tuple[str, ...]:
    """What spreads loops over the cores; nothing on macOS, whose Clang refuses the word. They run on one core then."""
    return () if sys.platform == "darwin" else ("-fopenmp",)


def command(source: str, made: str, *words: str, **constants: int | str) -> list[str]:
    """What compiles cnnviz/train/<source> with these constants."""
    defined = [f"-D{name}={value}" for name, value in constants.items()]
    return [compiler() or "c++", *flags(), *words, *defined, str(Path(__file__).with_name(source)), "-o", made]


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


def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Exit status, and what it said of errors. After so many seconds it ends, with all that it started: a compiler
    has others do its work, which would go on without it. Raises TimeoutExpired, OSError."""
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as process:
        try:
            said = process.communicate(timeout=seconds)[1]
            return process.returncode, said
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


@functools.cache
def silence() -> str:
    """Why the compiler cannot be waited for, "" if it answers, be it with an error. Tried once in a process: PyTorch
    sets its compiler no time."""
    name = compiler() or "c++"
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "made.cpp"
            source.write_text("#include <cmath>\nint made;\n")
            for words in (["--version"], [*flags(), *openmp(), str(source), "-o", f"{source}.so"]):
                _run([name, *words], ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{Path(name).name} does not answer within {ANSWER_SECONDS} s"
    except OSError:  # no time is lost: whoever needs the compiler finds out
        pass
    return ""


@functools.cache
def library(source: str, *words: str, **constants: int | str) -> ctypes.CDLL:
    """cnnviz/train/<source> with these constants. Raises CnnvizError, in one line, if it cannot be compiled."""
    if silent := silence():
        raise CnnvizError(f"{source} cannot be compiled: {silent}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made.so"
            status, said = _run(command(source, str(made), *words, **constants), COMPILE_SECONDS)
            if status:
                reason = first_error(said) if said.strip() else f"exit status {status}"
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
