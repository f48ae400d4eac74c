import json
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from cnnviz import paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, StoreError
from cnnviz.store import artifacts, changes, checkpoints, connection, reading
from cnnviz.store.runs import Segment

CONFIG = RunConfig(lr=0.001, epochs=3)


def record(run_id: str, epoch: int, accuracy: float = 0.5, loss: float = 1.0) -> None:
    segment = Segment(0, 1000.0, 2.5 * epoch, "cpu", 1, 6)
    changes.record(run_id, epoch, {"test_accuracy": accuracy, "test_loss": loss}, [segment])


def test_what_is_written_is_read_back() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    waiting = reading.run(run_id)
    assert (waiting.status, waiting.epoch, waiting.config, waiting.device) == ("SCHEDULED", -1, CONFIG, "cpu")
    changes.start(run_id)
    for epoch, accuracy in enumerate((0.1, 0.6, 0.4)):
        record(run_id, epoch, accuracy)
    changes.finish(run_id, "FINISHED")
    run = reading.run(run_id[:9])
    assert (run.status, run.epoch, run.best, run.accuracy) == ("FINISHED", 2, (1, 0.6), (0.1, 0.6, 0.4))
    assert run.segments == (Segment(0, 1000.0, 5.0, "cpu", 1, 6),)
    assert run.seconds == 5.0
    frame = reading.history([run_id], ["test_loss", "test_accuracy"])
    assert frame.columns.tolist() == ["run_id", "metric", "epoch", "value"]
    assert frame[frame.metric == "test_accuracy"].value.tolist() == [0.1, 0.6, 0.4]


def test_the_schema_as_mlflow_itself_sees_it() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    record(run_id, 0)
    found = MlflowClient(f"sqlite:///{os.environ['CNNVIZ_HOME']}/mlflow.db").get_run(run_id)
    assert set(found.data.params) == {
        *("model", "activation", "pooling", "loss", "optimizer", "lr", "momentum", "batch_size", "seed", "dataset")
    }
    assert found.data.params["lr"] == "0.001"
    assert found.data.tags["cnnviz.target_epochs"] == "3"
    assert json.loads(found.data.tags["cnnviz.segments"])[0]["device"] == "cpu"
    folder = Path(os.environ["CNNVIZ_HOME"]) / "artifacts" / run_id / "artifacts"
    assert Path(found.info.artifact_uri.removeprefix("file://")) == folder
    assert json.loads((folder / "architecture.json").read_text())["name"] == "lenet5x5"


def test_rare_params_are_written_where_they_matter() -> None:
    config = RunConfig(weight_decay=0.1, limit_train=500)
    (run_id,) = changes.schedule([config], "cpu")
    assert reading.run(run_id).config == config


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_comes_back_as_it_was(value: float) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch, loss in enumerate((1.0, value, value)):
        record(run_id, epoch, loss=loss)
    values = reading.history([run_id], ["test_loss"]).value.tolist()
    assert values[0] == 1.0
    assert [repr(each) for each in values[1:]] == [repr(value)] * 2


def test_a_history_of_nothing_is_empty_but_typed() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    empty = [
        reading.history([], ["test_loss"]),
        reading.history([run_id], ["test_loss"]),
        reading.history([run_id], []),
    ]
    record(run_id, 0)
    full = reading.history([run_id], ["test_loss"])
    for frame in empty:
        assert len(frame) == 0
        assert frame.dtypes.to_dict() == full.dtypes.to_dict()


def test_the_best_passes_over_nan_and_the_untrained_network() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch, accuracy in enumerate((0.9, 0.2, math.nan, 0.2)):
        record(run_id, epoch, accuracy)
    assert reading.run(run_id).best == (1, 0.2)


def test_a_step_written_twice_counts_once() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for accuracy in (0.1, 0.2):
        record(run_id, 0, accuracy)
    assert reading.run(run_id).accuracy == (0.2,)


def test_the_queue_is_first_come_first_served_and_by_device() -> None:
    first, second = changes.schedule([CONFIG, CONFIG], "cpu")
    (elsewhere,) = changes.schedule([CONFIG], "cuda")
    assert [run.id for run in reading.queue("cpu")] == [first, second]
    changes.start(first)  # by a worker that then died
    assert [run.id for run in reading.queue("cpu")] == [first, second]
    changes.finish(first, "FINISHED")
    assert [run.id for run in reading.queue("cpu")] == [second]
    assert [run.id for run in reading.queue("cuda")] == [elsewhere]


def test_stopping() -> None:
    waiting, training = changes.schedule([CONFIG, CONFIG], "cpu")
    changes.start(training)
    changes.request_stop([waiting, training])
    assert reading.run(waiting).status == "KILLED"
    assert (reading.run(training).status, reading.run(training).stopping) == ("RUNNING", True)
    assert reading.stop_requests() == {training}
    changes.finish(training, "KILLED")
    assert reading.stop_requests() == set()
    with pytest.raises(StoreError, match="nothing to stop"):
        changes.request_stop([training])


