"""C++ of our own is compiled, or one line says why not."""

import platform
import sys

import pytest

from cnnviz.errors import CnnvizError
from cnnviz.train import native

CONSTANTS = {"UNITS": 5, "PICTURES": 2}
pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")


def test_made_once_for_the_same_constants() -> None:
    assert native.library("dense.cpp", **CONSTANTS) is native.library("dense.cpp", **CONSTANTS)
    assert native.library("dense.cpp", **CONSTANTS | {"UNITS": 6}) is not native.library("dense.cpp", **CONSTANTS)


def test_a_compilers_complaint_is_one_line() -> None:
    with pytest.raises(CnnvizError, match=r"^nothing\.cpp cannot be compiled: .*No such file[^\n]*$"):
        native.library("nothing.cpp")
    with pytest.raises(CnnvizError, match=r"^dense\.cpp cannot be compiled: .*error: .*UNITS[^\n]*$"):
        native.library("dense.cpp")


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(CnnvizError, match=r"^dense\.cpp cannot be compiled: .*nowhere[^\n]*$"):
        native.library("dense.cpp", **CONSTANTS | {"UNITS": 7})


@pytest.mark.parametrize(
    ("system", "machine", "words"),
    [
        ("linux", "x86_64", "-O3 -march=native -std=c++17 -fno-math-errno -shared -fPIC -fopenmp"),
        ("linux", "aarch64", "-O3 -mcpu=native -std=c++17 -fno-math-errno -shared -fPIC -fopenmp"),
        ("darwin", "arm64", "-O3 -mcpu=native -std=c++17 -fno-math-errno -shared -fPIC"),
        ("darwin", "x86_64", "-O3 -march=native -std=c++17 -fno-math-errno -shared -fPIC"),
    ],
)
def test_each_machine_has_its_command_line(
    system: str, machine: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("CXX", raising=False)
    command = native.command("dense.cpp", "made.so", *native.openmp(), **CONSTANTS)
    *before, source, _, made = command
    assert " ".join(before) == f"g++ {words} -DUNITS=5 -DPICTURES=2"
    assert (source.endswith("/cnnviz/train/dense.cpp"), made) == (True, "made.so")


def test_windows_has_no_compiler_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"C:/{name}.exe")
    monkeypatch.setattr(sys, "platform", "win32")
    assert native.compiler() is None
