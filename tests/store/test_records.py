"""What other programs, and people in MLflow's UI, do to cnnviz's runs: nothing is believed, nothing is lost."""

import json
import math
from dataclasses import replace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.store import addresses, changes, connection, reading
from cnnviz.store.runs import Run, Segment
from tests.helpers.runs import record, trained

CONFIG = RunConfig(lr=0.001, epochs=3)
NONSENSE = (
    "",
    "yesterday",
    "-1",
    "nan",
    "1e999",
    "null",
    "[]",
    "{}",
    "[1]",
    '[{"start_epoch": "x"}]',
    "9" * 5000,
    "[" * 5000,
)
TAGS = (
    *("target_epochs", "device", "queued_at", "status", "segments", "stack", "parent", "fork_epoch", "message"),
    "patience_from",
)


@pytest.fixture
def theirs() -> MlflowClient:
    """Another program's connection to the same store."""
    reading.runs()
    return MlflowClient(addresses.tracking_uri())


def set_by_hand(theirs: MlflowClient, run_id: str, tag: str, value: str) -> None:
    theirs.log_batch(run_id, tags=[RunTag(f"cnnviz.{tag}", value)])


def facts(run: Run) -> tuple[Any, ...]:
    """What a tag that somebody edits must not change."""
    return run.id, run.epoch, run.accuracy, run.best, run.first_epoch, replace(run.config, epochs=1)


def usable(run: Run) -> None:
    """What pages and the command line do with every run."""
    assert math.isfinite(run.seconds + run.queued_at)
    assert run.created.year >= 1970
    assert (run.device, run.status in ("FINISHED", "KILLED")) == ("cpu", True)
    if run.stack_history:
        run.stack_history.at(1)


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: value[:12] or "cleared")
def test_a_tag_of_nonsense_hides_no_run_and_changes_no_epoch(value: str, theirs: MlflowClient) -> None:
    whole, fork = trained(CONFIG), changes.fork(trained(CONFIG), 2, {"lr": 0.5}, 4, "cpu")
    changes.start(fork)
    changes.record(fork, 3, {"test_accuracy": 0.7, "test_loss": 1.0}, [Segment(2, 1000.0, 5.0, "cpu", 1)])
    changes.finish(fork, "KILLED")
    before = {run.id: run for run in reading.runs()}
    for run_id in (whole, fork):
        for tag in TAGS:
            kept = theirs.get_run(run_id).data.tags.get(f"cnnviz.{tag}")
            set_by_hand(theirs, run_id, tag, value[:5000])
            found = {run.id: run for run in reading.runs()}
            assert found.keys() == before.keys(), tag
            assert facts(found[run_id]) == facts(before[run_id]), tag
            usable(found[run_id])
            if kept is None:
                theirs.delete_tag(run_id, f"cnnviz.{tag}")
            else:
                set_by_hand(theirs, run_id, tag, kept)


def test_an_unreadable_tag_is_named(theirs: MlflowClient) -> None:
    run_id = trained(CONFIG)
    set_by_hand(theirs, run_id, "queued_at", "yesterday")
    assert reading.run(run_id).message == "the tag cnnviz.queued_at was changed to something unreadable"
    set_by_hand(theirs, run_id, "message", "trained twice")
    assert reading.run(run_id).message.startswith("trained twice; the tag cnnviz.queued_at")


@pytest.mark.parametrize("tag", ["target_epochs", "status", "segments"])
def test_a_deleted_tag_loses_no_run(tag: str, theirs: MlflowClient) -> None:
    run_id = trained(CONFIG)
    theirs.delete_tag(run_id, f"cnnviz.{tag}")
    run = reading.run(run_id)
    assert (run.epoch, run.status, run.config.epochs, len(run.accuracy)) == (3, "FINISHED", 3, 4)
    (waiting,) = changes.schedule([CONFIG], "cpu")
    theirs.delete_tag(waiting, f"cnnviz.{tag}") if tag != "segments" else None
    assert [each.id for each in reading.queue("cpu")] == [waiting]


@pytest.mark.parametrize("step", [100, 4, 3, 0])
@pytest.mark.parametrize("alone", [True, False])
def test_metrics_that_another_program_logs_are_no_epochs(step: int, alone: bool, theirs: MlflowClient) -> None:
    run_id = trained(replace(CONFIG, epochs=20))
    before = reading.run(run_id), reading.history([run_id], ["test_accuracy", "test_loss"])
    names = ["test_accuracy"] if alone else ["test_accuracy", "test_loss", "f1"]
    theirs.log_batch(run_id, metrics=[Metric(name, 0.987, 10**13, step) for name in names])
    assert (reading.run(run_id), reading.runs()) == (before[0], [before[0]])
    assert reading.history([run_id], ["test_accuracy", "test_loss", "f1"]).equals(before[1])
    changes.continue_runs([run_id], 2)  # and the run goes on from its own last epoch
    run = reading.run(run_id)
    assert (run.epoch, run.config.epochs) == (3, 5)


