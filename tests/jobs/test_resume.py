import json

import pytest

from cnnviz import paths
from cnnviz.jobs import resume, worker
from cnnviz.store import changes, connection, reading
from cnnviz.train import planning
from tests.helpers.processes import kill_all
from tests.helpers.workers import LONG, TINY, start_worker, wait_for

pytestmark = pytest.mark.usefixtures("synthetic_root", "no_process_left")


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
