"""Train any runs: those that can share a stack do, and the stacks are spread over the machine's cores, or a cluster's.

On a CPU a stack is cut into one shard per core, each a process with one thread: two threads on one small network wait
for each other longer than they work. On Linux these processes are forked with libraries and CIFAR-10 loaded
(preload.py); elsewhere, and for GPUs, each loads them itself. A shard reports through a pipe. On a cluster a shard is
a task of Ray (cluster.py), which sends the same messages: an Engine is what starts shards and receives what they send.

A *member* is the index of a run among those given to train(); a *position* is a member's place within its shard.
"""

import contextlib
import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

import torch

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.errors import CnnvizError
from cnnviz.train import memory
from cnnviz.train.loop import EpochResult, LateFigures, Progress, Start, fresh_start, train_stack
from cnnviz.train.planning import Room, Shard, here, plan, stacks

PRELOAD = "cnnviz.train.preload"  # by name: a fork server imports it, and would pass over a wrong one silently


# -- what a shard's process sends -------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The process reads its pipe: now it is sent what to train. Given as the process's arguments, that would leave
    whoever started it waiting for good if the process is killed before it has read them all."""


@dataclass(frozen=True)
class ShardStarted:
    """The shard's process is there; this side says so."""

    shard: Shard
    where: str = ""  # the device as a segment records it; "": this machine's


@dataclass(frozen=True)
class ShardProgress:
    shard: Shard
    progress: Progress


@dataclass(frozen=True)
class ShardFailed:
    """A shard that could not go on, and why, in one line."""

    shard: Shard
    message: str
    died: bool = False  # its process ended without a message: nothing says that the runs are to blame
    was_killed: bool = False  # by somebody else, or by the system that ran out of memory
    lacks_memory: bool = False  # its device has too little for so many networks
    is_lost: bool = False  # the machine that it was trained on is gone: the runs are not to blame


@dataclass(frozen=True)
class Trying:
    """From now on the shard tries a way of running steps (ways.py), whose time is bounded by this side."""

    shard: Shard
    way: str  # "": it has
    seconds: float  # after which it counts as hanging


@dataclass(frozen=True)
class Done:
    """All is trained: the process ends."""


Message = Ready | ShardStarted | ShardProgress | Trying | EpochResult | LateFigures | ShardFailed | Done


# -- what it is sent ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Train:
    """The first command: what to train, by position."""

    configs: tuple[RunConfig, ...]
    starts: tuple[Start, ...]  # with arrays, see _packed


@dataclass(frozen=True)
class LeaveOut:
    """From now on train without these; replaces the LeaveOut before."""

    positions: frozenset[int]


# -- training: the side that starts the shards ----------------------------------------------------------


class Running(Protocol):
    """A shard that has been started."""

    shard: Shard

    def leave_out(self, members: Collection[int]) -> None:
        """Train without these members from now on; the same as before is nothing new."""

    def end(self) -> None:
        """Its last message has come: Done or ShardFailed."""

    def kill(self) -> None:
        """End it at once, whatever it does."""


RunningT = TypeVar("RunningT", bound=Running)


class Engine(Protocol[RunningT]):
    """What runs shards: processes of this machine, or tasks of a cluster."""

    @property
    def room(self) -> Room: ...

    def start(
        self, shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start], working: Collection[RunningT]
    ) -> RunningT | None:
        """Start the shard beside those; None: there is no room for it now."""

    def messages(self, working: Collection[RunningT], seconds: float) -> Iterator[tuple[RunningT, Message]]:
        """What has come, waited for so long if there is nothing; members as train()'s caller names them."""

    def troubles(self) -> Sequence[str]:
        """What a run's message should say, one line each."""


