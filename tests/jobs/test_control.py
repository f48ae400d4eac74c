"""The worker for real: its own process, real signals, the synthetic data."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
import torch
from streamlit.testing.v1 import AppTest

from cnnviz import paths, wording
from cnnviz.config import RunConfig, grid
from cnnviz.errors import ConfigError, StoreError
from cnnviz.jobs import control, devices, estimate, mlflow_ui, processes, resume, worker
from cnnviz.jobs import status as status_module
from cnnviz.jobs.status import WorkerStatus, worker_file, workers, write_whole
from cnnviz.store import artifacts, changes, connection, reading
from cnnviz.train import shards

TINY = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=3000, epochs=3, lr=0.05, momentum=0.5)
pytestmark = pytest.mark.usefixtures("synthetic_root")


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    left = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            said = " ".join(process.cmdline())
            lasting = "resource_tracker" in said or ("forkserver" in said and process.ppid() == os.getpid())
            if not lasting:  # Python's own two stay for the whole session
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=10)
    for started in control._started.values():
        started.wait()
    control._started.clear()


def start_worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cnnviz", "work", "--device", "cpu"]
    with (paths.home() / "test.log").open("ab") as log:
        return subprocess.Popen(command, cwd=paths.PROJECT, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (paths.home() / "test.log").read_text()
        time.sleep(0.05)


def kill_all(worker: subprocess.Popen[bytes]) -> None:
    """kill -9 of the worker and of the processes it started."""
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for process in family:
        process.kill()
    worker.wait()
    psutil.wait_procs(family, timeout=10)


def steps_of(run_id: str) -> list[int]:
    client = connection.client()
    return sorted(each.step for each in client.get_metric_history(run_id, "test_loss"))


def test_submitted_runs_are_trained_by_a_worker_of_their_own() -> None:
    run_ids = control.submit(grid(TINY, loss=["mse", "cross_entropy"], lr=[0.05, 0.01]), "cpu")
    wait_for(lambda: not any(reading.run(run_id).active for run_id in run_ids))
    for run_id in run_ids:
        run = reading.run(run_id)
        assert (run.status, run.epoch, run.message) == ("FINISHED", 3, "")
        assert artifacts.checkpoint_epochs(run_id) == [0, 1, 2, 3]
        assert steps_of(run_id) == [0, 1, 2, 3]
        (segment,) = run.segments
        assert segment.start_epoch == 0
        assert segment.stack == max(1, 4 // shards.cores())
        frame = reading.history([run_id], ["epoch_seconds"])
        assert run.seconds == pytest.approx(frame.value.sum())
    wait_for(lambda: not workers()[0].alive)
    best = max(reading.run(run_id).best or (0, 0.0) for run_id in run_ids)
    assert best[0] > 0


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


def test_a_damaged_checkpoint_is_passed_over_and_said() -> None:
    (run_id,) = changes.schedule([RunConfig(**{**vars(TINY), "epochs": 500})], "cpu")
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


def test_stopping_keeps_the_complete_epochs() -> None:
    (run_id,) = changes.schedule([RunConfig(**{**vars(TINY), "epochs": 500})], "cpu")
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


def test_sigterm_leaves_the_runs_waiting() -> None:
    (run_id,) = changes.schedule([RunConfig(**{**vars(TINY), "epochs": 500})], "cpu")
    started = start_worker()
    wait_for(lambda: reading.run(run_id).epoch >= 1)
    started.send_signal(signal.SIGTERM)
    started.wait(20)
    assert reading.run(run_id).status == "SCHEDULED"
    assert "Traceback" not in (paths.home() / "test.log").read_text()


def test_one_worker_a_device() -> None:
    (run_id,) = changes.schedule([replace(TINY, epochs=1000)], "cpu")  # it must outlast the second one's start
    first = start_worker()
    wait_for(lambda: reading.run(run_id).status == "RUNNING")
    second = start_worker()
    assert second.wait(60) == 0
    assert "there already" in (paths.home() / "test.log").read_text()
    assert first.poll() is None
    (status,) = workers()
    assert (status.device, status.pid, status.alive) == ("cpu", first.pid, True)
    kill_all(first)


def test_a_run_without_its_data_fails_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "empty"))
    good, bad = changes.schedule([TINY, RunConfig(**{**vars(TINY), "dataset": "cifar10"})], "cpu")
    control.ensure_worker()
    wait_for(lambda: not any(reading.run(each).active for each in (good, bad)))
    assert reading.run(good).status == "FINISHED"
    failed = reading.run(bad)
    assert failed.status == "FAILED"
    assert "synthetic" in failed.message
    assert "\n" not in failed.message


def test_estimates_learn_from_what_was_measured() -> None:
    guess = estimate.estimate([TINY], "cpu")
    assert not guess.measured
    assert guess.sentence.startswith("1 run, one stack, about ")
    estimate.note_speed("cpu", TINY, 1, 0.010)
    measured = estimate.estimate([TINY], "cpu")
    assert measured.measured
    assert measured.seconds == pytest.approx(6 + 1.1 * 0.010 * 900)
    assert estimate.estimate(grid(TINY, seed=[0, 1]), "cpu").stacks == 2


def test_devices() -> None:
    assert devices.resolve("auto") == devices.available()[0]
    with pytest.raises(ConfigError, match="choose one of auto"):
        devices.resolve("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no cuda"):
            devices.resolve("cuda")


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (59.4, "59 s"), (59.6, "1 min"), (540, "9 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


def test_mlflows_own_ui_starts_on_loopback_and_only_once() -> None:
    changes.schedule([TINY], "cpu")
    url = mlflow_ui.start(5750)
    assert url.startswith("http://127.0.0.1:57")
    assert mlflow_ui.start(5750) == url
    port = int(url.rsplit(":", 1)[1])
    listening = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_an_mlflow_ui_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://store")
    with pytest.raises(StoreError, match="did not start"):
        mlflow_ui.start(5790)


def test_no_environment_is_left_changed_by_starting_a_shard() -> None:
    before = dict(os.environ)
    pipe, process = shards._launch(shards.Shard((0,), 1), TINY, "cpu")
    assert dict(os.environ) == before
    process.kill()
    pipe.close()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fork_trains_on_from_its_parent(optimizer: str) -> None:
    parent = replace(TINY, epochs=1, optimizer=optimizer, lr=0.01)
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


@pytest.mark.usefixtures("warm_server")
def test_a_worker_that_hangs_is_seen_and_replaced_by_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = changes.schedule([replace(TINY, epochs=40)], "cpu")
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


def test_a_worker_that_is_stopped_itself_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    status = WorkerStatus("cpu", 1, "training", time.time() - 100, silent_seconds=2.0)
    assert (status.hangs_for or 0) >= 100
    assert replace(status, alive=False).hangs_for is None
    assert replace(status, updated_at=time.time() + 3600).hangs_for is None  # the clock was set back
    assert replace(status, updated_at=time.time(), silent_seconds=500.0).hangs_for is None  # compiling


def test_a_run_deleted_elsewhere_while_it_trains_leaves_its_neighbours_alone() -> None:
    configs = [replace(TINY, epochs=500, loss="mse"), replace(TINY, epochs=4)]
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


def test_after_a_worker_that_failed_the_next_one_waits_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    changes.schedule([TINY], "cpu")
    started: list[object] = []
    monkeypatch.setattr(processes, "detached", lambda command, log: started.append(command))
    failed = WorkerStatus("cpu", 1, "failed", time.time(), message="no room: free some space")
    write_whole(worker_file("cpu", "json"), json.dumps(asdict(failed)))
    control.ensure_worker()
    assert not started
    assert ["no room: free some space" in line for line in control.troubles(workers())] == [True]
    monkeypatch.setattr(control, "_free_bytes", lambda: 1_000)
    write_whole(worker_file("cpu", "json"), json.dumps(asdict(replace(failed, updated_at=time.time() - 60))))
    control.ensure_worker()
    assert not started
    assert "0.0 MB left" in control.troubles([])[0]
    monkeypatch.setattr(control, "_free_bytes", lambda: 10**9)
    control.ensure_worker()
    assert len(started) == 1
    control._started.clear()


def test_a_log_is_begun_again_where_it_grew_too_long() -> None:
    log = worker_file("cpu", "log")
    log.write_bytes(bytes(processes.LOG_BYTES + 1))
    processes.bound(worker_file("cpu", "log"))
    assert log.stat().st_size == 0


def test_no_zombie_is_left() -> None:
    process = processes.detached([sys.executable, "-c", ""], worker_file("cpu", "log"))
    wait_for(lambda: not psutil.pid_exists(process.pid), 20)