def test_continuing_reopens_the_same_run() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    with pytest.raises(StoreError, match="still training or waiting"):
        changes.continue_runs([run_id], 5)
    changes.start(run_id)
    for epoch in range(3):
        record(run_id, epoch)
    changes.finish(run_id, "KILLED")
    changes.continue_runs([run_id], 5)
    run = reading.run(run_id)
    assert (run.status, run.epoch, run.config.epochs) == ("SCHEDULED", 2, 7)
    for epochs in (0, -1, 10**6):
        with pytest.raises(StoreError, match="out of range"):
            changes.continue_runs([run_id], epochs)


def test_deleting_can_be_undone_and_waits_for_the_end_of_training() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    changes.start(run_id)
    with pytest.raises(StoreError, match="stop it first"):
        changes.delete([run_id])
    changes.finish(run_id, "FINISHED")
    changes.delete([run_id])
    assert reading.runs() == []
    assert [run.id for run in reading.runs(deleted=True)] == [run_id]
    with pytest.raises(StoreError, match="no run"):
        reading.run(run_id)
    changes.restore([run_id])
    assert reading.run(run_id).status == "FINISHED"


def test_other_programs_runs_are_passed_over() -> None:
    (ours,) = changes.schedule([CONFIG], "cpu")
    client, experiment = connection._connect(connection.tracking_uri(), paths.home())
    client.create_run(experiment, run_name="theirs")
    client.create_run(experiment, tags={"cnnviz.target_epochs": "many"})
    assert [run.id for run in reading.runs()] == [ours]


@pytest.mark.parametrize("wanted", ["", "nothing", "0" * 32, "%", "'; drop table runs; --"])
def test_an_unknown_run_is_said_in_one_line(wanted: str) -> None:
    changes.schedule([CONFIG], "cpu")
    with pytest.raises(StoreError, match="no run") as caught:
        reading.run(wanted)
    assert "\n" not in str(caught.value)


def test_checkpoints() -> None:
    weights = initial_weights(architecture("lenet5x5"), 0)
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch in range(4):
        artifacts.save_checkpoint(run_id, epoch, weights, {"steps": torch.tensor(float(epoch))})
    run = reading.run(run_id)
    path = Path(os.environ["CNNVIZ_HOME"]) / "artifacts" / run_id / "artifacts/checkpoints/epoch-0002.safetensors"
    assert path.is_file()
    assert artifacts.checkpoint_epochs(run_id) == [0, 1, 2, 3]
    assert all(torch.equal(weights[name], each) for name, each in artifacts.load_checkpoint(run, 2).items())
    assert float(artifacts.load_optimizer(run, 3)["steps"]) == 3
    assert artifacts.load_optimizer(run, 1) == {}  # only the last one, and the one it may have to fall back on
    with pytest.raises(CheckpointError, match="kept are: 0, 1, 2, 3"):
        artifacts.load_checkpoint(run, 9)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="epoch-0002"):
        artifacts.load_checkpoint(run, 2)


def test_thinning_keeps_the_last_two_and_what_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch in range(30):
        artifacts.save_checkpoint(run_id, epoch, {"w": torch.zeros(2)}, {})
    artifacts.thin_checkpoints(run_id, 7)
    assert len(artifacts.checkpoint_epochs(run_id)) == 30  # small ones are all kept
    plain = checkpoints.which_to_keep
    monkeypatch.setattr(checkpoints, "which_to_keep", lambda epochs, best, size: plain(epochs, best, 10**8))
    artifacts.thin_checkpoints(run_id, 7)
    assert {0, 7, 28, 29} <= set(artifacts.checkpoint_epochs(run_id))
    assert len(artifacts.checkpoint_epochs(run_id)) < 15


def _first_start(home: str) -> None:
    os.environ["CNNVIZ_HOME"] = home
    changes.schedule([CONFIG], "cpu")