def train(
    configs: Sequence[RunConfig],
    starts: Sequence[Start] | None = None,
    device: str = "cpu",
    stopped: Callable[[], Collection[int]] = tuple,
    shards: Sequence[Shard] | None = None,
    engine: Engine[Any] | None = None,
) -> Generator[EpochResult | LateFigures | ShardStarted | ShardProgress | ShardFailed | None]:
    """Train the runs, each to its config.epochs. Yields what the shards report, and None at least twice a second.

    stopped() names members to leave out from now on. shards=None plans them. engine=None: processes of this machine. A
    script that calls this needs the usual `if __name__ == "__main__":`, as its processes are spawned.

    A shard that hangs, or dies, over a way of running steps is started again without it; one for which memory is too
    small, before its first result, as two halves.
    """
    starts = list(starts or [fresh_start(config) for config in configs])
    engine = engine or Processes(device)
    if shards is None:
        shards = plan(stacks(configs, starts), configs, engine.room)
    waiting, working = list(shards), list[Any]()
    trials, begun = _Trials(), set[Shard]()
    try:
        while waiting or working:
            refused = set()  # what there is no room for
            for shard in list(waiting):
                needs = (shard.threads, shard.device)
                if needs not in refused and (started := engine.start(shard, configs, starts, working)):
                    waiting.remove(shard)
                    working.append(started)
                else:
                    refused.add(needs)
            heard = set()  # those that have had something to say, which is all that they had if they have not
            for running, message in engine.messages(working, 0.5):
                heard.add(running.shard)
                if isinstance(message, Trying):
                    trials.note(running.shard, message)
                if isinstance(message, EpochResult):
                    begun.add(running.shard)
                if isinstance(message, Done | ShardFailed):
                    working.remove(running)
                    running.end()
                if isinstance(message, ShardFailed):
                    if (trouble := trials.failed(running.shard, message)) is not None:
                        _leave_out(starts, running.shard, *trouble)
                        waiting.insert(0, running.shard)
                        continue
                    if message.lacks_memory and len(running.shard.members) > 1 and running.shard not in begun:
                        waiting[:0] = _halves(starts, running.shard, message)
                        continue
                if isinstance(message, EpochResult | LateFigures | ShardStarted | ShardProgress | ShardFailed):
                    yield message
            for running in [each for each in working if each.shard not in heard]:
                if (trouble := trials.hangs(running.shard)) is not None:
                    working.remove(running)
                    running.kill()
                    _leave_out(starts, running.shard, *trouble)
                    waiting.insert(0, running.shard)
            left_out = frozenset(stopped())
            waiting = [shard for shard in waiting if not left_out.issuperset(shard.members)]
            for running in working:
                running.leave_out(left_out)
            yield None
    finally:
        for running in working:
            running.kill()


class _Trials:
    """Which way each shard tries, and until when."""

    def __init__(self) -> None:
        self.open: dict[Shard, tuple[str, float, float]] = {}  # the way, its seconds, when they are over

    def note(self, shard: Shard, message: Trying) -> None:
        self.open.pop(shard, None)
        if message.way:
            self.open[shard] = message.way, message.seconds, time.monotonic() + message.seconds

    def failed(self, shard: Shard, message: ShardFailed) -> tuple[str, str] | None:
        """The way that is to blame for the end of its process, and why; None: none is."""
        way, _, _ = self.open.pop(shard, ("", 0.0, 0.0))
        if not way or message.is_lost or message.was_killed:
            return None
        return way, "ends the process that tries it" if message.died else f"fails ({message.message})"

    def hangs(self, shard: Shard) -> tuple[str, str] | None:
        way, seconds, until = self.open.get(shard, ("", 0.0, math.inf))
        if time.monotonic() < until:
            return None
        del self.open[shard]
        return way, f"does not answer within {seconds:.0f} s"


def _leave_out(starts: list[Start], shard: Shard, way: str, why: str) -> None:
    for member in shard.members:
        starts[member] = replace(starts[member], left_out={**starts[member].left_out, way: why})


def _halves(starts: list[Start], shard: Shard, failed: ShardFailed) -> list[Shard]:
    half = -(-len(shard.members) // 2)
    for member in shard.members:
        note = f"{failed.message.partition(':')[0]}: {half} are trained at a time"
        starts[member] = replace(starts[member], notes=(*starts[member].notes, note))
    return [replace(shard, members=shard.members[:half]), replace(shard, members=shard.members[half:])]


def received(shard: Shard, message: Message) -> Message:
    """A shard's message with its members named as train()'s caller does, and tensors for arrays."""
    if isinstance(message, EpochResult):
        members = shard.members
        stack = tuple(members[position] for position in message.stack)
        return _unpacked(replace(message, member=members[message.member], stack=stack))
    if isinstance(message, LateFigures):
        return replace(message, member=shard.members[message.member])
    return message


def command_for(shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start]) -> Train:
    return Train(tuple(configs[each] for each in shard.members), tuple(_packed(starts[each]) for each in shard.members))


def positions(shard: Shard, members: Collection[int]) -> frozenset[int]:
    return frozenset(at for at, member in enumerate(shard.members) if member in members)


class Processes:
    """Shards as processes of this machine: as many at once as it has cores, or one on its GPU."""

    def __init__(self, device: str) -> None:
        self.room = here(device)

    def start(
        self, shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start], working: Collection["_ShardProcess"]
    ) -> "_ShardProcess | None":
        if working and sum(each.shard.threads for each in working) + shard.threads > self.room.cores:
            return None
        return _ShardProcess(shard, configs, starts, self.room.device)

    def messages(
        self, working: Collection["_ShardProcess"], seconds: float
    ) -> Iterator[tuple["_ShardProcess", Message]]:
        for process in [each for each in working if not each.is_announced]:
            process.is_announced = True
            yield process, ShardStarted(process.shard)
        ready = wait([each.pipe for each in working], timeout=seconds)
        for process in [each for each in working if each.pipe in ready]:
            message = process.receive()
            if isinstance(message, Ready):
                process.send_runs()
            yield process, message

    def troubles(self) -> Sequence[str]:
        return ()


