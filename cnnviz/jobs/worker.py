"""The worker: takes the runs that wait, trains them, survives anything.

It holds its device's lock file for as long as it lives. Whatever ends it, a run it was training stays in the queue, and
the next worker takes it up from its last recorded epoch.
"""

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psutil
from filelock import Timeout

from cnnviz import data
from cnnviz.errors import CheckpointError, ClusterError, CnnvizError, UnreachableError
from cnnviz.jobs import devices, engines, estimate, gpu, processes, resume, status
from cnnviz.jobs.files import job_file
from cnnviz.jobs.resume import Member
from cnnviz.jobs.status import RunProgress, WorkerStatus
from cnnviz.store import addresses, artifacts, changes, connection, reading
from cnnviz.store.addresses import masked
from cnnviz.store.runs import Run, Segment
from cnnviz.store.spool import Spool, kept
from cnnviz.train import shards
from cnnviz.train.loop import EpochResult, LateFigures
from cnnviz.train.planning import Shard
from cnnviz.train.shards import Engine, ShardFailed, ShardProgress, ShardStarted

CHECK_SECONDS = 1.5  # between two checks of the store for stop requests, so that they reach a task within two
WAITING = "waiting for the store"  # the phase
WAITING_FOR_CLUSTER = "waiting for the cluster"
WAIT_SECONDS = 3.0  # until a server, or a cluster, that did not answer is asked again
LOST_NODES = 10  # that a run may lose in a row without a new epoch
PUBLISH_SECONDS = 0.5  # between two writes of the status
SPOOL_SECONDS = 1.0  # of writing what the server was not there for, at once


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
    with connection.patient(partial(_wait, device, on_status)):
        return _work(device, only, on_status)


def _wait(device: str, on_status: Callable[[WorkerStatus], None], error: UnreachableError | ClusterError) -> None:
    """For a server, or a cluster, that does not answer, with nothing in training."""
    phase = WAITING_FOR_CLUSTER if isinstance(error, ClusterError) else WAITING
    waiting = WorkerStatus(device, os.getpid(), phase, time.time(), message=str(error))
    with contextlib.suppress(OSError):
        status.publish(waiting)
    on_status(waiting)
    time.sleep(WAIT_SECONDS)


def _work(device: str, only: Collection[str] | None, on_status: Callable[[WorkerStatus], None]) -> bool:
    deaths: dict[str, _Deaths] = {}
    free_since = psutil.Process().create_time()
    while True:
        try:
            with status.locked(device):
                with contextlib.suppress(OSError):  # at once: what lies there is another worker's status
                    status.publish(WorkerStatus(device, os.getpid(), "starting", time.time()))
                spool = Spool(device)
                _empty(spool, device, on_status)
                while batch := [run for run in reading.queue(device) if only is None or run.id in only]:
                    try:
                        with engines.connected(device) as engine:
                            _Training(batch, engine, device, on_status, deaths, free_since, spool).go()
                    except ClusterError as error:  # the runs are in the queue, and are taken up again when it answers
                        _wait(device, on_status, error)
                    _empty(spool, device, on_status)
                    free_since = time.time()
        except Timeout:
            return False
        # A run scheduled between the last look at the queue and the release of the lock has found the lock held, so
        # that no worker was started for it.
        if not any(only is None or run.id in only for run in reading.queue(device)):
            return True


def _empty(spool: Spool, device: str, on_status: Callable[[WorkerStatus], None]) -> None:
    """Write what the server was not there for, before anything of its runs is read."""
    while not spool.write(SPOOL_SECONDS):
        recording = WorkerStatus(device, os.getpid(), "recording", time.time())
        with contextlib.suppress(OSError):
            status.publish(recording)
        on_status(recording)


def _leave(signum: int, frame: object) -> None:
    raise Stopped


