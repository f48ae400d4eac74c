"""What was done while the server was away, and is written once it is back."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.errors import StoreError, UnreachableError
from cnnviz.store import changes, connection, reading, spool
from cnnviz.store.runs import Segment
from cnnviz.store.spool import Spool, kept

CONFIG = RunConfig(model="f12", dataset="synthetic", epochs=3)
Switch = Callable[[bool], None]


@pytest.fixture
def away(_empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Have the server go away and come back."""
    shutil.copy(_empty_store, tmp_path / "shared.db")  # its tables are there
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    there = connection._connection

    def gone() -> Any:
        raise UnreachableError("away")

    return lambda is_away: monkeypatch.setattr(connection, "_connection", gone if is_away else there)


def training() -> str:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    changes.start(run_id)
    return run_id


def record(run_id: str, *epochs: int) -> None:
    for epoch in epochs:
        figures = {"test_accuracy": 0.1 * epoch, "test_loss": float("nan")}
        changes.record(run_id, epoch, figures, [Segment(0, 0.0, float(epoch), "cpu", 1)])


def epochs_of(run_id: str) -> list[int]:
    return [each.step for each in connection.client().get_metric_history(run_id, "test_loss")]


def test_what_follows_the_first_that_was_kept_keeps_the_order(away: Switch) -> None:
    run_id, ours = training(), Spool("cpu")
    with kept(ours):
        record(run_id, 0)
        assert ours.is_empty
        away(True)
        record(run_id, 1)
        with pytest.raises(UnreachableError):
            ours.write()
        away(False)
        record(run_id, 2)  # behind the first
        changes.note(run_id, "a message")
        changes.finish(run_id, "FINISHED")
        assert epochs_of(run_id) == [0]
        assert not ours.write(-1)
        assert ours.write()
    run = reading.run(run_id)
    assert (run.status, run.epoch, run.message, run.seconds) == ("FINISHED", 2, "a message", 2.0)
    assert epochs_of(run_id) == [0, 1, 2]
    assert not list((paths.home() / "spool").iterdir())
    assert ours.is_empty
    assert ours.write()


def test_late_figures_are_of_their_epoch_whenever_they_are_written(away: Switch) -> None:
    run_id, ours = training(), Spool("cpu")
    with kept(ours):
        at = changes.record(run_id, 0, {"test_accuracy": 0.1, "test_loss": 2.3}, [Segment(0, 0.0, 0.0, "cpu", 1)])
        away(True)
        changes.complete(run_id, 0, {"train_accuracy": 0.2}, at)
        record(run_id, 1)
        away(False)
        assert reading.run(run_id).half_since == at
        assert ours.write()
    assert (reading.run(run_id).half_since, reading.run(run_id).epoch) == (None, 1)
    assert reading.history([run_id], ["train_accuracy"])[["epoch", "value"]].to_numpy().tolist() == [[0, 0.2]]


@pytest.mark.parametrize("noted", [True, False])
def test_a_worker_killed_while_it_writes_leaves_the_rest_and_nothing_twice(
    noted: bool, away: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, ours = training(), Spool("cpu")
    away(True)
    with kept(ours):
        record(run_id, 0, 1, 2)
        changes.finish(run_id, "FINISHED")
    away(False)
    carry_out, done = spool._carry_out, list[str]()

    def killed(name: str, *arguments: Any) -> bool:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(name)
        return carry_out(name, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(spool, "_carry_out", killed)
        with pytest.raises(KeyboardInterrupt):
            ours.write()
    if not noted:
        ours.place.unlink()
    with ours.path.open("ab") as file:
        file.write(b'["_log", "torn')
    assert Spool("cuda").is_empty
    assert Spool("cpu").write()
    assert epochs_of(run_id) == [0, 1, 2]
    assert (reading.run(run_id).status, reading.run(run_id).epoch) == ("FINISHED", 2)


def test_a_run_that_was_deleted_or_has_ended_is_passed_over(away: Switch) -> None:
    deleted, ended, other, ours = training(), training(), training(), Spool("cpu")
    away(True)
    with kept(ours):
        for run_id in (deleted, ended, other):
            record(run_id, 0)
            changes.finish(run_id, "FAILED", "late")
    away(False)
    changes.finish(ended, "KILLED")
    connection.client().delete_run(deleted)
    assert ours.write()
    assert (reading.run(ended).status, epochs_of(ended)) == ("KILLED", [])
    assert reading.run(other).status == "FAILED"
    changes.restore([deleted])
    assert (reading.run(deleted).status, epochs_of(deleted)) == ("RUNNING", [])


def test_another_servers_spool_stays_where_it_is(away: Switch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = training()
    away(True)
    with kept(Spool("cpu")):
        record(run_id, 0)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/another.db")
        assert Spool("cpu").is_empty
    assert not Spool("cpu").is_empty


def test_a_disk_without_room_is_one_line(away: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, ours = training(), Spool("cpu")
    away(True)
    with kept(ours):
        record(run_id, 0)
        before = ours.path.read_bytes()

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match=r"No space left on device.*free some space"):
            record(run_id, 1)
        assert ours.path.read_bytes() == before
