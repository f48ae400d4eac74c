import json
from dataclasses import replace

import pytest

from cnnviz import paths
from cnnviz.architectures import initial_weights
from cnnviz.jobs import resume, worker
from cnnviz.store import artifacts, changes, connection, reading
from cnnviz.store.runs import Segment, StackHistory
from cnnviz.train import planning
from tests.helpers.processes import kill_all
from tests.helpers.workers import LONG, TINY, start_worker, steps_of, wait_for

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_a_damaged_checkpoint_is_passed_over_and_said() -> None:
    (run_id,) = changes.schedule([LONG], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 2)
    kill_all(started)
    folder = paths.home() / "artifacts" / run_id / "artifacts" / "checkpoints"
    last = reading.run(run_id).epoch
    damaged = folder / f"epoch-{last:04d}.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    start, message = resume.start_of(reading.run(run_id))
    assert start.epoch == last - 1
    assert damaged.name in message


def test_the_stack_is_read_and_written_as_the_version_before_has_it() -> None:
    """Its keys are "begun", "threads" and "seats"."""
    (run_id,) = changes.schedule([TINY], "cpu")
    short_id = run_id[:12]
    noted = {"begun": run_id, "threads": 1, "seats": [[1, ["0123456789ab", short_id]], [3, [short_id]]]}
    tag = json.dumps(noted, separators=(",", ":"))
    connection.tag(run_id, {"stack": tag})
    history = reading.run(run_id).stack_history
    assert history is not None
    assert (history.batch, history.threads) == (run_id, 1)
    assert [history.at(epoch) for epoch in (0, 2, 3, 9)] == [("0123456789ab", short_id)] * 2 + [(short_id,)] * 2
    changes.record_stack(run_id, history)
    assert connection.client().get_run(run_id).data.tags["cnnviz.stack"] == tag


def test_one_that_was_stopped_behind_its_first_point_holds_up_nobody() -> None:
    """Its neighbour's epoch 0 is half recorded, and all of it is evaluated again."""
    config = replace(TINY, epochs=2, limit_train=500)
    stopped, goes_on = run_ids = changes.schedule([config, replace(config, lr=0.02)], "cpu")
    members = tuple(run_id[:12] for run_id in run_ids)
    for run_id in run_ids:
        changes.start(run_id, "", StackHistory(goes_on, 1, ((0, members),)))
        artifacts.save_checkpoint(run_id, 0, initial_weights(config.architecture, config.seed, config.init), {})
        changes.record(run_id, 0, {"test_accuracy": 0.1, "test_loss": 2.3}, [Segment(0, 0.0, 0.0, "cpu", 1)])
    changes.finish(stopped, "KILLED")
    plan = resume.plan([reading.run(goes_on)], planning.here("cpu"))
    assert [(member.is_placeholder, member.has_left, member.start.epoch) for member in plan.members] == [
        (True, False, -1),
        (False, False, -1),
    ]
    assert worker.work("cpu")
    assert [(run.status, run.epoch) for run in map(reading.run, run_ids)] == [("KILLED", 0), ("FINISHED", 2)]
    assert [steps_of(goes_on, metric) for metric in ("test_loss", "train_loss")] == [[0, 1, 2]] * 2
    assert reading.history([goes_on], ["test_accuracy"]).value[0] == 0.1  # as it was
    assert steps_of(stopped, "train_loss") == []
    changes.continue_runs([stopped], 1)  # once it goes on, its are looked at, too
    assert worker.work("cpu")
    assert [steps_of(stopped, metric) for metric in ("test_loss", "train_loss")] == [[0, 1]] * 2


def test_a_placeholder_is_not_the_run_whose_settings_it_has() -> None:
    """Its own run is gone for good (`mlflow gc`): its end must not end the other one, which would then train for ever
    without a recorded epoch."""
    (run_id,) = changes.schedule([TINY], "cpu")
    noted = {"begun": run_id, "threads": 1, "seats": [[0, ["0123456789ab", run_id[:12]]]]}
    connection.tag(run_id, {"stack": json.dumps(noted)})
    connection.client().update_run(run_id, status="RUNNING")  # its worker died
    plan = resume.plan([reading.run(run_id)], planning.here("cpu"))
    assert [(member.is_placeholder, member.has_left) for member in plan.members] == [(True, True), (False, False)]
    assert worker.work("cpu")
    run = reading.run(run_id)
    assert (run.status, run.epoch) == ("FINISHED", 3)
    assert [segment.stack for segment in run.segments] == [2]
