"""The data sets by name."""

import subprocess
import sys

import pytest

from cnnviz import data
from cnnviz.errors import DataError


@pytest.mark.parametrize("function", [data.load, data.available, data.check])
def test_unknown_name(function: object) -> None:
    with pytest.raises(DataError, match="'mnist' is not known: choose one of cifar10, synthetic"):
        function("mnist")  # type: ignore[operator]


def test_import_brings_neither_torchvision_nor_the_app() -> None:
    code = "import sys, cnnviz.data; print({'torchvision', 'streamlit', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
