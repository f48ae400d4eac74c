"""Train any runs: those that can share a stack do, and the stacks are spread over the machine's cores.

On a CPU a stack is cut into one shard per core, each a process with one thread: two threads on one small network wait
for each other longer than they work. Each process loads the data itself, trains, and tells what it sees through a pipe.
"""

import contextlib
import ctypes
import itertools
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil
import torch

from cnnviz import data
from cnnviz.architectures import architecture
from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.train.loop import EpochResult, Progress, Start, fresh_start, stack_key, train_stack

# glibc gives large blocks back to the system at once and faults them in again page by page: for conv5's maps, of 3 MB
# and more, that is thousands of page faults a step. Elsewhere the larger blocks that loading the data leaves behind are
# given back: left to itself, glibc keeps 180 MB of them. (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD), in bytes.
KEEP_MEMORY, GIVE_BACK = (2**30, 2**31 - 1), (2**24, 2**25)
loaded: dict[str, Dataset] = {}  # by the nursery, for the shards that it forks

LARGE = 5_000_000  # multiply-adds a picture from which one network's step feeds more than one core


@dataclass(frozen=True)
class Shard:
    """Runs (by index) trained as one stack by one process."""

    runs: tuple[int, ...]
    threads: int


@dataclass(frozen=True)
class Told:
    """A shard's progress."""

    shard: Shard
    progress: Progress


@dataclass(frozen=True)
class Failed:
    """A shard that could not go on, and why, in one line."""

    shard: Shard
    message: str
    died: bool = False  # its process ended without a word: nothing says that the runs are to blame


def cores() -> int:
    """Physical cores this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def stacks(configs: Sequence[RunConfig], epochs: Sequence[int] | None = None) -> list[list[int]]:
    """The runs (by index) that can share a stack, given the epochs they set out from."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for run, config in enumerate(configs):
        groups.setdefault(stack_key(config, epochs[run] if epochs else -1), []).append(run)
    return list(groups.values())


def plan(groups: Sequence[Sequence[int]], configs: Sequence[RunConfig], device: str) -> list[Shard]:
    """Cut stacks into shards: one each on a GPU, up to one a core on a CPU, equal activations side by side."""
    parts = cores() if device == "cpu" else 1
    shards = []
    for group in groups:
        ordered = sorted(group, key=lambda run: configs[run].activation)
        count = min(parts, len(ordered))
        cuts = [round(index * len(ordered) / count) for index in range(count + 1)]
        shards += [tuple(ordered[start:stop]) for start, stop in itertools.pairwise(cuts)]
    alone = len(shards) == 1
    large = {run for run, config in enumerate(configs) if _is_large(config)}
    return [Shard(runs, parts if alone and large.issuperset(runs) else 1) for runs in shards]


def train(
    configs: Sequence[RunConfig],
    starts: Sequence[Start] | None = None,
    device: str = "cpu",
    stopped: Callable[[], Collection[int]] = tuple,
    shards: Sequence[Shard] | None = None,
) -> Generator[EpochResult | Told | Failed | None]:
    """Train the runs, each to its config.epochs. Yields what happens, and None at least twice a second.

    stopped() names runs (by index) to leave out from now on. shards=None plans them. A script that calls this needs the
    usual `if __name__ == "__main__":`, as its processes are spawned.
    """
    starts = starts or [fresh_start(config) for config in configs]
    if shards is None:
        shards = plan(stacks(configs, [start.epoch for start in starts]), configs, device)
    waiting, working = deque(shards), dict[Connection, tuple[Shard, Any]]()
    at_once, ready_shards = cores() if device == "cpu" else 1, set[Shard]()
    try:
        while waiting or working:
            while waiting and (not working or _threads(working) + waiting[0].threads <= at_once):
                shard = waiting.popleft()
                pipe, process = _launch(shard, configs[shard.runs[0]], device)
                working[pipe] = (shard, process)
            ready = wait(list(working), timeout=0.5)
            left_out = frozenset(stopped())
            for pipe in list(working):
                shard, process = working[pipe]
                message = _receive(pipe, process) if pipe in ready else None
                if isinstance(message, _Ready):
                    _tell(pipe, ([configs[run] for run in shard.runs], [_packed(starts[run]) for run in shard.runs]))
                    ready_shards.add(shard)
                    continue
                if message is not None and not isinstance(message, Progress | EpochResult):
                    del working[pipe]
                    pipe.close()
                    process.join()
                    if isinstance(message, str):
                        yield Failed(shard, message, died=process.exitcode != 0)
                    continue
                if shard in ready_shards:
                    _tell(pipe, {seat for seat, run in enumerate(shard.runs) if run in left_out})
                if isinstance(message, EpochResult):
                    seats = tuple(shard.runs[seat] for seat in message.seats)
                    yield replace(message, run=shard.runs[message.run], seats=seats)
                elif isinstance(message, Progress):
                    yield Told(shard, message)
            yield None
    finally:
        for _, process in working.values():
            process.kill()
            process.join()


