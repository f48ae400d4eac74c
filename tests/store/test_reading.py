import json
import math
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.store import addresses, changes, connection, reading
from cnnviz.store.runs import Segment, figure_to_rank
from tests.helpers.runs import record, run

CONFIG = RunConfig(lr=0.001, epochs=3)


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


def test_with_pictures_held_out_the_best_epoch_has_the_lowest_validation_loss() -> None:
    (run_id,) = changes.schedule([replace(CONFIG, validation=1000)], "cpu")
    figures = {  # validation loss, validation accuracy, test accuracy
        0: (0.1, 0.9, 0.9),
        1: (2.0, 0.3, 0.8),
        2: (1.0, 0.4, 0.3),
        3: (1.5, 0.5, 0.4),
        4: (math.nan, 0.1, 0.1),
    }
    for epoch, (loss, held_out, tested) in figures.items():
        metrics = {"test_accuracy": tested, "val_loss": loss, "val_accuracy": held_out}
        changes.record(run_id, epoch, metrics, [Segment(0, 0.0, 1.0, "cpu", 1)])
    found = reading.run(run_id)
    assert (found.best, found.best_accuracy, found.best_val_accuracy) == ((2, 0.3), 0.3, 0.4)
    assert found.best_within(1) == (1, 0.8)
    assert found.val_accuracy == (0.9, 0.3, 0.4, 0.5, 0.1)
    MlflowClient(addresses.tracking_uri()).log_metric(run_id, "val_loss", 0.01, step=3)  # another program's
    assert reading.run(run_id).best == (2, 0.3)


def test_runs_are_ranked_by_validation_if_all_of_them_have_it() -> None:
    made = replace(run("a"), accuracy=(0.1, 0.5), val_loss=(2.0, 1.0), val_accuracy=(0.1, 0.3))
    other = replace(run("b"), accuracy=(0.1, 0.4), val_loss=(2.0, 1.0), val_accuracy=(0.1, 0.6))
    plain = replace(run("c"), accuracy=(0.1, 0.45))
    waiting = run("d")
    assert max([made, other, waiting], key=figure_to_rank([made, other, waiting])) is other
    every = [made, other, plain, waiting]
    assert sorted(every, key=figure_to_rank(every)) == [waiting, other, plain, made]


def test_a_step_written_twice_counts_once() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for accuracy in (0.1, 0.2):
        record(run_id, 0, accuracy)
    assert reading.run(run_id).accuracy == (0.1,), "what was announced stays"
    assert len(reading.history([run_id], ["test_accuracy", "test_loss"])) == 2


def test_the_queue_is_first_come_first_served_and_by_device() -> None:
    first, second = changes.schedule([CONFIG, CONFIG], "cpu")
    (elsewhere,) = changes.schedule([CONFIG], "cuda")
    assert [run.id for run in reading.queue("cpu")] == [first, second]
    changes.start(first)  # by a worker that then died
    assert [run.id for run in reading.queue("cpu")] == [first, second]
    changes.finish(first, "FINISHED")
    assert [run.id for run in reading.queue("cpu")] == [second]
    assert [run.id for run in reading.queue("cuda")] == [elsewhere]


def test_other_programs_runs_are_passed_over() -> None:
    (ours,) = changes.schedule([CONFIG], "cpu")
    client, experiment = connection.client(), connection.experiment()
    client.create_run(experiment, run_name="theirs")
    client.create_run(experiment, tags={"cnnviz.target_epochs": "many"})
    assert [run.id for run in reading.runs()] == [ours]


def test_an_epoch_0_is_half_until_the_training_pictures_figures_are_there() -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    at = changes.record(run_id, 0, {"test_accuracy": 0.1, "test_loss": 2.3}, [])
    half = reading.run(run_id)
    assert (half.epoch, half.accuracy, half.half_since) == (0, (0.1,), at)
    names = ["test_loss", "train_loss", "train_accuracy"]
    assert reading.history([run_id], names).metric.tolist() == names[:1]
    changes.complete(run_id, 0, {"train_accuracy": 0.2, "train_loss": math.nan}, at)
    assert reading.run(run_id) == replace(half, half_since=None)
    history = reading.history([run_id], names)
    assert (history.metric.tolist(), history.epoch.tolist()) == (names, [0, 0, 0])


@pytest.mark.parametrize("wanted", ["", "nothing", "0" * 32, "%", "'; drop table runs; --"])
def test_an_unknown_run_is_said_in_one_line(wanted: str) -> None:
    changes.schedule([CONFIG], "cpu")
    with pytest.raises(StoreError, match="no run") as caught:
        reading.run(wanted)
    assert "\n" not in str(caught.value)


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
    another = MlflowClient(addresses.tracking_uri())  # as a worker's process
    segments = [{"start_epoch": 0, "started_at": 1.0, "seconds": 2.0, "device": "cpu", "threads": 1, "epoch": 1}]
    another.set_tag(second, "cnnviz.segments", json.dumps(segments))
    another.log_batch(second, metrics=[Metric("test_accuracy", 0.7, 1, 1)])
    assert {run.id: run.accuracy for run in reading.runs()}[second] == (0.1, 0.7)
    another.set_tag(first, "mlflow.runName", "renamed")
    another.delete_run(third)
    assert {run.id: run.name == "renamed" for run in reading.runs()} == {first: True, second: False}
    assert asked[4:] == [[second], [first]]
    another.restore_run(third)
    record(third, 1, 0.1, math.nan)  # the same figures again
    assert {run.id: run.epoch for run in reading.runs()} == {first: 0, second: 1, third: 1}
