"""The worker: takes the runs that wait, trains them, survives anything.

It holds its device's lock file for as long as it lives. Whatever ends it, a run it was training stays in the queue, and
the next worker takes it up from its last recorded epoch.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace

import psutil
import torch
from filelock import Timeout

from cnnviz import data
from cnnviz.errors import CheckpointError, CnnvizError
from cnnviz.jobs import devices, estimate, processes, resume
from cnnviz.jobs.status import RunProgress, WorkerStatus, worker_file, worker_lock, write_whole
from cnnviz.store import artifacts, changes, reading
from cnnviz.store.runs import Run, Segment
from cnnviz.train import shards
from cnnviz.train.loop import EpochResult
from cnnviz.train.shards import Failed, Shard, Told

STOP_LOOK_UP_SECONDS = 2.0  # how often the store is asked for stop requests
STATUS_SECONDS = 0.5


class Stopped(BaseException):
    """The worker was asked to leave. Like KeyboardInterrupt, no library's `except Exception` may swallow it."""


def work(
    device: str = "auto",
    only: Collection[str] | None = None,
    on_status: Callable[[WorkerStatus], None] = lambda status: None,
) -> bool:
    """Train what is scheduled for the device (or only those runs), then leave. False: another worker is there already.

    Interrupted (SIGTERM, Ctrl-C), it leaves at once; what was complete is kept and the runs wait for the next worker.
    Raises what it cannot go on from, such as a full disk, with the runs back in the queue.
    """
    device = devices.resolve(device)
    signal.signal(signal.SIGTERM, _leave)
    shards.warm_up(device)
    deaths: dict[str, int] = {}
    while True:
        try:
            with worker_lock(device):
                while batch := [run for run in reading.queue(device) if only is None or run.id in only]:
                    _Training(batch, device, on_status, deaths).go()
        except Timeout:
            return False
        # What was scheduled between the last look and the lock's release found the lock held, and starts no worker.
        if not any(only is None or run.id in only for run in reading.queue(device)):
            return True


def _leave(signum: int, frame: object) -> None:
    raise Stopped


