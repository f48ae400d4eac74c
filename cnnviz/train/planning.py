"""Which runs are trained side by side, in how many shards, and where: on this machine, or on a cluster's nodes."""

import heapq
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cnnviz.config import RunConfig
from cnnviz.train import memory
from cnnviz.train.loop import Start, stack_key
from cnnviz.train.nodes import Node
from cnnviz.train.ways import fastest

TEST_PICTURES = 10_000
# A guess, before anything was measured: seconds to launch a step, and FLOP/s of one core in it.
GUESS = {"kernel": (0.0, 150e9), "graph": (0.0007, 5e12)}  # a graph's step is some 190 kernels of 2 to 4 µs each
GUESS_OTHERWISE = (0.0005, 100e9)
EVALUATION_SHARE = 0.4  # evaluating a picture takes this share of training on it: a pass of three, less well batched
TASK_SECONDS = 2.0  # of a task that takes the place of another on a cluster's node, to its first step


@dataclass(frozen=True)
class Shard:
    """Members trained as one stack by one process."""

    members: tuple[int, ...]
    threads: int
    device: str = "cpu"  # or "cuda", "mps"


@dataclass(frozen=True)
class Room:
    """What there is to train on."""

    device: str  # of this machine, or "cluster"
    cores: int
    gpus: int = 0
    widest: int = 1  # the cores of a cluster's largest node: of so many threads can one shard be


def cores() -> int:
    """Physical cores this process may use; logical ones if psutil is not installed."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import psutil
    except ImportError:
        return allowed
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def here(device: str) -> Room:
    """This machine's room; on a GPU one shard is trained at a time."""
    return Room(device, cores()) if device == "cpu" else Room(device, 1, gpus=1)


def of_nodes(nodes: Sequence[Node]) -> Room:
    """What those of a cluster's nodes that can train have together."""
    able = [node for node in nodes if not node.trouble]
    cores = [node.cores for node in able]
    return Room("cluster", sum(cores), sum(node.gpus for node in able), max(cores, default=1))


def stacks(configs: Sequence[RunConfig], starts: Sequence[Start] | None = None) -> list[list[int]]:
    """The members that can share a stack, given what they start from; None: untrained."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for member, config in enumerate(configs):
        key = stack_key(config, starts[member].epoch, starts[member].method) if starts else stack_key(config, -1)
        if config.trains_alone:
            key = (*key, member)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def plan(groups: Sequence[Sequence[int]], configs: Sequence[RunConfig], room: Room) -> list[Shard]:
    """Cut stacks into shards: one each on a GPU, up to one a core on a CPU, equal activations side by side; on a
    cluster as many as pay, the longest first."""
    ordered = [sorted(group, key=lambda member: configs[member].activation) for group in groups]
    if room.device == "cluster":
        return _on_cluster(ordered, configs, room)
    shards = [part for group in ordered for part in _cut(group, room.cores)]
    alone = len(shards) == 1
    large = {member for member, config in enumerate(configs) if memory.is_large(config)}
    many = room.cores if alone and large.issuperset(shards[0]) else 1
    return [Shard(members, many, room.device) for members in shards]


def _cut(group: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    count = min(parts, len(group))
    cuts = [round(index * len(group) / count) for index in range(count + 1)]
    return [tuple(group[start:stop]) for start, stop in itertools.pairwise(cuts)]


# -- a cluster ----------------------------------------------------------------------------------------


def _on_cluster(groups: Sequence[Sequence[int]], configs: Sequence[RunConfig], room: Room) -> list[Shard]:
    on_gpu = [group for group in groups if room.gpus and _pays_on_gpu([configs[each] for each in group], room.cores)]
    on_cpu = [group for group in groups if group not in on_gpu]
    shards = [Shard(tuple(group), 1, "cuda") for group in on_gpu]
    ways = _cuts(on_cpu, configs, room)
    best: list[Shard] = min(ways, key=lambda way: _makespan(way, configs, room.cores), default=[])
    shards += best
    return sorted(shards, key=lambda shard: _shard_seconds(shard, configs), reverse=True)


def _cuts(groups: Sequence[Sequence[int]], configs: Sequence[RunConfig], room: Room) -> list[list[Shard]]:
    """Ways to cut all stacks, by the size of their parts, the largest first: fewer shards start sooner."""
    largest = max(map(len, groups), default=0)
    sizes = sorted({-(-largest // parts) for parts in range(1, min(largest, room.cores) + 1)}, reverse=True)
    ways = []
    for size in sizes:
        parts = [part for group in groups for part in _cut(group, -(-len(group) // size))]
        large = all(memory.is_large(configs[member]) for part in parts for member in part)
        threads = max(1, min(room.widest, room.cores // len(parts))) if large else 1
        ways.append([Shard(part, threads) for part in parts])
    return ways


def _makespan(shards: Sequence[Shard], configs: Sequence[RunConfig], many: int) -> float:
    """Seconds until the last of the shards is done, if the longest are trained first."""
    free = [0.0] * max(many, 1)
    for shard in sorted(shards, key=lambda shard: _shard_seconds(shard, configs), reverse=True):
        seconds = _shard_seconds(shard, configs)
        taken = [heapq.heappop(free) for _ in range(min(shard.threads, len(free)))]
        for _ in taken:
            heapq.heappush(free, max(taken) + seconds)
    return max(free)


def _shard_seconds(shard: Shard, configs: Sequence[RunConfig]) -> float:
    members = [configs[member] for member in shard.members]
    first, epochs = members[0], max(config.epochs for config in members)
    step, picture = guess(members, fastest(members, shard.device), shard.threads)
    return TASK_SECONDS + epochs * (first.steps_per_epoch * step + (TEST_PICTURES + first.validation) * picture)


def _pays_on_gpu(members: Sequence[RunConfig], cores: int) -> bool:
    """Whether a step of the whole stack is faster on a GPU than spread over all the cores of the cluster."""
    on_gpu, _ = guess(members, fastest(members, "cuda"), 1)
    at_once = min(max(cores, 1), len(members))
    on_cores, _ = guess(members[: -(-len(members) // at_once)], fastest(members, "cpu"), 1)
    return cores == 0 or memory.is_large(members[0]) or on_gpu < on_cores


def guess(configs: Sequence[RunConfig], method: str, threads: int) -> tuple[float, float]:
    """Seconds for a step of one stack, and for evaluating a picture, before anything was measured."""
    first = configs[0]
    launching, rate = GUESS.get(method, GUESS_OTHERWISE)
    picture = 6 * first.architecture.multiply_adds * len(configs) / (rate * threads)
    return launching + picture * first.batch_size, EVALUATION_SHARE * picture
