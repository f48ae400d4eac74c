"""The user's side, with real workers."""

import json
import time
from dataclasses import asdict, replace

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.config import RunConfig, grid
from cnnviz.jobs import control, processes
from cnnviz.jobs import status as status_module
from cnnviz.jobs.files import job_file, write_atomically
from cnnviz.jobs.status import WorkerStatus, workers
from cnnviz.store import artifacts, changes, reading
from cnnviz.train import planning
from tests.helpers.workers import LONG, TINIEST, start_worker, steps_of, wait_for

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_submitted_runs_are_trained_by_a_worker_of_their_own() -> None:
    run_ids = control.submit(grid(TINIEST, loss=["mse", "cross_entropy"], lr=[0.05, 0.01]), "cpu")
    wait_for(lambda: not any(reading.run(run_id).active for run_id in run_ids))
    for run_id in run_ids:
        run = reading.run(run_id)
        assert (run.status, run.epoch, run.message) == ("FINISHED", 3, "")
        assert artifacts.checkpoint_epochs(run_id) == [0, 1, 2, 3]
        assert steps_of(run_id) == [0, 1, 2, 3]
        (segment,) = run.segments
        assert segment.start_epoch == 0
        assert segment.stack == max(1, 4 // planning.cores())
        frame = reading.history([run_id], ["epoch_seconds"])
        assert run.seconds == pytest.approx(frame.value.sum())
    wait_for(lambda: not workers()[0].alive)
    best = max(reading.run(run_id).best or (0, 0.0) for run_id in run_ids)
    assert best[0] > 0


@pytest.mark.usefixtures("warm_workers")
def test_a_worker_that_stands_by_trains_what_is_launched_next() -> None:
    control.stand_by("cpu")
    standby = control._standing_by["cpu"]
    control.stand_by("cpu")
    assert control._standing_by["cpu"] is standby  # one is enough
    assert workers() == []
    (run_id,) = control.submit([TINIEST], "cpu")
    wait_for(lambda: not reading.run(run_id).active)
    assert (reading.run(run_id).status, workers()[0].pid) == ("FINISHED", standby.pid)
    wait_for(lambda: standby.poll() == 0)

    control.stand_by("cpu")
    standby = control._standing_by["cpu"]
    control._dismiss(standby)  # as after a while, or at the end of the process that started it
    (run_id,) = control.submit([TINIEST], "cpu")
    wait_for(lambda: not reading.run(run_id).active)
    assert reading.run(run_id).status == "FINISHED"
    assert workers()[0].pid != standby.pid
    assert standby.wait(60) == 0


@pytest.mark.usefixtures("warm_workers")
def test_stopping_keeps_the_complete_epochs() -> None:
    (run_id,) = changes.schedule([LONG], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 1)
    control.stop([run_id])
    wait_for(lambda: reading.run(run_id).status == "KILLED", 30)
    assert started.wait(30) == 0
    epoch = reading.run(run_id).epoch
    assert artifacts.checkpoint_epochs(run_id)[-1] == epoch
    control.continue_runs([run_id], 1)
    wait_for(lambda: reading.run(run_id).status == "FINISHED")
    assert reading.run(run_id).epoch == epoch + 1


@pytest.mark.usefixtures("warm_workers")
def test_the_time_from_the_click_to_the_result_is_recorded_in_parts_that_add_up() -> None:
    """And a run goes on in the way in which its steps were run before."""
    config = RunConfig(dataset="synthetic", limit_train=6000, epochs=1)  # 600 steps: too few for the kernel
    clicked = time.time()
    (run_id,) = control.submit([config], "cpu")
    wait_for(lambda: not reading.run(run_id).active)
    whole = time.time() - clicked
    run = reading.run(run_id)
    (segment,) = run.segments
    assert segment.method == "eager"
    assert segment.started_at - run.queued_at == pytest.approx(segment.waited, abs=1e-3)
    assert segment.setup > 0.1, "a worker, its shard's process and the data"
    recorded = segment.waited + segment.setup + segment.seconds
    assert 0.8 * whole < recorded <= whole, "the rest: the run is ended, and this test looks twice a second"
    control.continue_runs([run_id], 1)
    wait_for(lambda: not reading.run(run_id).active)
    again = reading.run(run_id)
    before, after = again.segments
    assert before == segment
    assert after.method == "eager"  # by the number of its steps it would be the kernel
    assert after.started_at > before.started_at + before.setup + before.seconds
    assert after.waited == pytest.approx(after.started_at - again.queued_at, abs=1e-3)


@pytest.mark.usefixtures("warm_server", "warm_workers")
def test_a_worker_that_hangs_is_seen_and_replaced_by_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = changes.schedule([LONG], "cpu")
    hanging = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 1)
    monkeypatch.setattr(status_module, "SHARD_SILENT_SECONDS", 6)
    assert workers()[0].hangs_for is None
    for shard in psutil.Process(hanging.pid).children(recursive=True):
        shard.suspend()
    wait_for(lambda: workers()[0].hangs_for is not None)
    assert (workers()[0].hangs_for or 0) >= 6
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    assert "has not moved for" in "".join(each.value for each in opened.warning)
    (button,) = (each for each in opened.button if each.label == "Replace it")
    button.click().run()
    assert not opened.exception
    hanging.wait(20)
    epoch = reading.run(run_id).epoch
    wait_for(lambda: reading.run(run_id).epoch > epoch)
    assert steps_of(run_id) == list(range(reading.run(run_id).epoch + 1))


def test_after_a_worker_that_failed_the_next_one_waits_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    changes.schedule([TINIEST], "cpu")
    started: list[object] = []
    monkeypatch.setattr(processes, "detached", lambda command, log, **_: started.append(command))
    failed = WorkerStatus("cpu", 1, "failed", time.time(), message="no room: free some space")
    write_atomically(job_file("cpu", "json"), json.dumps(asdict(failed)))
    control.ensure_worker()
    assert not started
    assert ["no room: free some space" in line for line in control.troubles(workers())] == [True]
    monkeypatch.setattr(control, "_free_bytes", lambda: 1_000)
    write_atomically(job_file("cpu", "json"), json.dumps(asdict(replace(failed, updated_at=time.time() - 60))))
    control.ensure_worker()
    assert not started
    assert "0.0 MB left" in control.troubles([])[0]
    monkeypatch.setattr(control, "_free_bytes", lambda: 10**9)
    control.ensure_worker()
    assert len(started) == 1
    control._started.clear()
