"""A worker that records to an MLflow server which goes away while it trains, and comes back."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from cnnviz import paths
from cnnviz.jobs import mlflow_ui
from cnnviz.jobs.status import workers
from cnnviz.jobs.worker import WAITING
from cnnviz.store import addresses, artifacts, changes, failures, reading
from tests.helpers.processes import kill_all
from tests.helpers.servers import free_port, start_server
from tests.helpers.workers import TINY, start_worker, steps_of, wait_for

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_it_trains_on_while_the_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, port = tmp_path / "server", free_port()
    folder.mkdir()
    server = start_server(folder, port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    (run_id,) = changes.schedule([replace(TINY, epochs=8, limit_train=1000)], "cpu")
    worker = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 1)
    kill_all(server)
    last = artifacts.folder_of(run_id) / "checkpoints" / "epoch-0008.safetensors"
    wait_for(lambda: workers()[0].spools != "", 60)
    (status,) = workers()
    assert "Training goes on" in status.away
    assert f"http://user:***@127.0.0.1:{port}" in status.away
    wait_for(last.exists)  # to the end, without the server
    wait_for(lambda: workers()[0].phase == WAITING, 60)
    kill_all(worker)  # with all of it in the spool
    (spool,) = (paths.home() / "spool").glob("*.jsonl")
    with spool.open("ab") as file:
        file.write(b'["_tag", "half a li')
    worker = start_worker()
    time.sleep(2)
    assert worker.poll() is None
    server = start_server(folder, port)
    try:
        failures._answered.clear()
        assert worker.wait(200) == 0, (paths.home() / "test.log").read_text()
        run = reading.run(run_id)
        assert (run.status, run.epoch, run.message) == ("FINISHED", 8, "")
        assert steps_of(run_id) == list(range(9))
        assert len(run.segments) == 1
        assert artifacts.checkpoint_epochs(run_id) == list(range(9))
        uploaded = next((folder / "artifacts").rglob(f"{run_id}/artifacts/checkpoints"))
        assert len(list(uploaded.iterdir())) == 9
        assert not list((paths.home() / "spool").iterdir())
    finally:
        kill_all(server)
    for path in paths.home().rglob("*"):
        assert path.suffix == ".safetensors" or path.is_dir() or b"secret" not in path.read_bytes(), path
    said = (paths.home() / "test.log").read_text()
    assert "waiting for the store" in said
    assert "Traceback" not in said


def test_a_server_has_a_user_interface_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:5000/mlflow")
    assert mlflow_ui.start() == addresses.for_browser() == "http://127.0.0.1:5000/mlflow"
    assert not list((paths.home()).rglob("mlflow-ui*"))
