"""Every test gets a store and a data folder of its own; nothing of the user's is read or written."""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # small tensors: threads would only wait

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("cnnviz", deadline=None, derandomize=True, database=None)  # the same examples every time
settings.load_profile("cnnviz")

REAL_DATA = Path(os.environ.get("CNNVIZ_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CNNVIZ_OFFLINE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def cifar10_root(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real CIFAR-10, and CNNVIZ_DATA pointing at it."""
    if not (REAL_DATA / "cifar-10-batches-py" / "test_batch").is_file():
        pytest.skip(f"no CIFAR-10 in {REAL_DATA}: set CNNVIZ_DATA to the folder that holds cifar-10-batches-py")
    monkeypatch.setenv("CNNVIZ_DATA", str(REAL_DATA))
    return REAL_DATA


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture
def synthetic_root(_drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder shared by the session's tests, so that the synthetic set is drawn once."""
    monkeypatch.setenv("CNNVIZ_DATA", str(_drawn))
    return _drawn


@pytest.fixture
def warm_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest starts a cold server at every run, where the guard begins again and a click is lost; users' are warm."""
    from streamlit.runtime.pages_manager import PagesManager

    begin = PagesManager.__init__

    def warm(*args: Any, **settings: Any) -> None:
        PagesManager.uses_pages_directory = False
        begin(*args, **settings)

    monkeypatch.setattr(PagesManager, "__init__", warm)
