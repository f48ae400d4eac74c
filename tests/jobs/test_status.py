import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import psutil
import pytest

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.jobs import control, status, worker
from cnnviz.jobs.files import job_file, write_atomically
from cnnviz.jobs.status import WorkerStatus, workers
from cnnviz.store import changes, reading
from cnnviz.train import loop, shards
from cnnviz.train.loop import EpochResult, LateFigures, Progress, Start, train_stack
from cnnviz.train.planning import Shard
from cnnviz.train.shards import ShardProgress, ShardStarted

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_a_worker_that_is_stopped_itself_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    status = WorkerStatus("cpu", 1, "training", time.time() - 100, silent_seconds=2.0)
    assert (status.hangs_for or 0) >= 100
    assert replace(status, alive=False).hangs_for is None
    assert replace(status, updated_at=time.time() + 3600).hangs_for is None  # the clock was set back
    assert replace(status, updated_at=time.time(), silent_seconds=500.0).hangs_for is None  # compiling


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """A new worker's process, which holds the lock and has not reported yet."""
    program = f"""
import time
from filelock import FileLock
with FileLock({str(job_file("cpu", "lock"))!r}):
    print(flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def ended() -> int:
    """The id of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_under_a_new_workers_lock_an_old_status_is_another_workers(holder: subprocess.Popen[bytes]) -> None:
    old = WorkerStatus("cpu", ended(), "training", time.time() - 1700)
    for pid in (ended(), holder.pid):  # dead; and the new worker has, by chance, the old one's id
        status.publish(replace(old, pid=pid))
        (found,) = workers()
        assert (found.phase, found.pid, found.alive, found.hangs_for) == ("starting", 0, True, None)
    control.replace_worker("cpu")  # asked by a page that is out of date: a new worker is left alone
    assert holder.poll() is None


def test_without_a_lock_an_old_status_stays_what_it_was() -> None:
    status.publish(WorkerStatus("cpu", ended(), "failed", time.time() - 1700, message="no room"))
    (found,) = workers()
    assert (found.phase, found.alive, found.message) == ("failed", False, "no room")


def test_a_worker_that_hangs_is_still_seen(holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "FRESH_SECONDS", 0)
    monkeypatch.setattr(status, "SILENT_SECONDS", 0)
    status.publish(WorkerStatus("cpu", holder.pid, "training", psutil.Process(holder.pid).create_time() + 1))
    (found,) = workers()
    assert (found.phase, found.pid) == ("training", holder.pid)
    assert found.hangs_for is not None


def test_a_worker_elsewhere_is_believed_as_long_as_it_reports(holder: subprocess.Popen[bytes]) -> None:
    """In another container or on another machine, its process is not to be found here."""
    status.publish(WorkerStatus("cpu", ended(), "training", time.time()))
    assert workers()[0].phase == "training"


def test_a_worker_reports_before_it_looks_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    status.publish(WorkerStatus("cpu", ended(), "training", time.time() - 1700))
    seen: list[WorkerStatus] = []
    plain = reading.queue

    def queue(device: str) -> list[reading.Run]:
        seen.extend(workers())
        return plain(device)

    monkeypatch.setattr(reading, "queue", queue)
    assert worker.work("cpu")
    assert (seen[0].pid, seen[0].phase, seen[0].alive) == (os.getpid(), "starting", True)


def test_a_status_is_read_by_this_version_and_the_one_before() -> None:
    progress = {"epoch": 2, "target": 3, "fraction": 0.5, "images_per_second": 100.0, "seconds_left": None}
    before = {"device": "cpu", "pid": 1, "phase": "training", "updated_at": 1.5, "runs": {"a": progress}}
    before |= {"message": "", "alive": True, "silent_seconds": 0.0}
    write_atomically(job_file("cpu", "json"), json.dumps(before))
    (found,) = workers()
    new = {"stages": {}, "expected": {}, "testing_share": 0.0, "spools": ""}  # which the version before did not report
    assert asdict(replace(found, alive=True)) == before | new  # and so it is written
    newer = before | {"host": "b", "runs": {"a": progress | {"batch": 3}}}
    write_atomically(job_file("cpu", "json"), json.dumps(newer))
    assert workers() == [found]


def in_this_process(
    configs: Sequence[RunConfig],
    starts: Sequence[Start],
    device: str,
    stopped: object,
    planned: Sequence[Shard],
    engine: object,
) -> Iterator[ShardStarted | ShardProgress | EpochResult | LateFigures]:
    """As shards.train, whose processes would not see what a test has patched."""
    for shard in planned:
        yield ShardStarted(shard)
        reports: list[Progress] = []
        some = [configs[member] for member in shard.members], [starts[member] for member in shard.members]
        for result in train_stack(some[0], data.load("synthetic"), some[1], device, on_progress=reports.append):
            yield from (ShardProgress(shard, each) for each in reports)
            reports.clear()
            yield replace(result, member=shard.members[result.member])


def test_a_worker_reports_its_stages_and_while_it_marks_hundreds_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PUBLISH_SECONDS", -1.0)
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)
    configs = [RunConfig(dataset="synthetic", limit_train=500, epochs=1, lr=lr) for lr in (0.1, 0.01)]
    changes.schedule(configs, "cpu")
    seen: list[WorkerStatus] = []
    monkeypatch.setattr(shards, "train", in_this_process)
    assert worker.work("cpu", on_status=seen.append)
    assert sum(each.phase == "starting" for each in seen) > len(configs)
    stages = [list(each.stages) for each in seen]
    assert stages[0] == ["data"]
    assert stages[-1] in (["data", "testing", "training"], ["data", "compiling", "testing", "training"])
    assert all(len(now) <= len(then) for now, then in itertools.pairwise(stages))
    shares = [each.testing_share for each in seen]
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    assert {"data", "testing"} <= seen[-1].expected.keys()
    assert all(each.hangs_for is None for each in seen)
