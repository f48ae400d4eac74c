"""Kill the worker at chosen and at random instants: every epoch is kept, and all ends bit for bit as if undisturbed.

By hand, for longer:  CNNVIZ_KILLS=200 CNNVIZ_SEED=7 pytest -s tests/jobs/test_faults.py -k random
"""

import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from mlflow import MlflowClient

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.jobs import control, worker
from cnnviz.store import artifacts, changes, checkpoints, connection, reading
from cnnviz.train import shards
from tests.conftest import of_pictures
from tests.helpers import processes
from tests.helpers.processes import forked
from tests.helpers.workers import steps_of

KILLS = int(os.environ.get("CNNVIZ_KILLS", "6"))
BY_HAND = KILLS > 6  # longer than anybody waits for the tests
SEED = int(os.environ.get("CNNVIZ_SEED", "0")) or random.randrange(1, 10**6)
BASE = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=100, lr=0.05, momentum=0.5)
# Their stack shrinks on the way: three of the five are done at half time.
CONFIGS = [
    replace(BASE, activation=activation, lr=lr, epochs=epochs)
    for activation, lr, epochs in [
        ("tanh", 0.05, 3),
        ("relu", 0.02, 6),
        ("tanh", 0.01, 3),
        ("sigmoid", 0.05, 6),
        ("relu", 0.05, 3),
    ]
]
# One that is trained on its own, by autograd, with all that is drawn at random or remembered between steps.
ALONE = replace(BASE, batch_norm="on", dropout=0.2, augment="flip+shift", schedule="cosine", epochs=3)
pytestmark = [
    pytest.mark.usefixtures("on_fewer_pictures"),
    pytest.mark.skipif(sys.platform == "win32", reason="kills and forks as POSIX does"),
]


# -- faults, put in place within the worker's process -----------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, owner: Any, name: str, then: Callable[[], object] = die) -> Callable[[], None]:
    """Just before the number-th call of owner.name, something happens."""

    def put_in_place() -> None:
        plain, calls = getattr(owner, name), iter(range(1, 10**9))

        def called(*arguments: Any, **options: Any) -> Any:
            if next(calls) == number:
                then()
            return plain(*arguments, **options)

        setattr(owner, name, called)

    return put_in_place


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def small_files() -> None:
    """No file may grow past 8 kB: neither a checkpoint nor the store."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def family(pid: int) -> list[psutil.Process]:
    """All that come from a process: the shards, once there are any, are the last."""
    return psutil.Process(pid).children(recursive=True)


def fork_server(pid: int) -> list[psutil.Process]:
    """The process that a worker's shards are forked from; none before it is there."""
    return [each for each in psutil.Process(pid).children() if "forkserver" in " ".join(each.cmdline())]


def store_class() -> Any:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore


FAULTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "while it marks its runs": at_call(3, changes, "start"),
    "before the first epoch of the second run": at_call(2, changes, "record"),
    "in the middle of a checkpoint": at_call(13, os, "fsync"),
    "before a checkpoint gets its name": at_call(11, Path, "replace"),
    "between a checkpoint and its metrics": at_call(7, changes, "record"),
    "between an epoch's segments and its metrics": at_call(10, MlflowClient, "log_batch"),
    "within the writing of metrics": lambda: at_call(4, store_class(), "_update_latest_metrics_if_necessary")(),
    "before the metrics of the sixth epoch": at_call(6, changes, "record"),
    "between the late figures of two runs": at_call(2, changes, "complete"),
    "before a run is marked as finished": at_call(2, changes, "finish"),
    "the disk fills at a checkpoint": at_call(6, os, "fsync", full_disk),
    "the disk fills at the metrics": at_call(3, changes, "record", full_disk),
    "no file may grow": small_files,
    "terminated": at_call(5, changes, "record", lambda: os.kill(os.getpid(), signal.SIGTERM)),
    "Ctrl-C": at_call(5, changes, "record", lambda: os.kill(os.getpid(), signal.SIGINT)),
    "a shard is killed": at_call(4, changes, "record", lambda: family(os.getpid())[-1].kill()),
    "the shards' fork server is killed": at_call(4, changes, "record", lambda: fork_server(os.getpid())[0].kill()),
    "the clock goes back a day": lambda: at_call(3, time, "time", lambda: step_clock(-86400))(),
    "the clock goes on a day": lambda: at_call(3, time, "time", lambda: step_clock(86400))(),
}


def step_clock(seconds: float) -> None:
    time.time = lambda: time.time_ns() / 1e9 + seconds