def _threads(working: Mapping[Connection, tuple[Shard, Any]]) -> int:
    return sum(shard.threads for shard, _ in working.values())


def _is_large(config: RunConfig) -> bool:
    return architecture(config.model).multiply_adds > LARGE


class _Ready:
    """The process listens: now it is told what to train. As its arguments, this would leave whoever started it waiting
    for good where the process is killed before it has read them all."""


class _Done:
    pass


def _launch(shard: Shard, config: RunConfig, device: str) -> tuple[Connection, Any]:
    """Start the shard's process; its first message is _Ready."""
    context = _context(device)
    pipe, theirs = context.Pipe()
    arguments = (theirs, device, shard.threads, malloc_for(config), dict(os.environ))
    process = context.Process(target=_shard_main, args=arguments, daemon=True)
    process.start()
    theirs.close()  # so that a dead process is an end of file here
    return pipe, process


def warm_up(device: str) -> None:
    """Let what shards have in common load, while other things are seen to."""
    if _context(device).get_start_method() == "forkserver":
        multiprocessing.forkserver.ensure_running()


def _context(device: str) -> Any:
    """How shards are born: on Linux forked from a process that has loaded what they share; from nothing where forked
    libraries are not to be trusted, as those of GPUs and of macOS."""
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if sys.platform != "linux" or not on_cpu:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cnnviz.train.preload"])
    return context


def _receive(pipe: Connection, process: Any) -> Progress | EpochResult | str | _Ready | _Done:
    """The next message; a string where the shard failed."""
    try:
        message = pipe.recv()
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"was killed (signal {-code})" if code < 0 else f"ended unexpectedly (exit status {code})"
        return f"the training process {how}: perhaps memory ran out, then launch fewer runs together"
    if isinstance(message, EpochResult):
        return replace(message, weights=_unpack(message.weights), slots=_unpack(message.slots))
    return message


def _tell(pipe: Connection, message: object) -> None:
    with contextlib.suppress(OSError):  # its end is read at the next turn
        pipe.send(message)


def _packed(start: Start) -> tuple[int, dict[str, Any], dict[str, Any]]:
    return start.epoch, _pack(start.weights), _pack(start.slots)


def _shard_main(
    pipe: Connection, device: str, threads: int, memory: tuple[int, int], environment: Mapping[str, str]
) -> None:
    os.environ.update(environment)  # its birthplace may know an older one
    set_malloc(*memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    left_out: set[int] = set()
    configs: list[RunConfig] = []

    def stopped() -> set[int]:
        nonlocal left_out
        while pipe.poll():
            left_out = pipe.recv()
        return left_out

    try:
        torch.set_num_threads(threads)
        pipe.send(_Ready())
        configs, packed = pipe.recv()
        starts = [Start(epoch, _unpack(weights), _unpack(slots)) for epoch, weights, slots in packed]
        pipe.send(Progress("loading data", starts[0].epoch + 1, 0.0, 0.0))
        name = configs[0].dataset
        dataset = loaded.get(name) or data.load(name)
        for result in train_stack(configs, dataset, starts, device, stopped=stopped, on_progress=pipe.send):
            pipe.send(replace(result, weights=_pack(result.weights), slots=_pack(result.slots)))
        pipe.send(_Done())
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the process that asked for this is gone
    except CnnvizError as error:
        pipe.send(str(error))
    except torch.OutOfMemoryError:
        pipe.send(f"the memory of {device} is too small for {len(configs)} networks at once: launch fewer together")
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the worker's log
        pipe.send(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")


def malloc_for(config: RunConfig) -> tuple[int, int]:
    """What set_malloc is told where this network is trained."""
    return KEEP_MEMORY if _is_large(config) else GIVE_BACK


def set_malloc(mmap_threshold: int, trim_threshold: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(-3, mmap_threshold)
        mallopt(-1, trim_threshold)


def _leave_with_parent() -> None:
    """A killed worker leaves nobody behind, not even one that is compiling or hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# Arrays, as tensors would travel through shared memory, of which containers often have little.
def _pack(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _unpack(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
