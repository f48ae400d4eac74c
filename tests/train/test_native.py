"""C++ of our own is compiled, or one line says why not."""

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
