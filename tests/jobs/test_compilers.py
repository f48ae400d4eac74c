"""Compilers that are broken in every way: training is slower and says why in a line, and no run fails of it."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnviz.store import reading
from cnnviz.store.runs import Run
from tests.helpers.processes import run_warm

GXX = shutil.which("g++") or ""
pytestmark = [
    pytest.mark.usefixtures("few_pictures"),
    pytest.mark.skipif(not GXX, reason="no g++ here to break"),
]
LENET = ["--model", "c2k3-s2-c2k3-s2", "--batch-size", "1", "--limit-train", "1000", "--epochs", "1"]  # by its kernel
DENSE = ["--model", "f12", "--batch-size", "1", "--limit-train", "2000", "--epochs", "5"]  # by PyTorch's
WITHOUT_PYTHON = """
kept=()
for word in "$@"; do [ -e "${{word#-I}}/Python.h" ] || kept+=("$word"); done
exec {gxx} "${{kept[@]}}"
"""


def train(words: list[str], folder: Path, **settings: str) -> Run:
    """A training in the foreground that must succeed; its run."""
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",  # which takes longer than all that is tried here
        "TMPDIR": str(folder),
        **settings,
    }
    done = run_warm("train", "--dataset", "synthetic", *words, environment=environment)
    assert reading.runs(), done.stderr[-3000:]
    (run,) = reading.runs()
    assert (done.returncode, run.status) == (0, "FINISHED"), f"{run.message}\n{done.stderr[-3000:]}"
    assert run.epoch == run.config.epochs
    assert "\n" not in run.message
    return run


def broken(folder: Path, script: str) -> str:
    path = folder / "g++"
    path.write_text(f"#!/bin/bash\n{script.format(gxx=GXX)}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nothing_runs_from_here() -> Iterator[Path]:
    """A folder on a file system that is mounted noexec; its path is short, as that of a socket in it must be."""
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", folder], capture_output=True).returncode:
            pytest.skip("file systems may not be mounted here")
        yield Path(folder)
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_compiler_that_fails(tmp_path: Path) -> None:
    script = 'case "$*" in *--version*) exec {gxx} "$@" ;; esac; echo "x.cpp:1: error: out of coffee" >&2; exit 1'
    run = train(LENET, tmp_path, CXX=broken(tmp_path, script), PATH=f"{tmp_path}:{os.environ['PATH']}")
    kernel, step = run.message.split("; PyTorch compiles the step instead; ")
    assert kernel == "lenet.cpp cannot be compiled: x.cpp:1: error: out of coffee"
    assert re.fullmatch(r"PyTorch cannot compile the step \(.*out of coffee.*\): it runs without, slower", step)


def test_lenet_where_nothing_may_be_run_from_the_temporary_folder(nothing_runs_from_here: Path) -> None:
    run = train(LENET, nothing_runs_from_here, TORCHINDUCTOR_COMPILE_THREADS="1")  # it knows after the first file
    assert "lenet.cpp cannot be compiled" in run.message
    assert "PyTorch cannot compile the step" in run.message


def test_without_pythons_headers_pytorchs_compiler_is_done_without(tmp_path: Path) -> None:
    run = train(DENSE, tmp_path, CXX=broken(tmp_path, WITHOUT_PYTHON))
    assert re.fullmatch(r"PyTorch cannot compile the step \(.*Python\.h.*\): it runs without, slower", run.message)
