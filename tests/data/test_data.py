"""The data sets by name."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnviz import data
from cnnviz.errors import DataError


@pytest.mark.parametrize("function", [data.load, data.load_test, data.available, data.check])
def test_unknown_name(function: object) -> None:
    with pytest.raises(DataError, match="'mnist' is not known: choose one of cifar10, synthetic"):
        function("mnist")  # type: ignore[operator]


@pytest.mark.usefixtures("few_pictures")
def test_the_test_pictures_alone_are_those_of_the_whole_set() -> None:
    whole, tested = data.load("synthetic"), data.load_test("synthetic")
    assert torch.equal(whole.test_images, tested.test_images)
    assert torch.equal(whole.test_labels, tested.test_labels)
    assert (tested.classes, len(tested.train_images)) == (whole.classes, 0)


@pytest.mark.usefixtures("cifar10_root")
def test_cifar10s_test_pictures_alone_are_those_of_the_whole_set() -> None:
    whole, tested = data.load("cifar10"), data.load_test("cifar10")
    assert torch.equal(whole.test_images, tested.test_images)
    assert torch.equal(whole.test_labels, tested.test_labels)


@pytest.mark.parametrize("name", ["synthetic", "cifar10"])
def test_test_pictures_that_are_not_there_are_not_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path))
    with pytest.raises(DataError, match="is not complete in"):
        data.load_test(name)
    assert not list(tmp_path.iterdir())


def test_import_brings_neither_torchvision_nor_the_app() -> None:
    code = "import sys, cnnviz.data; print({'torchvision', 'streamlit', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
