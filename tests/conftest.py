"""Every test gets a store and a data folder of its own; nothing of the user's is read or written."""

import gc
import os

gc.set_threshold(10_000, 20, 20)  # collect less often: what a test makes is gone with it
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # small tensors: threads would only wait

import contextlib
import functools
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry
from streamlit.components.v2 import manifest_scanner

from cnnviz import paths
from cnnviz.data import synthetic
from cnnviz.store import connection
from tests.helpers.migrations import read_migrations_once

torch.set_num_threads(1)
settings.register_profile("cnnviz", deadline=None, derandomize=True, database=None)  # the same examples every time
settings.load_profile("cnnviz")

ARTIFACTS = "file:///empty"
MADE_BY_MLFLOW: Any = vars(connection)["SqlAlchemyStore"]
REAL_DATA = Path(os.environ.get("CNNVIZ_DATA") or Path(__file__).parents[2] / "shared" / "data")

# Files that take minutes, the longest first: one of them at the end would leave the other processes without work.
LONGEST = (
    "jobs/test_faults.py",
    "jobs/test_cluster.py",
    "jobs/test_compilers.py",
    "render/test_code.py",
    "app/test_browser.py",
    "jobs/test_control.py",
    "test_shared_server.py",
    "jobs/test_worker.py",
    "app/test_browser_findings.py",
    "app/test_browser_address.py",
    "test_imports.py",
    "train/test_compiled.py",
    "app/test_browser_maps.py",
    "app/test_browser_mistakes.py",
    "test_main.py",
    "train/test_preload.py",
    "test_terminals.py",
    "jobs/test_processes.py",
    "app/test_browser_diagram.py",
    "app/test_browser_runs.py",
    "app/test_browser_curves.py",
    "train/test_lenet.py",
    "app/test_mistakes.py",
    "train/test_programs.py",
    "app/test_browser_home.py",
    "jobs/test_servers.py",
    "test_documents.py",
    "data/test_pictures.py",
    "app/test_maps.py",
    "train/test_ways.py",
    "jobs/test_mlflow_ui.py",
    "app/test_browser_mistakes_pairs.py",
    "app/test_browser_report.py",
    "app/test_launch.py",
    "analysis/test_findings.py",
    "app/test_browser_security.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # as --no-loadscope-reorder: not those with the most tests first
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of pytest-xdist's processes
        places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))
    gc.freeze()  # Streamlit collects after every run of a page, and would look through all libraries each time


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CNNVIZ_OFFLINE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # AppTest leaves its script as the main module, which processes that multiprocessing starts would begin with.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


def _once(factory: pytest.TempPathFactory, name: str) -> tuple[Path, FileLock]:
    """A folder that all of pytest-xdist's processes share, and the lock of whoever fills it."""
    ours = factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / name
    return folder, FileLock(f"{folder}.lock")


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes one. Its migrations, from its first version to today's, take more than a second."""
    folder, lock = _once(tmp_path_factory, "empty")
    with lock:
        if not folder.exists():
            folder.mkdir()
            MADE_BY_MLFLOW(f"sqlite:///{folder / 'mlflow.db'}", ARTIFACTS)
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def _stores_are_copies(_empty_store: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Where this process makes a store, its tables are there at once, unless the test is about the making."""

    def opened(uri: str, artifacts: str) -> Any:
        if (paths.home() / "mlflow.db.unfinished").exists():
            with (
                contextlib.closing(sqlite3.connect(_empty_store)) as made,
                contextlib.closing(sqlite3.connect(paths.home() / "mlflow.db")) as copy,
            ):
                made.backup(copy)
                copy.execute(
                    "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
                    (ARTIFACTS, artifacts),
                )
                copy.commit()
                copy.execute("PRAGMA journal_mode=WAL")
        return MADE_BY_MLFLOW(uri, artifacts)

    if "stores_are_made" not in request.fixturenames:
        monkeypatch.setattr(connection, "SqlAlchemyStore", opened)


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    """A store goes with its test: hundreds of them, with the SQL compiled for each, would be searched for garbage."""
    yield
    connection._connect.cache_clear()
    TrackingStoreRegistry._get_store_with_resolved_uri.cache_clear()
    for engine in MADE_BY_MLFLOW._engine_map.values():
        engine.dispose()
    MADE_BY_MLFLOW._engine_map.clear()


@pytest.fixture
def stores_are_made() -> None:
    """A store's tables are made by MLflow, as everywhere but in tests."""


@pytest.fixture(scope="session", autouse=True)
def _packages_are_searched_once() -> Iterator[None]:
    """For components, by Streamlit: AppTest would search them all for each session, which takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            manifest_scanner, "scan_component_manifests", functools.cache(manifest_scanner.scan_component_manifests)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> None:
    read_migrations_once()


@pytest.fixture
def cifar10_root(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real CIFAR-10, and CNNVIZ_DATA pointing at it."""
    if not (REAL_DATA / "cifar-10-batches-py" / "test_batch").is_file():
        pytest.skip(f"no CIFAR-10 in {REAL_DATA}: set CNNVIZ_DATA to the folder that holds cifar-10-batches-py")
    monkeypatch.setenv("CNNVIZ_DATA", str(REAL_DATA))
    return REAL_DATA


def of_pictures(factory: pytest.TempPathFactory, training: int, test: int) -> Path:
    """A data folder with so many of the synthetic pictures."""
    folder, lock = _once(factory, f"synthetic {training}")
    with lock, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIZ_DATA", str(folder))
        if not folder.exists():
            synthetic._keep([*synthetic.draw("train", training), *synthetic.draw("test", test)])
    return folder


@pytest.fixture(scope="session")
def _few_drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_pictures(tmp_path_factory, 6000, 1000)


@pytest.fixture
def few_pictures(_few_drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The synthetic set with a tenth of its pictures, shared by all tests."""
    monkeypatch.setenv("CNNVIZ_DATA", str(_few_drawn))
    return _few_drawn


@pytest.fixture
def all_test_pictures(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Likewise, with few to train on and all 10,000 to test on: a share of a class is no count of its pictures."""
    folder = of_pictures(tmp_path_factory, 1000, 10_000)
    monkeypatch.setenv("CNNVIZ_DATA", str(folder))
    return folder


@pytest.fixture
def warm_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest starts a cold server at every run, where the guard begins again and a click is lost; users' are warm."""
    from streamlit.runtime.pages_manager import PagesManager

    begin = PagesManager.__init__

    def warm(*args: Any, **settings: Any) -> None:
        PagesManager.uses_pages_directory = False
        begin(*args, **settings)

    monkeypatch.setattr(PagesManager, "__init__", warm)