@dataclass
class _Deaths:
    """How often a run lost what trained it, without a new epoch in between."""

    recorded: int  # its last epoch
    killed: int = 0
    lost: int = 0  # with the node of a cluster

    def are_too_many(self) -> bool:
        """A killed process or a lost node is no run's fault, the first time; a lost node hardly ever."""
        return self.killed > 1 or self.lost > LOST_NODES


@dataclass(eq=False)
class _Trainee:
    """A member of a stack while it is trained, and what has become of its run."""

    member: Member
    shard: Shard
    segments: list[Segment]
    in_segment: bool = False  # the last of the segments is of this training
    recorded: int = -1  # last epoch in the store
    half_since: int | None = None  # as its Run has it
    best: tuple[int, float] = (0, -math.inf)  # epoch, and what it is judged by: the larger, the better
    is_over: bool = False  # its results are discarded: ended, back in the queue, deleted or a placeholder
    is_left_out: bool = False  # its shard need not train it any more

    @classmethod
    def of(cls, member: Member, shard: Shard) -> "_Trainee":
        if member.is_placeholder:
            return cls(member, shard, [], is_over=True, is_left_out=member.has_left)
        run = member.run
        epoch, judged = run.best or (0, -math.inf)
        if epoch and run.is_validated:
            judged = -run.val_loss[epoch - run.first_epoch]
        segments, best = list(resume.mended_segments(run)), (epoch, judged)
        return cls(member, shard, segments, recorded=run.epoch, half_since=run.half_since, best=best)

    @property
    def run(self) -> Run:
        return self.member.run

    def say(self, troubles: Sequence[str]) -> None:
        """In the run's message, each once, behind what it says already."""
        said = self.member.message or self.run.message
        if news := [trouble for trouble in troubles if trouble not in said]:
            message = "; ".join([*([said] if said else []), *news])
            self.member = replace(self.member, message=message)
            with contextlib.suppress(CnnvizError):  # deleted meanwhile, or the store fails: recording finds out
                changes.note(self.run.id, message)

    def give_up(self) -> None:
        """Discard its results, and train it no further."""
        self.is_over = self.is_left_out = True


