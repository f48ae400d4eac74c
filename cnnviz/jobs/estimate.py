"""How long runs will take here: from trainings of the same shape or, before there are any, from a guess."""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnviz import wording
from cnnviz.architectures import architecture
from cnnviz.config import RunConfig
from cnnviz.jobs import devices
from cnnviz.jobs.status import worker_file, write_whole
from cnnviz.train import shards
from cnnviz.train.loop import fastest

# A first guess before anything was measured here: seconds to launch a step, and FLOP/s of one core in it.
GUESS = {"kernel": (0.0, 150e9), "graph": (0.0007, 5e12)}  # a graph's step is some 190 kernels of 2 to 4 µs each


GUESS_ELSE = (0.0005, 100e9)


@dataclass(frozen=True)
class Estimate:
    runs: int
    stacks: int
    seconds: float
    measured: bool  # from trainings on this machine; else a first guess
    sentence: str  # "12 runs, one stack, about 9 min here"


def estimate(configs: Sequence[RunConfig], device: str = "auto") -> Estimate:
    """How long these runs take here, from trainings of the same shape or, before there are any, from a guess."""
    device = devices.resolve(device)
    groups = shards.stacks(configs)
    planned = shards.plan(groups, configs, device)
    measured, busy = _read_speeds(device), [0.0] * (shards.cores() if device == "cpu" else 1)
    known = True
    for shard in planned:
        first = configs[shard.runs[0]]
        how = fastest([configs[run] for run in shard.runs], device)
        step = measured.get(_speed_key(first, len(shard.runs)))
        known = known and step is not None
        if step is None:
            flops = 6 * architecture(first.model).multiply_adds * first.batch_size * len(shard.runs)
            launching, rate = GUESS.get(how, GUESS_ELSE)
            step = launching + flops / (rate * shard.threads)
        steps = max(configs[run].epochs for run in shard.runs) * first.steps_per_epoch
        start_up = 16 if how == "compiled" else 6
        busy[busy.index(min(busy))] += start_up + 1.1 * step * steps  # a tenth for evaluation and tracking
    seconds = max(busy)
    many = f"{len(configs)} run{'s' if len(configs) != 1 else ''}"
    stacks = "one stack" if len(groups) == 1 else f"{len(groups)} stacks"
    sentence = f"{many}, {stacks}, about {wording.duration(seconds)} here" + ("" if known else " (a first guess)")
    return Estimate(len(configs), len(groups), seconds, known, sentence)


def _speed_key(config: RunConfig, size: int) -> str:
    return f"{config.model} {config.optimizer} batch {config.batch_size} x {size}"


def _read_speeds(device: str) -> dict[str, float]:
    """Seconds a step, by shape, as measured here."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(worker_file(device, "speeds").read_text(encoding="utf-8")))
    return {}


def note_speed(device: str, config: RunConfig, size: int, seconds: float) -> None:
    speeds, key = _read_speeds(device), _speed_key(config, size)
    if math.isclose(speeds.get(key, 0.0), seconds, rel_tol=0.1):
        return
    with contextlib.suppress(OSError):
        write_whole(worker_file(device, "speeds"), json.dumps(speeds | {key: seconds}))