class _Training:
    """Runs being trained together, from taking them to their end."""

    def __init__(
        self,
        batch: Sequence[Run],
        device: str,
        on_status: Callable[[WorkerStatus], None],
        deaths: dict[str, int],
    ) -> None:
        self.batch, self.device, self.on_status = batch, device, on_status
        self.deaths = deaths  # run → its last epoch when its process was killed
        self.status = WorkerStatus(device, os.getpid(), "starting", time.time())
        self.machine = _Machine(device)
        self.over: set[str] = set()  # runs that have come to an end, or have been let go
        self.left_out: set[int] = set()  # seats that nobody waits for any more
        self.asked_at = self.said_at = -1e9
        self.heard_at: dict[Shard, float] = {}  # when a shard told something

    def go(self) -> None:
        try:
            self._sit_down()
            self._train()
        except (Stopped, KeyboardInterrupt):
            self._release()
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CnnvizError) else f"{type(error).__name__}: {error}"
            self._release(" ".join(f"its worker had to stop: {reason}".split()))
            self._say("failed", " ".join(reason.split()))
            raise

    # -- taking the runs -------------------------------------------------------------------------

    def _sit_down(self) -> None:
        self._say("starting")
        plan = resume.plan(self.batch, self.device)
        for run, status, message in plan.over:
            self._end(run.id, status, message or None)
        self.seats, self.shards = plan.seats, plan.shards
        self.neighbours = [seat.neighbours for seat in plan.seats]
        self.segments = [list(resume.mended_segments(seat.run)) if seat.trains else [] for seat in plan.seats]
        self.best = [seat.run.best or (0, -1.0) for seat in plan.seats]
        self.recorded = [seat.run.epoch for seat in plan.seats]
        self.stretched: set[int] = set()  # seats whose present stretch has its segment
        for index, seat in enumerate(self.seats):
            if seat.trains and changes.start(seat.run.id, seat.message, seat.neighbours):
                artifacts.sweep(seat.run.id)
            elif seat.trains or seat.left:
                self.over.add(seat.run.id)
                self.left_out.add(index)

    def _is_over(self, index: int) -> bool:
        return not self.seats[index].trains or self.seats[index].run.id in self.over

    def _release(self, reason: str | None = None) -> None:
        """Back into the queue with what is not over."""
        with contextlib.suppress(CnnvizError):
            for run in self.batch:
                if run.id not in self.over and changes.is_wanted(run.id):
                    changes.finish(run.id, "SCHEDULED", reason)

    # -- training them ---------------------------------------------------------------------------

    def _train(self) -> None:
        self._fetch_data()
        able = [shard for shard in self.shards if not all(self._is_over(index) for index in shard.runs)]
        self.shard_of = {index: shard for shard in able for index in shard.runs}
        events = shards.train(
            [seat.config for seat in self.seats],
            [seat.start for seat in self.seats],
            self.device,
            lambda: self.left_out,
            able,
        )
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, EpochResult):
                    self.heard_at[self.shard_of[event.run]] = time.monotonic()
                    self._record(event.run, event)
                elif isinstance(event, Told):
                    self.heard_at[event.shard] = time.monotonic()
                    self._tell(event)
                elif isinstance(event, Failed):
                    self._fail(event)
                self._hear()

    def _fetch_data(self) -> None:
        for name in sorted({seat.config.dataset for seat in self.seats}):
            try:
                if not data.available(name):
                    data.fetch(lambda message, fraction: self._say("fetching data", f"{message} {fraction:.0%}"))
            except CnnvizError as error:
                for index, seat in enumerate(self.seats):
                    if seat.config.dataset == name and not self._is_over(index):
                        self._end(seat.run.id, "FAILED", str(error))

    def _record(self, index: int, result: EpochResult) -> None:
        run, epoch = self.seats[index].run, result.epoch
        if self._is_over(index) or index in self.left_out:
            return
        if epoch <= run.epoch:
            self._repair(run, result)
            return
        try:
            self._note_seats(index, result)
            # The weights first: an epoch that was announced can be taken up from.
            artifacts.save_checkpoint(run.id, epoch, result.weights, result.slots)
            changes.record(run.id, epoch, result.metrics | self.machine.figures(), self._stretch(index, result))
        except CnnvizError:
            if changes.is_wanted(run.id):
                raise
            self.over.add(run.id)  # deleted meanwhile, in MLflow's own UI: its neighbours go on
            self.left_out.add(index)
            return
        self.recorded[index] = epoch
        accuracy = result.metrics["test_accuracy"]
        if epoch and accuracy > self.best[index][1]:
            self.best[index] = (epoch, accuracy)
        artifacts.thin_checkpoints(run.id, self.best[index][0])
        if epoch >= run.config.epochs:
            self._end(run.id, "FINISHED")

    def _repair(self, run: Run, result: EpochResult) -> None:
        """An epoch recorded before an interruption, trained again: only a damaged checkpoint needs it."""
        try:
            artifacts.load_checkpoint(run, result.epoch)
        except CheckpointError:
            artifacts.save_checkpoint(run.id, result.epoch, result.weights, result.slots)

    def _note_seats(self, index: int, result: EpochResult) -> None:
        noted, following = self.neighbours[index], result.epoch + 1
        ids = tuple(self.seats[place].id for place in result.seats)
        if noted and ids != noted.at(following):
            earlier = [(first, there) for first, there in noted.seats if first < following]
            now = replace(noted, seats=(*earlier, (following, ids)))
            changes.note_neighbours(self.seats[index].run.id, now)
            self.neighbours[index] = now

    def _stretch(self, index: int, result: EpochResult) -> list[Segment]:
        segments, shard = self.segments[index], self.shard_of[index]
        if index not in self.stretched:
            self.stretched.add(index)
            first = max(result.epoch - 1, 0)
            segments.append(Segment(first, time.time(), 0.0, self.machine.name, shard.threads, len(shard.runs)))
        seconds = segments[-1].seconds + result.metrics["epoch_seconds"]
        segments[-1] = replace(segments[-1], seconds=seconds)
        return segments

    def _fail(self, failed: Failed) -> None:
        """A killed process is no run's fault: its runs go on once more, and fail where that gets them no further."""
        for index in failed.shard.runs:
            run = self.seats[index].run
            if self._is_over(index):
                continue
            if failed.died and self.deaths.get(run.id) != self.recorded[index]:
                self.deaths[run.id] = self.recorded[index]
                self._end(run.id, "SCHEDULED", f"went on from epoch {max(self.recorded[index], 0)}: {failed.message}")
            else:
                self._end(run.id, "FAILED", failed.message)

    def _hear(self) -> None:
        if time.monotonic() - self.asked_at < STOP_LOOK_UP_SECONDS:
            return
        self.asked_at = time.monotonic()
        asked = reading.stop_requests()
        for index, seat in enumerate(self.seats):
            if seat.run.id in asked and not self._is_over(index):
                self.left_out.add(index)
                self._end(seat.run.id, "KILLED")
        self._say(self.status.phase)

    def _end(self, run_id: str, status: str, message: str | None = None) -> None:
        if run_id not in self.over:
            self.over.add(run_id)
            self.status.runs.pop(run_id, None)
            changes.finish(run_id, status, message)

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, told: Told) -> None:
        progress = told.progress
        for index in told.shard.runs:
            if self._is_over(index):
                continue
            seat = self.seats[index]
            start = max(seat.start.epoch, 0)
            done = max(progress.epoch - 1 - start, 0) + progress.fraction * (progress.epoch > 0)
            todo = seat.config.epochs - start
            rate = progress.images_per_second
            left = (todo - done) * seat.config.train_size / rate * 1.1 if rate else None
            share = min(done / todo, 1.0)
            self.status.runs[seat.run.id] = RunProgress(progress.epoch, seat.config.epochs, share, rate, left)
        if progress.images_per_second and progress.phase == "training":
            first = self.seats[told.shard.runs[0]].config
            seconds = first.batch_size / progress.images_per_second
            estimate.note_speed(self.device, first, len(told.shard.runs), seconds)
        if time.monotonic() - self.said_at > STATUS_SECONDS or progress.phase != self.status.phase:
            self._say(progress.phase)

    def _say(self, phase: str, message: str = "") -> None:
        self.said_at = time.monotonic()
        busy = [at for shard, at in self.heard_at.items() if not all(self._is_over(index) for index in shard.runs)]
        silent = max((self.said_at - at for at in busy), default=0.0)
        self.status = replace(self.status, phase=phase, message=message, updated_at=time.time(), silent_seconds=silent)
        with contextlib.suppress(OSError):  # no room or no right to tell is no reason to stop
            write_whole(worker_file(self.device, "json"), json.dumps(asdict(self.status)))
            processes.bound(worker_file(self.device, "log"))
        self.on_status(self.status)


_GPU_FIGURES: dict[str, Callable[[], float]] = {
    "system/gpu_0_utilization_percentage": lambda: torch.cuda.utilization(0),
    "system/gpu_0_memory_usage_megabytes": lambda: torch.cuda.device_memory_used(0) / 1e6,
    "system/gpu_0_temperature_celsius": lambda: torch.cuda.temperature(0),
}


class _Machine:
    """What is recorded about the machine beside every epoch, under MLflow's own names for it."""

    def __init__(self, device: str) -> None:
        self.name = devices.describe(device)
        self.gpu_figures = _GPU_FIGURES if device == "cuda" else {}
        psutil.cpu_percent()

    def figures(self) -> dict[str, float]:
        figures = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
        }
        for name, read in self.gpu_figures.items():
            with contextlib.suppress(Exception):  # drivers leave out what a device, or a part of one, cannot tell
                figures[name] = read()
        return figures