class _Training:
    """Runs being trained together, from taking them to their end."""

    def __init__(
        self,
        batch: Sequence[Run],
        engine: Engine[Any],
        device: str,
        on_status: Callable[[WorkerStatus], None],
        deaths: dict[str, _Deaths],
        free_since: float,
        spool: Spool,
    ) -> None:
        self.batch, self.engine, self.device, self.on_status = batch, engine, device, on_status
        self.spool = spool
        self.deaths = deaths  # by run id
        self.status = WorkerStatus(device, os.getpid(), "starting", time.time())
        # The first stage began with the click, or when the worker was free for these runs.
        waited = max(time.time() - max(free_since, min(run.queued_at for run in batch)), 0.0)
        self.stages = {"data": time.monotonic() - waited}  # when they began
        self.has_downloaded = False
        self.machine = _Machine(device)
        self.trainees: list[_Trainee] = []  # by member, as the shards count them
        self.checked_at = self.published_at = -1e9  # stop requests, the status
        self.reported_at: dict[Shard, float] = {}  # when a shard reported last
        self.started_at: dict[Shard, tuple[float, float]] = {}  # when its process was started: since 1970, monotonic
        self.where: dict[Shard, str] = {}  # its device, as a segment records it

    def go(self) -> None:
        try:
            with connection.patient(self._wait):
                self._take_runs()
            with kept(self.spool):
                self._train()
        except (Stopped, KeyboardInterrupt):
            self._release()
            raise
        except ClusterError as error:
            self._release(str(error))
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CnnvizError) else masked(f"{type(error).__name__}: {error}")
            self._release(" ".join(f"its worker had to stop: {reason}".split()))
            self._publish("failed", " ".join(reason.split()))
            raise

    # -- taking the runs -------------------------------------------------------------------------

    def _take_runs(self) -> None:
        self._publish("starting")
        plan = resume.plan(self.batch, self.engine.room)
        for run, run_status, message in plan.over:
            changes.finish(run.id, run_status, message or None)
        shard_of = {member: shard for shard in plan.shards for member in shard.members}
        self.shards = plan.shards
        self.trainees = [_Trainee.of(member, shard_of[index]) for index, member in enumerate(plan.members)]
        fresh = [each.member.config for each in self.trainees if each.member.start.epoch < 0 and not each.is_over]
        self.status = replace(self.status, expected=estimate.stages(fresh, self.device))
        for each in self.trainees:
            if time.monotonic() - self.published_at > PUBLISH_SECONDS:  # marking hundreds of runs takes a while
                self._publish("starting")
            if each.member.is_placeholder:
                continue
            if changes.start(each.run.id, each.member.message, each.member.stack_history):
                artifacts.sweep(each.run.id)
            else:
                each.give_up()
        self._say_troubles()

    def _say_troubles(self) -> None:
        """Which nodes of a cluster cannot train, and what is odd about a GPU, in the runs' messages."""
        if troubles := [*self.machine.notes, *self.engine.troubles()]:
            for each in self.trainees:
                if not each.is_over:
                    each.say(troubles)

    def _release(self, reason: str | None = None) -> None:
        """Back into the queue with what is not over."""
        over = {each.run.id for each in self.trainees if each.is_over and not each.member.is_placeholder}
        # A server that does not answer is not waited for: its runs are RUNNING without a worker, which says the same.
        with contextlib.suppress(CnnvizError), connection.patient(None):
            for run in self.batch:
                if run.id not in over and changes.is_wanted(run.id):
                    changes.finish(run.id, "SCHEDULED", reason)

    # -- training them ---------------------------------------------------------------------------

    def _train(self) -> None:
        self._fetch_data()
        events = shards.train(
            [each.member.config for each in self.trainees],
            [each.member.start for each in self.trainees],
            self.device,
            lambda: {member for member, each in enumerate(self.trainees) if each.is_left_out},
            [shard for shard in self.shards if self._in(shard)],
            self.engine,
        )
        with contextlib.closing(events):
            for event in events:
                match event:
                    case EpochResult():
                        trainee = self.trainees[event.member]
                        self.reported_at[trainee.shard] = time.monotonic()
                        self._record(trainee, event)
                    case LateFigures():
                        self._complete(self.trainees[event.member], event)
                    case ShardStarted():
                        self.started_at[event.shard] = time.time(), time.monotonic()
                        self.where[event.shard] = event.where or self.machine.name
                        for each in self._in(event.shard):  # a half, if memory was too small for the whole
                            each.shard = event.shard
                    case ShardProgress():
                        self.reported_at[event.shard] = time.monotonic()
                        self._report(event)
                    case ShardFailed():
                        self._fail(event)
                self._check_stop_requests()

    def _in(self, shard: Shard) -> list[_Trainee]:
        """What the shard trains that is not over."""
        return [each for each in (self.trainees[member] for member in shard.members) if not each.is_over]

    def _fetch_data(self) -> None:
        for name in sorted({each.member.config.dataset for each in self.trainees}):
            try:
                if not data.available(name):
                    self.has_downloaded = True
                    data.fetch(lambda message, fraction: self._publish("fetching data", f"{message} {fraction:.0%}"))
            except CnnvizError as error:
                for each in self.trainees:
                    if each.member.config.dataset == name:
                        self._end(each, "FAILED", str(error))

    def _record(self, trainee: _Trainee, result: EpochResult) -> None:
        run, epoch = trainee.run, result.epoch
        if trainee.is_over or trainee.is_left_out:
            return
        if epoch <= run.epoch:
            self._repair(run, result)
            return
        try:
            self._record_stack(trainee, result)
            # The weights first: from an epoch that is in the store, the run can go on.
            artifacts.save_checkpoint(run.id, epoch, result.weights, result.slots)
            metrics = result.metrics | self.machine.figures()
            recorded_at = changes.record(run.id, epoch, metrics, self._segments(trainee, result))
        except CnnvizError:
            if changes.is_wanted(run.id):
                raise
            trainee.give_up()  # deleted meanwhile, in MLflow's own UI: the others go on
            return
        trainee.recorded, trainee.half_since = epoch, recorded_at if epoch == 0 else None
        # As Run.best has it.
        figures = result.metrics
        judged = -figures["val_loss"] if "val_loss" in figures else figures["test_accuracy"]
        if epoch and judged > trainee.best[1]:
            trainee.best = (epoch, judged)
        artifacts.thin_checkpoints(run.id, trainee.best[0])
        if result.is_last:
            self._end(trainee, "FINISHED")

    def _complete(self, trainee: _Trainee, late: LateFigures) -> None:
        """Add figures to an epoch that is recorded, unless they were there before an interruption."""
        if trainee.is_over or trainee.is_left_out or trainee.half_since is None:
            return
        try:
            changes.complete(trainee.run.id, late.epoch, late.metrics, trainee.half_since)
        except CnnvizError:
            if changes.is_wanted(trainee.run.id):
                raise
            trainee.give_up()
            return
        trainee.half_since = None

    def _repair(self, run: Run, result: EpochResult) -> None:
        """An epoch recorded before an interruption, trained again: only a damaged checkpoint needs it."""
        try:
            artifacts.load_checkpoint(run, result.epoch)
        except CheckpointError:
            artifacts.save_checkpoint(run.id, result.epoch, result.weights, result.slots)

    def _record_stack(self, trainee: _Trainee, result: EpochResult) -> None:
        """Note the stack that trains the next epoch, if it is another one."""
        history, following = trainee.member.stack_history, result.epoch + 1
        short_ids = tuple(self.trainees[member].member.short_id for member in result.stack)
        if history and short_ids != history.at(following):
            earlier = [(first, ids) for first, ids in history.members if first < following]
            history = replace(history, members=(*earlier, (following, short_ids)))
            changes.record_stack(trainee.run.id, history)
            trainee.member = replace(trainee.member, stack_history=history)

    def _segments(self, trainee: _Trainee, result: EpochResult) -> list[Segment]:
        """The run's segments with this epoch's time in the last one."""
        segments, shard = trainee.segments, trainee.shard
        started_at, began = self.started_at[shard]
        if not trainee.in_segment:
            trainee.in_segment = True
            goes_on = bool(segments) and segments[-1].started_at >= trainee.run.queued_at
            waited = 0.0 if goes_on else max(started_at - trainee.run.queued_at, 0.0)
            first, together = max(result.epoch - 1, 0), len(shard.members)
            begun = Segment(first, started_at, 0.0, self.where[shard], shard.threads, together, waited)
            segments.append(replace(begun, method=result.method))
        seconds = segments[-1].seconds + result.metrics["epoch_seconds"]
        setup = max(time.monotonic() - began - seconds, 0.0)
        segments[-1] = replace(segments[-1], seconds=seconds, setup=setup)
        return segments

    def _fail(self, failed: ShardFailed) -> None:
        """The runs of a process that was killed go on once more, and fail if that gets them no further; those of a
        node that was lost go on more often."""
        for each in self._in(failed.shard):
            deaths = self.deaths.setdefault(each.run.id, _Deaths(each.recorded))
            if deaths.recorded != each.recorded:
                deaths = self.deaths[each.run.id] = _Deaths(each.recorded)
            deaths.killed += failed.died and not failed.is_lost
            deaths.lost += failed.is_lost
            if failed.died and not deaths.are_too_many():
                self._end(each, "SCHEDULED", f"went on from epoch {max(each.recorded, 0)}: {failed.message}")
            else:
                self._end(each, "FAILED", failed.message)

    def _check_stop_requests(self) -> None:
        if time.monotonic() - self.checked_at < CHECK_SECONDS:
            return
        self.checked_at = time.monotonic()
        asked = self._asked_to_stop()
        for each in self.trainees:
            if each.run.id in asked and not each.is_over:
                each.is_left_out = True
                self._end(each, "KILLED")
        self._say_troubles()
        self._publish(self.status.phase)

    def _asked_to_stop(self) -> set[str]:
        """Of whom it is known: while the server is away training goes on."""
        try:
            self.spool.write(SPOOL_SECONDS)
            return reading.stop_requests()
        except UnreachableError:
            return set()

    def _end(self, trainee: _Trainee, run_status: str, message: str | None = None) -> None:
        if not trainee.is_over:
            trainee.is_over = True
            self.status.runs.pop(trainee.run.id, None)
            changes.finish(trainee.run.id, run_status, message)

    # -- reporting -------------------------------------------------------------------------------

    def _report(self, event: ShardProgress) -> None:
        progress = event.progress
        self._begin(progress.phase, progress.epoch, progress.fraction)
        for each in self._in(event.shard):
            each.say(progress.troubles)
            config, start = each.member.config, max(each.member.start.epoch, 0)
            done = max(progress.epoch - 1 - start, 0) + progress.fraction * (progress.epoch > 0)
            self.status.runs[each.run.id] = RunProgress(
                progress.epoch,
                config.epochs,
                min(done / (config.epochs - start), 1.0),
                progress.images_per_second,
                estimate.seconds_left(config, start, progress),
            )
        estimate.note_speed(self.device, event.shard.threads, progress.speed)
        if time.monotonic() - self.published_at > PUBLISH_SECONDS or progress.phase != self.status.phase:
            self._publish(progress.phase)

    def _begin(self, phase: str, epoch: int, share: float) -> None:
        """The stage that the first of the shards has got to. Once one trains, all of them do, as one sees it."""
        is_testing = phase == "evaluating" and not epoch
        stage = {"loading data": "data", "compiling": "compiling"}.get(phase, "testing" if is_testing else "training")
        if is_testing:
            self.status = replace(self.status, testing_share=max(self.status.testing_share, share))
        if stage in self.stages or "training" in self.stages:
            return
        before, began = list(self.stages.items())[-1]
        if before == "compiling" or (before == "data" and not self.has_downloaded):
            estimate.note_stage(self.device, before, time.monotonic() - began)
        self.stages[stage] = time.monotonic()

    def _stage_seconds(self) -> dict[str, float]:
        began = [*self.stages.values(), time.monotonic()]
        return {stage: began[at + 1] - began[at] for at, stage in enumerate(self.stages)}

    def _wait(self, error: UnreachableError) -> None:
        """For a server that does not answer, before training has begun."""
        self._publish(WAITING, str(error))
        time.sleep(WAIT_SECONDS)

    def _publish(self, phase: str, message: str = "") -> None:
        now = self.published_at = time.monotonic()
        silent = max((now - at for shard, at in self.reported_at.items() if self._in(shard)), default=0.0)
        self.status = replace(
            self.status,
            phase=phase,
            message=message,
            spools="" if self.spool.is_empty else addresses.shown(),
            updated_at=time.time(),
            silent_seconds=silent,
            stages=self._stage_seconds(),
        )
        with contextlib.suppress(OSError):  # training goes on without room, or the right, to write a status
            status.publish(self.status)
            engines.note(self.engine)
            processes.bound(job_file(self.device, "log"))
        self.on_status(self.status)


class _Machine:
    """What is recorded about the machine beside every epoch, under MLflow's own names for it."""

    def __init__(self, device: str) -> None:
        self.name = devices.describe(device)
        self.has_gpu = device == "cuda"
        self.notes = gpu.notes() if self.has_gpu else []
        psutil.cpu_percent()

    def figures(self) -> dict[str, float]:
        if self.name == "cluster":  # what is trained there, this machine's figures say nothing about
            return {}
        figures = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": psutil.virtual_memory().used / 1e6,
        }
        return figures | (gpu.figures() if self.has_gpu else {})