class _ShardProcess:
    """A shard's process, and this end of its pipe."""

    def __init__(self, shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start], device: str) -> None:
        self.shard = shard
        self.command = command_for(shard, configs, starts)
        self.is_announced = False
        self.left_out: frozenset[int] | None = None  # positions, as sent last; None: it does not read its pipe yet
        context = _context(device)
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, shard, device, memory.malloc_for(self.command.configs[0]), dict(os.environ))
        self.process = context.Process(target=_shard_main, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that a dead process is an end of file here

    def receive(self) -> Message:
        """The next message, its members named as train()'s caller does; ShardFailed if the process has died."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed (signal {-code})" if code < 0 else f"ended unexpectedly (exit status {code})"
            reason = f"the training process {how}: perhaps memory ran out, then launch fewer runs together"
            was_killed = -code in (signal.SIGKILL, signal.SIGTERM)
            return ShardFailed(self.shard, reason, died=code != 0, was_killed=was_killed)
        return received(self.shard, message)

    def send_runs(self) -> None:
        self._send(self.command)
        self.left_out = frozenset()

    def leave_out(self, members: Collection[int]) -> None:
        now = positions(self.shard, members)
        if self.left_out is not None and now != self.left_out:
            self._send(LeaveOut(now))
            self.left_out = now

    def _send(self, command: Train | LeaveOut) -> None:
        with contextlib.suppress(OSError):  # the end of its pipe is read at the next turn
            self.pipe.send(command)

    def end(self) -> None:
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def warm_up(device: str) -> None:
    """Let what shards have in common load, while other things are seen to."""
    if _context(device).get_start_method() == "forkserver":
        multiprocessing.forkserver.ensure_running()


def _context(device: str) -> Any:
    """How shards are started: on Linux forked from a process that has loaded what they share; as new processes where a
    fork would break libraries, as it does those of GPUs and of macOS."""
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if sys.platform != "linux" or not on_cpu:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    return context


# -- training: the shard's own side ---------------------------------------------------------------------


def _shard_main(
    pipe: Connection, shard: Shard, device: str, malloc: tuple[int, int], environment: Mapping[str, str]
) -> None:
    os.environ.update(environment)  # the process it was forked from may have an older one
    memory.set_malloc(*malloc)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    left_out: frozenset[int] = frozenset()

    def stopped() -> frozenset[int]:
        nonlocal left_out
        while pipe.poll():
            command: LeaveOut = pipe.recv()
            left_out = command.positions
        return left_out

    try:
        pipe.send(Ready())
        run_shard(shard, pipe.recv(), device, pipe.send, stopped, memory.datasets)
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the process that asked for this is gone


def run_shard(
    shard: Shard,
    command: Train,
    device: str,
    send: Callable[[Message], None],
    stopped: Callable[[], Collection[int]],
    datasets: Mapping[str, data.Dataset],
) -> None:
    """Train a shard to its end, in the thread that calls this, and send what there is to report; the last message is
    Done or ShardFailed. datasets: those that need not be loaded."""

    def report(progress: Progress) -> None:
        send(ShardProgress(shard, progress))

    try:
        torch.set_num_threads(shard.threads)
        starts = [_unpacked(start) for start in command.starts]
        report(Progress("loading data", starts[0].epoch + 1, 0.0, 0.0))
        name = command.configs[0].dataset
        dataset = datasets.get(name) or data.load(name)
        results = train_stack(
            command.configs,
            dataset,
            starts,
            device,
            stopped=stopped,
            on_progress=report,
            on_trial=lambda way, seconds: send(Trying(shard, way, seconds)),
        )
        for result in results:
            send(_packed(result) if isinstance(result, EpochResult) else result)
        send(Done())
    except (ConnectionError, EOFError):
        raise  # whoever asked for this is gone
    except CnnvizError as error:
        send(ShardFailed(shard, str(error)))
    except torch.OutOfMemoryError:
        many = f"{len(shard.members)} networks at once: launch fewer together"
        send(ShardFailed(shard, f"the memory of {device} is too small for {many}", lacks_memory=True))
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the worker's log
        line = next(iter(str(error).splitlines()), "")
        send(ShardFailed(shard, f"{type(error).__name__}: {line}"))


def _leave_with_parent() -> None:
    """A killed worker leaves no process behind, not even one that is compiling or hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_T = TypeVar("_T", Start, EpochResult)


# Through the pipe go arrays: tensors would travel through shared memory, of which containers often have little.
def _packed(each: _T) -> _T:
    return _with_tensors(each, lambda tensor: tensor.numpy())


def _unpacked(each: _T) -> _T:
    return _with_tensors(each, lambda array: torch.from_numpy(array.copy()))


def _with_tensors(each: _T, convert: Callable[[Any], Any]) -> _T:
    weights, slots = ({name: convert(one) for name, one in some.items()} for some in (each.weights, each.slots))
    return replace(each, weights=weights, slots=slots)
