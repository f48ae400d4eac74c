from pathlib import Path

import pytest

from cnnviz import paths
from cnnviz.data import cifar10


def test_data_root_is_the_projects_without_cnnviz_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", "~/pictures")
    assert paths.data_root() == Path.home() / "pictures"
    monkeypatch.delenv("CNNVIZ_DATA")
    assert paths.data_root() == Path(__file__).resolve().parents[1] / "data"


def test_cifar10s_own_folder_or_archive_stand_for_the_folder_that_holds_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("cifar-10-batches-py", "cifar-10-batches-py/", "cifar-10-python.tar.gz"):
        (tmp_path / "cifar-10-python.tar.gz").touch()
        monkeypatch.setenv("CNNVIZ_DATA", f"{tmp_path}/{name}")
        assert paths.data_root() == tmp_path
    (tmp_path / "cifar-10-batches-py" / "cifar-10-batches-py").mkdir(parents=True)
    monkeypatch.setenv("CNNVIZ_DATA", f"{tmp_path}/cifar-10-batches-py")
    assert paths.data_root() == tmp_path / "cifar-10-batches-py", "it was unpacked in a folder of that name"


def test_the_real_set_is_found_by_its_own_folder(cifar10_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", str(cifar10_root / "cifar-10-batches-py"))
    assert cifar10.available()
    cifar10.check()


def test_settings_for_a_process_elsewhere_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNVIZ_HOME", "home")
    monkeypatch.setenv("CNNVIZ_DATA", "./data")
    assert paths.settled() == {"CNNVIZ_HOME": str(tmp_path / "home"), "CNNVIZ_DATA": str(tmp_path / "data")}
    monkeypatch.delenv("CNNVIZ_DATA")
    assert paths.settled().keys() == {"CNNVIZ_HOME"}