def worker_main(environment: dict[str, str], fault: str) -> None:
    os.environ.update(environment)
    os.setsid()
    with (paths.home() / "test.log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    processes.warm_shards()
    shards.warm_up("cpu")  # as `python -m cnnviz work` does: the fault is this process's
    FAULTS[fault]()
    with contextlib.suppress(worker.Stopped, KeyboardInterrupt):
        worker.work("cpu")


def first_start(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    changes.schedule(CONFIGS[:1], "cpu")


# -- the test's own side ----------------------------------------------------------------------------


def start(fault: str = "none") -> Any:
    environment = {name: value for name, value in os.environ.items() if name.startswith("CNNVIZ_")}
    return forked(worker_main, environment, fault)


def go_on(fault: str = "none") -> None:
    """A worker, to its end."""
    process = start(fault)
    process.join(300)
    assert not process.is_alive(), fault


def schedule() -> list[str]:
    return changes.schedule(CONFIGS, "cpu")


def whole(run_ids: list[str]) -> tuple[int, int]:
    """Recorded epochs and steps recorded twice; and nothing half done lies under a final name."""
    epochs = twice = 0
    for run_id in run_ids:
        for metric in ("test_loss", "train_loss", "epoch_seconds"):
            history = connection.client().get_metric_history(run_id, metric)
            steps = Counter(point.step for point in history)
            twice += sum(count - 1 for count in steps.values())
            assert sorted(steps) == list(range(len(steps)))
        epochs += len(steps) - 1 if steps else 0
        run = reading.run(run_id)
        for epoch in range(run.epoch + 1):
            artifacts.load_checkpoint(run, epoch)
    for path in (paths.home() / "artifacts").rglob("*.safetensors"):
        checkpoints.load(path)
    return epochs, twice


State = list[list[dict[str, torch.Tensor]]]
took = 5.0  # seconds that a worker needs when nothing happens


def state(run_ids: list[str]) -> State:
    """Weights by run and epoch, and behind them the optimizer's."""
    found = []
    for run_id in run_ids:
        run = reading.run(run_id)
        assert (run.status, run.epoch) == ("FINISHED", run.config.epochs), run.message
        epochs = [artifacts.load_checkpoint(run, epoch) for epoch in range(run.epoch + 1)]
        found.append([*epochs, artifacts.load_optimizer(run, run.epoch)])
    return found


def equal(ours: State, theirs: State) -> bool:
    return all(
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for mine, their in zip(ours, theirs, strict=True)
        for one, other in zip(mine, their, strict=True)
    )


@pytest.fixture(scope="module")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_pictures(tmp_path_factory, BASE.limit_train, 200)


@pytest.fixture
def on_fewer_pictures(_drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that recording takes longer than training: what is killed at random instants is mostly at that."""
    monkeypatch.setenv("CNNVIZ_DATA", str(_drawn))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, _drawn: Path) -> State:
    """What the runs come to when nothing happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIZ_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setenv("CNNVIZ_DATA", str(_drawn))
        forked(print).join()  # whoever is first waits for the libraries
        run_ids, began = schedule(), time.monotonic()
        go_on()
        global took
        took = time.monotonic() - began
        return state(run_ids)


@pytest.fixture(autouse=True)
def _nobody_left() -> Iterator[None]:
    yield
    for process in control._started.values():
        process.kill()
        process.wait()
    control._started.clear()


def test_a_worker_that_dies_at_the_worst_instants_loses_nothing(undisturbed: State) -> None:
    run_ids = schedule()
    for fault in [
        "while it marks its runs",
        "before the first epoch of the second run",
        "in the middle of a checkpoint",
        "between a checkpoint and its metrics",
        "before a checkpoint gets its name",
        "within the writing of metrics",
        "between an epoch's segments and its metrics",
        "before a run is marked as finished",
    ]:
        before, _ = whole(run_ids)
        go_on(fault)
        after, twice = whole(run_ids)
        print(f"{fault}: {before} epochs before, {after} after, {twice} steps twice")
        assert after >= before
        assert twice == 0
    go_on()
    assert whole(run_ids) == (sum(config.epochs for config in CONFIGS), 0)
    assert equal(state(run_ids), undisturbed)
    assert not list(paths.home().rglob("*.tmp"))
    for run_id in run_ids:
        run = reading.run(run_id)
        assert run.seconds == pytest.approx(reading.history([run_id], ["epoch_seconds"]).value.sum())


def test_killed_behind_the_first_point_the_training_pictures_are_looked_at_again(undisturbed: State) -> None:
    run_ids = schedule()
    go_on("between the late figures of two runs")
    runs = [reading.run(run_id) for run_id in run_ids]
    assert {run.status for run in runs} == {"RUNNING"}
    assert sum(run.epoch == 0 and run.half_since is None for run in runs) == 1
    assert any(run.half_since is not None for run in runs)
    go_on()
    assert whole(run_ids) == (sum(config.epochs for config in CONFIGS), 0)
    assert equal(state(run_ids), undisturbed)
    for run_id in run_ids:
        assert all(steps_of(run_id, name)[0] == 0 for name in reading.metric_names(run_id))
        assert len(set(reading.history([run_id], ["train_loss", "train_loss_exact"]).query("epoch == 0").value)) == 1
        assert reading.run(run_id).half_since is None


def test_a_network_trained_by_autograd_goes_on_bit_for_bit() -> None:
    """Killed before an epoch counts: masks, pictures, statistics and learning rate come as if nothing had."""
    whole_id, killed_id = changes.schedule([ALONE, ALONE], "cpu")
    go_on("before the metrics of the sixth epoch")
    before = {run_id: reading.run(run_id).epoch for run_id in (whole_id, killed_id)}
    assert any(epoch < ALONE.epochs for epoch in before.values())
    go_on()
    assert whole([whole_id, killed_id]) == (2 * ALONE.epochs, 0)
    one, other = ([each] for each in state([whole_id, killed_id]))
    assert equal(one, other), before


def test_full_disks_signals_clocks_and_a_killed_shard_lose_nothing(undisturbed: State) -> None:
    run_ids = schedule()
    for fault, message in [
        ("the disk fills at a checkpoint", "free some space"),
        ("a shard is killed", "was killed (signal 9)"),
        ("the shards' fork server is killed", ""),
        ("terminated", ""),
        ("the clock goes back a day", ""),
        *[
            ("the disk fills at the metrics", "No space left"),
            ("no file may grow", ""),
            ("Ctrl-C", ""),
            ("the clock goes on a day", ""),
        ]
        * BY_HAND,
    ]:
        before, _ = whole(run_ids)
        go_on(fault)
        messages = {reading.run(run_id).message for run_id in run_ids}
        after, twice = whole(run_ids)
        print(f"{fault}: {before} epochs before, {after} after, {twice} steps twice: {max(messages)}")
        assert any(message in each for each in messages)
        assert all("\n" not in each for each in messages)
        if not any(reading.run(run_id).active for run_id in run_ids):
            assert equal(state(run_ids), undisturbed)
            run_ids = schedule()
    go_on()
    assert whole(run_ids)[1] == 0
    assert equal(state(run_ids), undisturbed)


def test_killed_while_the_store_is_made_it_is_made_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"CNNVIZ_SEED={SEED}")
    draw, unfinished, seconds = random.Random(SEED), 0, None
    for number in range(KILLS // 2 + 1):
        monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / f"store {number}"))
        began = time.monotonic()
        process = forked(first_start, dict(os.environ))
        process.join(draw.uniform(0, seconds) if seconds else None)  # the first one is left alone
        process.kill()
        process.join()
        seconds = seconds or time.monotonic() - began
        unfinished += (paths.home() / "mlflow.db.unfinished").exists()
        before = [run.id for run in reading.runs()]
        (run_id,) = changes.schedule(CONFIGS[:1], "cpu")
        assert {run.id for run in reading.runs()} == {*before, run_id}, f"CNNVIZ_SEED={SEED}"
        artifacts.save_checkpoint(run_id, 0, {}, {})
        changes.record(run_id, 0, {"test_loss": 2.3, "test_accuracy": 0.1}, [])
        assert reading.history([run_id], ["test_loss"]).value.tolist() == [2.3]
        assert not (paths.home() / "mlflow.db.unfinished").exists()
    print(f"{number} kills while the store was made, {unfinished} left it half made")


def test_killed_at_random_instants_it_ends_as_if_undisturbed(undisturbed: State) -> None:
    print(f"CNNVIZ_SEED={SEED} CNNVIZ_KILLS={KILLS}, within {took:.1f} s of a start")
    draw, kills, finished, lost, twice = random.Random(SEED), Counter[str](), 0, 0, 0
    run_ids = schedule()
    while kills.total() < KILLS or any(reading.run(run_id).active for run_id in run_ids):
        process = start()
        before, _ = whole(run_ids)
        process.join(draw.uniform(0, took) if kills.total() < KILLS else None)
        with contextlib.suppress(psutil.NoSuchProcess):
            others = family(process.pid)
            victim = draw.choice(["worker", "shard", "fork server", "all"]) if others else "worker"
            victims = {"worker": [], "shard": others[-1:], "fork server": fork_server(process.pid), "all": others}[
                victim
            ]
            for each in [*victims, *([psutil.Process(process.pid)] if victim in ("worker", "all") else [])]:
                each.kill()
            kills[victim] += 1
            process.join(120)
        after, again = whole(run_ids)
        lost, twice = lost + max(0, before - after), twice + again
        print(f"{kills.total()} kills, {after} epochs", flush=True)
        if not any(reading.run(run_id).active for run_id in run_ids):
            assert equal(state(run_ids), undisturbed), f"CNNVIZ_SEED={SEED}"
            finished += 1
            run_ids = schedule() if kills.total() < KILLS else run_ids
    print(f"{dict(kills)} killed, {finished} times 5 runs finished, {lost} epochs lost, {twice} steps twice")
    assert (lost, twice) == (0, 0), f"CNNVIZ_SEED={SEED}"
    assert equal(state(run_ids), undisturbed), f"CNNVIZ_SEED={SEED}"
