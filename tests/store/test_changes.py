import json
import os
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from cnnviz.config import RunConfig, grid
from cnnviz.errors import CnnvizError, StoreError
from cnnviz.store import artifacts, changes, connection, reading
from cnnviz.store.runs import Prediction
from tests.helpers.runs import record, trained

CONFIG = RunConfig(lr=0.001, epochs=3)


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


def test_a_fork_sets_out_from_its_parents_point() -> None:
    parent = trained(CONFIG)
    fork = reading.run(changes.fork(parent, 2, {"lr": 0.5}, 4, "cpu"))
    assert (fork.status, fork.parent, fork.first_epoch, fork.epoch) == ("SCHEDULED", parent, 2, 2)
    assert (fork.config.lr, fork.config.epochs) == (0.5, 6)
    assert f"fork of {parent[:8]} at 2" in fork.name
    assert (fork.accuracy, fork.best) == ((0.2,), None)
    assert reading.history([fork.id], ["test_loss"]).value.tolist() == [1.8]
    ours, theirs = (artifacts.load_checkpoint(reading.run(each), 2) for each in (fork.id, parent))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [each.id for each in reading.queue("cpu")] == [fork.id]
    record(fork.id, 3, 0.7)
    record(fork.id, 4, 0.4)
    assert reading.run(fork.id).best == (3, 0.7)


def test_a_fork_with_another_loss_does_not_take_its_parents() -> None:
    fork = changes.fork(trained(CONFIG), 1, {"loss": "mse"}, 2, "cpu")
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
    parent = trained(CONFIG)
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

    for step in ("create_run", "log_batch", "update_run"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, no_room)
            with pytest.raises(StoreError, match="free some space"):
                changes.schedule([CONFIG], "cpu")
        assert reading.runs() == reading.queue("cpu") == []


def test_what_was_expected_is_kept_with_the_run() -> None:
    expected = [Prediction(1234.5, learns=False, best=False), Prediction(1234.5, learns=True, best=True, overfits=12)]
    run_ids = changes.schedule(grid(lr=[0.1, 0.01]), "cpu", expected)
    assert [reading.run(run_id).predicted for run_id in run_ids] == expected
    connection.client().set_tag(run_ids[0], "cnnviz.predicted", '{"at": "never"}')
    spoiled = reading.run(run_ids[0])
    assert spoiled.predicted is None
    assert "cnnviz.predicted" in spoiled.message
