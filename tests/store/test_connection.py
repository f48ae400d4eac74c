import os
import sqlite3
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from cnnviz import paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, StoreError
from cnnviz.store import addresses, artifacts, changes, connection, reading
from tests.helpers.processes import forked, run_warm
from tests.helpers.runs import record

CONFIG = RunConfig(lr=0.001, epochs=3)


def _first_start(home: str) -> None:
    os.environ["CNNVIZ_HOME"] = home
    changes.schedule([CONFIG], "cpu")


def test_four_first_starts_at_once_leave_a_healthy_store(tmp_path: Path) -> None:
    processes = [forked(_first_start, str(tmp_path / "four")) for _ in range(4)]
    for process in processes:
        process.join()
    os.environ["CNNVIZ_HOME"] = str(tmp_path / "four")
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(reading.runs()) == 4


@pytest.mark.usefixtures("stores_are_made")
def test_a_store_whose_making_was_cut_short_is_made_again() -> None:
    home = paths.home()
    home.mkdir(parents=True)
    (home / "mlflow.db").write_bytes(b"SQLite format 3\0 half")
    (home / "mlflow.db.unfinished").touch()
    assert reading.runs() == []
    assert not (home / "mlflow.db.unfinished").exists()


def test_a_store_from_elsewhere_is_said_in_one_line() -> None:
    home = paths.home()
    home.mkdir(parents=True)
    (home / "mlflow.db").write_text("a diary, not a database" * 100)
    with pytest.raises(StoreError) as caught:
        reading.runs()
    assert "\n" not in str(caught.value)
    assert (home / "mlflow.db").read_text().startswith("a diary")


def test_a_store_from_the_future_is_said_in_one_line() -> None:
    reading.runs()
    connection = sqlite3.connect(paths.home() / "mlflow.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    connection.close()
    # in another process, as MLflow looks at the version once
    done = run_warm("runs")
    assert done.returncode == 2
    assert done.stderr.startswith("cnnviz: the store at")
    assert done.stderr.count("\n") == 1


def test_a_moved_store_is_found_by_mlflow_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = initial_weights(architecture(CONFIG.model), 0)
    (run_id,) = changes.schedule([CONFIG], "cpu")
    artifacts.save_checkpoint(run_id, 0, weights, {})
    record(run_id, 0)
    paths.home().rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="moved or deleted"):
        artifacts.save_checkpoint(run_id, 1, weights, {})
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "moved"))
    run = reading.run(run_id)
    assert torch.equal(artifacts.load_checkpoint(run, 0)["c1.weight"], weights["c1.weight"])
    found = MlflowClient(addresses.tracking_uri()).list_artifacts(run_id, "checkpoints")
    assert [each.path for each in found] == ["checkpoints/epoch-0000.safetensors"]
    (after,) = changes.schedule([CONFIG], "cpu")
    assert str(tmp_path / "moved") in connection.client().get_run(after).info.artifact_uri