def test_four_first_starts_at_once_leave_a_healthy_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_first_start, args=(str(tmp_path / "four"),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    os.environ["CNNVIZ_HOME"] = str(tmp_path / "four")
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(reading.runs()) == 4


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
    # in a fresh process, as MLflow looks at the version once
    command = [sys.executable, "-W", "ignore", "-m", "cnnviz", "runs"]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("cnnviz: the store at")
    assert done.stderr.count("\n") == 1


def trained(config: RunConfig = CONFIG, epochs: int = 3) -> str:
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    for epoch in range(epochs + 1):
        artifacts.save_checkpoint(run_id, epoch, initial_weights(architecture(config.model), epoch), {})
        record(run_id, epoch, 0.1 * epoch, 2.0 - 0.1 * epoch)
    changes.finish(run_id, "FINISHED")
    return run_id


def test_a_fork_sets_out_from_its_parents_point() -> None:
    parent = trained()
    fork = reading.run(changes.fork(parent, 2, {"lr": 0.5}, 4, "cpu"))
    assert (fork.status, fork.parent, fork.first_epoch, fork.epoch) == ("SCHEDULED", parent, 2, 2)
    assert (fork.config.lr, fork.config.epochs) == (0.5, 6)
    assert f"fork of {parent[:6]} at 2" in fork.name
    assert (fork.accuracy, fork.best) == ((0.2,), None)
    assert reading.history([fork.id], ["test_loss"]).value.tolist() == [1.8]
    ours, theirs = (artifacts.load_checkpoint(reading.run(each), 2) for each in (fork.id, parent))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [each.id for each in reading.queue("cpu")] == [fork.id]
    record(fork.id, 3, 0.7)
    record(fork.id, 4, 0.4)
    assert reading.run(fork.id).best == (3, 0.7)


def test_a_fork_with_another_loss_does_not_take_its_parents() -> None:
    fork = changes.fork(trained(), 1, {"loss": "mse"}, 2, "cpu")
    assert reading.run(fork).accuracy == (0.1,)
    assert reading.history([fork], ["test_loss"]).empty


@pytest.mark.parametrize(
    ("epoch", "settings", "says"),
    [
        (1, {}, "changes nothing"),
        (1, {"lr": 0.001}, "changes nothing"),
        (9, {"lr": 0.5}, "no checkpoint of epoch 9"),
        (1, {"model": "conv5"}, "keeps its parent's model"),
        (1, {"lr": -1.0}, "out of range"),
    ],
)
def test_what_cannot_be_forked_is_said_and_nothing_is_made(epoch: int, settings: dict[str, object], says: str) -> None:
    parent = trained()
    with pytest.raises(CnnvizError, match=says):
        changes.fork(parent, epoch, settings, 2, "cpu")
    assert [each.id for each in reading.runs()] == [parent]


def test_a_worker_does_not_take_what_was_stopped_or_deleted_meanwhile() -> None:
    stopped, deleted, _ = changes.schedule([CONFIG] * 3, "cpu")
    taken = reading.queue("cpu")
    changes.request_stop([stopped])
    changes.delete([deleted])
    assert [changes.start(each.id) for each in taken] == [False, False, True]
    assert reading.run(stopped).status == "KILLED"
    changes.finish(deleted, "FINISHED")  # is no error
    changes.delete([deleted])  # nor is deleting twice, nor bringing back twice
    for _ in range(2):
        changes.restore([deleted])
    assert reading.run(deleted).status == "KILLED"
    changes.request_stop([deleted], ended_ok=True)


def test_a_launch_cut_short_leaves_no_half_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("log_batch", "update_run", "set_tag"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, no_room)
            with pytest.raises(StoreError, match="free some space"):
                changes.schedule([CONFIG], "cpu")
        assert reading.runs() == reading.queue("cpu") == []


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
    found = MlflowClient(connection.tracking_uri()).list_artifacts(run_id, "checkpoints")
    assert [each.path for each in found] == ["checkpoints/epoch-0000.safetensors"]
    (after,) = changes.schedule([CONFIG], "cpu")
    assert str(tmp_path / "moved") in connection.client().get_run(after).info.artifact_uri


def test_what_a_newer_cnnviz_noted_besides_does_not_hide_a_run() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    segment = {"start_epoch": 0, "started_at": 1.0, "seconds": 2.0, "device": "cpu", "threads": 1, "colour": "blue"}
    connection.client().set_tag(run_id, "cnnviz.segments", json.dumps([segment]))
    assert reading.run(run_id).segments == (Segment(0, 1.0, 2.0, "cpu", 1),)


def test_only_runs_that_have_changed_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    plain = connection.metric_histories

    def counted(run_ids: list[str], metric: str) -> object:
        asked.append(sorted(run_ids))
        return plain(run_ids, metric)

    monkeypatch.setattr(connection, "metric_histories", counted)
    first, second, third = run_ids = changes.schedule([replace(CONFIG, seed=seed) for seed in range(3)], "cpu")
    for run_id in run_ids:
        record(run_id, 0, 0.1, math.nan if run_id == third else 1.0)
    assert len(reading.runs()) == 3
    assert asked == [sorted(run_ids)]
    assert [reading.runs(), reading.runs()][0] == reading.runs()
    assert asked[1:] == [[], [], []], "nothing has changed, and NaN is no change"
    another = MlflowClient(connection.tracking_uri())  # as a worker's process
    another.log_batch(second, metrics=[Metric("test_accuracy", 0.7, 1, 1)])
    assert {run.id: run.accuracy for run in reading.runs()}[second] == (0.1, 0.7)
    another.set_tag(first, "mlflow.runName", "renamed")
    another.delete_run(third)
    assert {run.id: run.name == "renamed" for run in reading.runs()} == {first: True, second: False}
    assert asked[4:] == [[second], [first]]
    another.restore_run(third)
    record(third, 1, 0.1, math.nan)  # the same figures again
    assert {run.id: run.epoch for run in reading.runs()} == {first: 0, second: 1, third: 1}
