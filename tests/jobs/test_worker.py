"""The worker for real: its own process, real signals, the synthetic data."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnnviz import paths
from cnnviz.errors import StoreError
from cnnviz.jobs import control, worker
from cnnviz.jobs.status import workers
from cnnviz.store import artifacts, changes, connection, reading
from tests.helpers.processes import kill_all
from tests.helpers.workers import LONG, TINIEST, TINY, start_worker, steps_of, wait_for

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left", "warm_workers")


def test_killed_it_goes_on_by_itself_and_ends_bit_for_bit_the_same() -> None:
    (through,) = changes.schedule([TINY], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(through).status == "FINISHED")
    started.wait()
    (broken,) = changes.schedule([TINY], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(broken).epoch >= 1)
    kill_all(started)
    assert reading.run(broken).status == "RUNNING"
    assert not workers()[0].alive
    control.ensure_worker()
    wait_for(lambda: reading.run(broken).status == "FINISHED")
    assert steps_of(broken) == [0, 1, 2, 3]
    assert len(reading.run(broken).segments) == 2
    ours, theirs = (artifacts.load_checkpoint(reading.run(each), 3) for each in (broken, through))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_stops_once_its_patience_has_run_out_wherever_it_was_killed() -> None:
    patient = replace(TINY, limit_train=500, validation=1000, lr=0.2, epochs=100, patience=2)
    (through,) = changes.schedule([patient], "cpu")
    assert worker.work("cpu")
    whole = reading.run(through)
    assert (whole.status, whole.stopped_early) == ("FINISHED", True)
    lowest = min(range(1, whole.epoch + 1), key=lambda epoch: whole.val_loss[epoch])
    assert whole.best == (lowest, whole.accuracy[lowest])
    assert whole.epoch == lowest + 2
    (broken,) = changes.schedule([patient], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(broken).epoch >= 1)
    kill_all(started)
    assert worker.work("cpu")
    again = reading.run(broken)
    assert (again.status, again.epoch, again.val_loss) == ("FINISHED", whole.epoch, whole.val_loss)
    ours, theirs = (artifacts.load_checkpoint(each, each.epoch) for each in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    connection.tag(broken, {"status": "RUNNING"})  # killed after its last epoch was recorded, before its end was
    assert worker.work("cpu")
    assert (reading.run(broken).status, steps_of(broken)) == ("FINISHED", list(range(whole.epoch + 1)))
    changes.continue_runs([broken], 1)  # its patience is counted anew
    assert worker.work("cpu")
    assert (reading.run(broken).epoch, reading.run(broken).stopped_early) == (whole.epoch + 1, False)


def test_sigterm_leaves_the_runs_waiting() -> None:
    (run_id,) = changes.schedule([LONG], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 1)
    started.send_signal(signal.SIGTERM)
    started.wait(20)
    assert reading.run(run_id).status == "SCHEDULED"
    assert "Traceback" not in (paths.home() / "test.log").read_text()


def test_one_worker_a_device() -> None:
    (run_id,) = changes.schedule([LONG], "cpu")  # it must outlast the second one's start
    first = start_worker()
    wait_for(lambda: reading.run(run_id).status == "RUNNING")
    second = start_worker()
    assert second.wait(60) == 0
    assert "there already" in (paths.home() / "test.log").read_text()
    assert first.poll() is None
    (status,) = workers()
    assert (status.device, status.pid, status.alive) == ("cpu", first.pid, True)
    kill_all(first)


def test_a_run_without_its_data_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_pictures: Path
) -> None:
    (drawn,) = few_pictures.iterdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / drawn.name).symlink_to(drawn)
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "data"))
    good, bad = changes.schedule([TINIEST, replace(TINIEST, dataset="cifar10")], "cpu")
    control.ensure_worker()
    wait_for(lambda: not any(reading.run(each).active for each in (good, bad)))
    assert reading.run(good).status == "FINISHED"
    failed = reading.run(bad)
    assert failed.status == "FAILED"
    assert "synthetic" in failed.message
    assert "\n" not in failed.message


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fork_trains_on_from_its_parent(optimizer: str) -> None:
    parent = replace(TINIEST, epochs=1, optimizer=optimizer, lr=0.01)
    (run_id,) = changes.schedule([parent], "cpu")
    assert worker.work("cpu")
    fork = changes.fork(run_id, 1, {"lr": 0.002}, 2, "cpu")
    assert worker.work("cpu")
    run = reading.run(fork)
    assert (run.status, run.epoch, run.message) == ("FINISHED", 3, "")
    assert steps_of(fork) == [1, 2, 3]
    assert artifacts.checkpoint_epochs(fork) == [1, 2, 3]
    assert [segment.start_epoch for segment in run.segments] == [1]
    assert reading.run(run_id).epoch == 1


def test_a_run_deleted_elsewhere_while_it_trains_leaves_its_neighbours_alone() -> None:
    configs = [replace(LONG, loss="mse"), replace(LONG, epochs=4)]
    gone, stays = changes.schedule(configs, "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(gone).epoch >= 1)
    with pytest.raises(StoreError, match="stop it first"):
        changes.delete([gone])
    with pytest.raises(StoreError, match="still training"):
        control.continue_runs([gone], 3)
    connection.client().delete_run(gone)  # as MLflow's own UI does
    assert started.wait(120) == 0
    assert reading.run(stays).status == "FINISHED"
    assert steps_of(stays) == [0, 1, 2, 3, 4]
