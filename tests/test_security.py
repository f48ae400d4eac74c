"""Nobody let in: what listens, what is never unpickled, what a hostile picture, name or store gets to do."""

import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import data, paths
from cnnviz.app.maps import uploads
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.data import cifar10, synthetic
from cnnviz.data.dataset import TENSORS
from cnnviz.errors import CheckpointError, DataError
from cnnviz.jobs import control
from cnnviz.store import artifacts, changes, checkpoints, reading
from cnnviz.store.runs import Segment
from tests.helpers import hostile
from tests.helpers.processes import run_warm

CONFIG = RunConfig(model="c4k5-s2-f12", dataset="synthetic", epochs=1)


@pytest.fixture
def trained(few_pictures: Path) -> str:
    """A run with two epochs, as far as anybody can tell."""
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch in range(2):
        artifacts.save_checkpoint(run_id, epoch, initial_weights(architecture(CONFIG.model), epoch), {})
        changes.record(run_id, epoch, {"test_accuracy": 0.1, "test_loss": 2.3}, [Segment(0, 0.0, 1.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    return run_id


def test_the_app_listens_on_this_machine_alone_and_reports_nothing() -> None:
    config = tomllib.loads((paths.PROJECT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert set(config["server"]["allowedHosts"]) == {"localhost", "127.0.0.1"}
    assert config["server"]["maxUploadSize"] <= 20
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert not {"enableCORS", "enableXsrfProtection"} & config["server"].keys()  # on, as Streamlit has them


def test_mlflow_reports_nothing_whatever_is_imported_first() -> None:
    """In fresh processes that MLflow does not take for a test's, for which it keeps silent by itself."""
    program = (
        "import importlib, os, sys\n"
        "import pandas, sqlalchemy, torch\n"  # once for all of them
        "assert not [name for name in sys.modules if name.split('.')[0] in ('mlflow', 'cnnviz')]\n"
        "for module in sys.argv[1:]:\n"
        "    if not (child := os.fork()):\n"
        "        importlib.import_module(module)\n"
        "        from mlflow.telemetry import get_telemetry_client\n"
        "        os._exit(get_telemetry_client() is not None)\n"
        "    assert os.waitpid(child, 0)[1] == 0, module\n"
    )
    tested = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if name not in tested}
    modules = ("cnnviz.store.changes", "cnnviz.store.addresses", "cnnviz.jobs.worker")
    command = [sys.executable, "-W", "ignore", "-c", program, *modules]
    done = subprocess.run(command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- pickles ----------------------------------------------------------------------------------------


def test_no_line_of_the_app_unpickles_or_evaluates() -> None:
    forbidden = re.compile(
        r"\b(c?pickle|cloudpickle|dill|joblib|shelve|marshal)\b|(?<!safetensors\.)torch\.(load|hub|jit\.load|package)|mlflow\.pytorch"
        r"|allow_pickle\s*=\s*True|load_model|unsafe_load|yaml\.load|(?<![.\w])(eval|exec)\(|shell\s*=\s*True|os\.system"
    )
    modules = [*paths.PROJECT.glob("cnnviz/**/*.py"), *paths.PROJECT.glob("pages/*.py"), paths.PROJECT / "app.py"]
    assert paths.PROJECT / "cnnviz" / "store" / "checkpoints.py" in modules
    for path in modules:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not forbidden.search(line), f"{path.name}:{number}: {line.strip()}"


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_in_the_place_of_a_file_of_ours_is_not_loaded(
    trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    pickle.loads(pickle.dumps(Trap(tmp_path / "works")))
    assert (tmp_path / "works").exists()
    zipped = io.BytesIO()
    traps: dict[str, Any] = {name: np.array([Trap(sprung)], object) for name in TENSORS}
    np.savez(zipped, **traps)
    folder = paths.home() / "artifacts" / trained / "artifacts" / "checkpoints"
    for content in (trap, zipped.getvalue(), struct.pack("<Q", len(trap)) + trap):
        (folder / checkpoints.file_name(1)).write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            artifacts.load_checkpoint(reading.run(trained), 1)
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "data"))
    cifar = tmp_path / "data" / cifar10.FOLDER
    cifar.mkdir(parents=True)
    for name in cifar10.FILES:
        (cifar / name).write_bytes(trap)
    with pytest.raises(DataError, match="damaged"):
        data.load("cifar10")
    (tmp_path / "data" / f"synthetic-v{synthetic.VERSION}.npz").write_bytes(zipped.getvalue())
    assert synthetic.kept() == []
    assert not sprung.exists()


# -- pictures and names ------------------------------------------------------------------------------


def test_the_command_line_refuses_hostile_pictures_in_one_line(trained: str, tmp_path: Path) -> None:
    files = []
    for name, content in hostile.sample().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    program = (
        "import sys\n"
        "from cnnviz.__main__ import main\n"
        "for path in sys.argv[2:]:\n"
        "    print(main(['features', sys.argv[1], '--images', path, '--out', path + '.png']))\n"
    )
    done = run_warm(trained, *map(str, files), program=program)
    assert done.stdout.split() == ["2"] * len(files), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(files)
    for path, line in zip(files, lines, strict=True):
        assert line.startswith(f"cnnviz: {path.name} ")


def test_the_uploader_refuses_hostile_pictures_in_one_line(trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ensure_worker", lambda: None)
    opened = (
        AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60)
        .run()
        .switch_page("pages/feature_maps.py")
        .run()
    )
    opened.session_state[uploads.MORE.name] = True
    opened.run()
    opened.segmented_control(key="source").set_value("upload").run()
    for name, content in hostile.sample().items():
        opened.file_uploader[0].upload(name, content, "image/png").run()
        assert not opened.exception
        (error,) = opened.error
        assert str(error.value).replace("\\", "").startswith(f"{name} ")
        assert "\n" not in str(error.value)
