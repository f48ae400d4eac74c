"""Train any runs: those that can share a stack do, and the stacks are spread over the machine's cores.

On a CPU a stack is cut into one shard per core, each a process with one thread: two threads on one small network wait
for each other longer than they work. On Linux these processes are forked with libraries and CIFAR-10 loaded
(preload.py); elsewhere, and for GPUs, each loads them itself. A shard reports through a pipe.

A *member* is the index of a run among those given to train(); a *position* is a member's place within its shard.
"""

import contextlib
import itertools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.errors import CnnvizError
from cnnviz.train import memory
from cnnviz.train.loop import EpochResult, Progress, Start, fresh_start, stack_key, train_stack

PRELOAD = "cnnviz.train.preload"  # by name: a fork server imports it, and would pass over a wrong one silently


@dataclass(frozen=True)
class Shard:
    """Members trained as one stack by one process."""

    members: tuple[int, ...]
    threads: int


# -- what a shard's process sends -------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The process reads its pipe: now it is sent what to train. Given as the process's arguments, that would leave
    whoever started it waiting for good if the process is killed before it has read them all."""


@dataclass(frozen=True)
class ShardStarted:
    """A process has been started for the shard; this side says so."""

    shard: Shard


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


@dataclass(frozen=True)
class Done:
    """All is trained: the process ends."""


Message = Ready | ShardProgress | EpochResult | ShardFailed | Done


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


# -- planning -----------------------------------------------------------------------------------------


def cores() -> int:
    """Physical cores this process may use; logical ones if psutil is not installed."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import psutil
    except ImportError:
        return allowed
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def stacks(configs: Sequence[RunConfig], starts: Sequence[Start] | None = None) -> list[list[int]]:
    """The members that can share a stack, given what they start from; None: untrained."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for member, config in enumerate(configs):
        key = stack_key(config, starts[member].epoch, starts[member].method) if starts else stack_key(config, -1)
        if config.trains_alone:
            key = (*key, member)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def plan(groups: Sequence[Sequence[int]], configs: Sequence[RunConfig], device: str) -> list[Shard]:
    """Cut stacks into shards: one each on a GPU, up to one a core on a CPU, equal activations side by side."""
    parts = cores() if device == "cpu" else 1
    shards = []
    for group in groups:
        ordered = sorted(group, key=lambda member: configs[member].activation)
        count = min(parts, len(ordered))
        cuts = [round(index * len(ordered) / count) for index in range(count + 1)]
        shards += [tuple(ordered[start:stop]) for start, stop in itertools.pairwise(cuts)]
    alone = len(shards) == 1
    large = {member for member, config in enumerate(configs) if memory.is_large(config)}
    return [Shard(members, parts if alone and large.issuperset(members) else 1) for members in shards]


# -- training: the side that starts the shards ----------------------------------------------------------


def train(
    configs: Sequence[RunConfig],
    starts: Sequence[Start] | None = None,
    device: str = "cpu",
    stopped: Callable[[], Collection[int]] = tuple,
    shards: Sequence[Shard] | None = None,
) -> Generator[EpochResult | ShardStarted | ShardProgress | ShardFailed | None]:
    """Train the runs, each to its config.epochs. Yields what the shards report, and None at least twice a second.

    stopped() names members to leave out from now on. shards=None plans them. A script that calls this needs the usual
    `if __name__ == "__main__":`, as its processes are spawned.
    """
    starts = starts or [fresh_start(config) for config in configs]
    if shards is None:
        shards = plan(stacks(configs, starts), configs, device)
    waiting, working = deque(shards), dict[Connection, _ShardProcess]()
    at_once = cores() if device == "cpu" else 1
    try:
        while waiting or working:
            while waiting and (not working or _threads(working.values()) + waiting[0].threads <= at_once):
                started = _ShardProcess(waiting.popleft(), configs, starts, device)
                working[started.pipe] = started
                yield ShardStarted(started.shard)
            ready = wait(list(working), timeout=0.5)
            left_out = stopped()
            for pipe, process in list(working.items()):
                message = process.receive() if pipe in ready else None
                match message:
                    case Ready():
                        process.send_runs()
                    case Done() | ShardFailed():
                        del working[pipe]
                        process.end()
                        if isinstance(message, ShardFailed):
                            yield message
                        continue
                process.leave_out(left_out)
                if isinstance(message, EpochResult | ShardProgress):
                    yield message
            yield None
    finally:
        for process in working.values():
            process.kill()


class _ShardProcess:
    """A shard's process, and this end of its pipe."""

    def __init__(self, shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start], device: str) -> None:
        self.shard = shard
        self.configs = tuple(configs[member] for member in shard.members)
        self.starts = tuple(starts[member] for member in shard.members)
        self.left_out: frozenset[int] | None = None  # positions, as sent last; None: it does not read its pipe yet
        context = _context(device)
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, shard, device, memory.malloc_for(self.configs[0]), dict(os.environ))
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
            return ShardFailed(self.shard, reason, died=code != 0)
        if isinstance(message, EpochResult):
            members = self.shard.members
            stack = tuple(members[position] for position in message.stack)
            return _unpacked(replace(message, member=members[message.member], stack=stack))
        return message

    def send_runs(self) -> None:
        self._send(Train(self.configs, tuple(_packed(start) for start in self.starts)))
        self.left_out = frozenset()

    def leave_out(self, members: Collection[int]) -> None:
        positions = frozenset(at for at, member in enumerate(self.shard.members) if member in members)
        if self.left_out is not None and positions != self.left_out:
            self._send(LeaveOut(positions))
            self.left_out = positions

    def _send(self, command: Train | LeaveOut) -> None:
        with contextlib.suppress(OSError):  # the end of its pipe is read at the next turn
            self.pipe.send(command)

    def end(self) -> None:
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _threads(working: Iterable[_ShardProcess]) -> int:
    return sum(process.shard.threads for process in working)


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
    torch.set_num_threads(shard.threads)
    try:
        _train_shard(pipe, shard, device)
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the process that asked for this is gone
    except CnnvizError as error:
        pipe.send(ShardFailed(shard, str(error)))
    except torch.OutOfMemoryError:
        many = f"{len(shard.members)} networks at once: launch fewer together"
        pipe.send(ShardFailed(shard, f"the memory of {device} is too small for {many}"))
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the worker's log
        line = next(iter(str(error).splitlines()), "")
        pipe.send(ShardFailed(shard, f"{type(error).__name__}: {line}"))


def _train_shard(pipe: Connection, shard: Shard, device: str) -> None:
    left_out: frozenset[int] = frozenset()

    def stopped() -> frozenset[int]:
        nonlocal left_out
        while pipe.poll():
            command: LeaveOut = pipe.recv()
            left_out = command.positions
        return left_out

    def report(progress: Progress) -> None:
        pipe.send(ShardProgress(shard, progress))

    pipe.send(Ready())
    command: Train = pipe.recv()
    starts = [_unpacked(start) for start in command.starts]
    report(Progress("loading data", starts[0].epoch + 1, 0.0, 0.0))
    name = command.configs[0].dataset
    dataset = memory.datasets.get(name) or data.load(name)
    for result in train_stack(command.configs, dataset, starts, device, stopped=stopped, on_progress=report):
        pipe.send(_packed(result))
    pipe.send(Done())


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