def test_an_epoch_counts_that_another_program_has_logged_to_before(theirs: MlflowClient) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    changes.start(run_id)
    theirs.log_metric(run_id, "test_accuracy", 0.987, timestamp=1, step=1)
    for epoch in range(2):
        metrics = dict.fromkeys((*reading.EPOCH_METRICS, "test_accuracy"), 0.25)
        changes.record(run_id, epoch, metrics, [Segment(0, 1000.0, 5.0, "cpu", 1)])
    assert reading.run(run_id).accuracy == (0.25, 0.25)
    assert reading.history([run_id], ["test_accuracy"]).value.tolist() == [0.25, 0.25]


def test_a_run_that_was_not_begun_has_no_epochs_of_others(theirs: MlflowClient) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    theirs.log_metric(run_id, "test_accuracy", 0.9, step=100)
    assert (reading.run(run_id).epoch, reading.run(run_id).accuracy) == (-1, ())


def test_a_fork_takes_nothing_of_others_along(theirs: MlflowClient) -> None:
    parent = trained(CONFIG)
    theirs.log_metric(parent, "test_f1", 0.9, step=2)
    fork = changes.fork(parent, 2, {"lr": 0.5}, 4, "cpu")
    assert reading.metric_names(fork) == ["test_accuracy", "test_loss"]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED", "SCHEDULED", "RUNNING"])
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its fluent interface
def test_a_script_that_opens_a_run_leaves_its_status_alone(status: str) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    if status != "SCHEDULED":
        changes.start(run_id)
        record(run_id, 0)
    if status not in ("SCHEDULED", "RUNNING"):
        changes.finish(run_id, status)
    queued = [run_id] if status in ("SCHEDULED", "RUNNING") else []
    mlflow.set_tracking_uri(addresses.tracking_uri())
    try:
        with mlflow.start_run(run_id=run_id):
            mlflow.log_metric("note", 1.0)
            assert connection.client().get_run(run_id).info.status == "RUNNING"
            assert reading.run(run_id).status == status
            assert [run.id for run in reading.queue("cpu")] == queued
            assert changes.is_wanted(run_id) == bool(queued)
        assert reading.run(run_id).status == status
        assert [run.id for run in reading.queue("cpu")] == queued
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    if not queued:
        assert not changes.start(run_id)
        with pytest.raises(StoreError, match="nothing to stop"):
            changes.request_stop([run_id])
        changes.continue_runs([run_id], 2)
        assert reading.run(run_id).status == "SCHEDULED"


def test_of_a_version_without_the_status_only_what_was_interrupted_goes_on(theirs: MlflowClient) -> None:
    stopped, interrupted, continued = changes.schedule([CONFIG] * 3, "cpu")
    for run_id in (stopped, interrupted, continued):
        changes.start(run_id)
        record(run_id, 0)
    for run_id in (stopped, continued):
        changes.finish(run_id, "KILLED")
    changes.continue_runs([continued], 2)
    changes.start(continued)
    for run_id in (stopped, interrupted, continued):
        theirs.delete_tag(run_id, "cnnviz.status")
    theirs.update_run(stopped, "RUNNING")  # as mlflow.start_run(run_id=...) does
    assert {run.id for run in reading.queue("cpu")} == {interrupted, continued}
    assert reading.run(stopped).status == "KILLED"


def test_a_renamed_experiment_is_still_cnnvizs(theirs: MlflowClient) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    experiment = connection.experiment()
    theirs.rename_experiment(experiment, "my networks")
    connection._connect.cache_clear()  # as a new process
    assert [run.id for run in reading.runs()] == [run_id]
    assert [each.name for each in theirs.search_experiments()] == ["my networks", "Default"]
    theirs.rename_experiment(experiment, "cnnviz")
    connection._connect.cache_clear()
    assert [run.id for run in reading.runs()] == [run_id]


def test_a_renamed_experiment_of_an_earlier_version_is_found(theirs: MlflowClient) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    theirs.rename_experiment(connection.experiment(), "my networks")
    theirs.delete_experiment_tag(connection.experiment(), "cnnviz.experiment")
    connection._connect.cache_clear()
    assert [run.id for run in reading.runs()] == [run_id]
    assert connection.client().get_experiment(connection.experiment()).tags["cnnviz.experiment"] == "true"


def test_a_deleted_experiment_is_one_line(theirs: MlflowClient) -> None:
    theirs.delete_experiment(connection.experiment())
    connection._connect.cache_clear()
    with pytest.raises(StoreError, match="the experiment 'cnnviz' was deleted in MLflow: restore it there first"):
        reading.runs()


def test_what_a_newer_cnnviz_noted_besides_does_not_hide_a_run() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    segment = {"start_epoch": 0, "started_at": 1.0, "seconds": 2.0, "device": "cpu", "threads": 1, "colour": "blue"}
    connection.client().set_tag(run_id, "cnnviz.segments", json.dumps([segment]))
    assert reading.run(run_id).segments == (Segment(0, 1.0, 2.0, "cpu", 1),)
