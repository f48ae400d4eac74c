"""How long runs will take here: by the speeds of the same stacks measured here or, before there are any, by a guess."""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnviz import wording
from cnnviz.config import RunConfig
from cnnviz.jobs import devices, nodes
from cnnviz.jobs.files import job_file, write_atomically
from cnnviz.train import planning
from cnnviz.train.loop import PROBE_STEPS, Progress, Speed, speed_key
from cnnviz.train.planning import EVALUATION_SHARE, TEST_PICTURES, Room
from cnnviz.train.ways import fastest

UNCERTAINTY = 2.0  # a guess may be wrong by this factor, up or down
START_SECONDS = 6  # of a shard, to its first step
COMPILE_SECONDS = 10
RECORD_SECONDS = 0.03  # a run's epoch: the worker writes its checkpoint and its metrics


@dataclass(frozen=True)
class Estimate:
    runs: int
    stacks: int
    seconds: float
    measured: bool  # by speeds measured on this machine; else a guess
    at_least: float  # seconds, as at_most; equal if measured
    at_most: float
    about: str  # "about 9 min", "2 to 6 min"
    sentence: str  # "12 runs trained together, about 9 min here" or "… 2 to 6 min here (not measured yet)"


def estimate(configs: Sequence[RunConfig], device: str = "auto") -> Estimate:
    """How long these runs take here if nothing else is trained. Raises ConfigError for a device that is not here."""
    device = devices.resolve(device)
    groups = planning.stacks(configs)
    room, place = _room(device)
    busy = {"cpu": [0.0] * room.cores, "gpu": [0.0] * room.gpus}
    measured, speeds = True, _read_speeds(device)
    for shard in planning.plan(groups, configs, room):
        members = [configs[member] for member in shard.members]
        method = fastest(members, shard.device)
        speed = speeds.get(_with_threads(speed_key(members, method), shard.threads))
        step_seconds, picture_seconds = speed or planning.guess(members, method, shard.threads)
        measured = measured and speed is not None
        start_up = START_SECONDS + COMPILE_SECONDS * (method == "compiled")
        _occupy(
            busy["cpu" if shard.device == "cpu" else "gpu"],
            shard.threads,
            start_up + _training_seconds(members, step_seconds, picture_seconds),
        )
    seconds = max(*busy["cpu"], *busy["gpu"])
    if device == "cluster":  # one worker records what all of its nodes train
        seconds = max(seconds, sum(config.epochs + 1 for config in configs) * RECORD_SECONDS)
    factor = 1.0 if measured else UNCERTAINTY
    low, high = seconds / factor, seconds * factor
    together = f" in {len(groups)} groups" if len(groups) > 1 else " trained together" if len(configs) > 1 else ""
    about = wording.duration_range(low, high)
    sentence = f"{wording.count(len(configs), 'run')}{together}, {about} {place}"
    sentence += ", or less if training stops early" if any(config.patience for config in configs) else ""
    sentence += "" if measured else " (not measured yet)"
    return Estimate(len(configs), len(groups), seconds, measured, low, high, about, sentence)


def _room(device: str) -> tuple[Room, str]:
    """What there is to train on, and the words for it."""
    if device != "cluster":
        return planning.here(device), "here"
    if room := nodes.room(devices.cluster_address()):
        gpus = f" and {wording.count(room.gpus, 'GPU')}" if room.gpus else ""
        return room, f"on the cluster's {wording.count(room.cores, 'core')}{gpus}"
    return replace(
        planning.here("cpu"), device="cluster"
    ), "on a cluster of this machine's size, until it has been seen"


def _occupy(busy: list[float], threads: int, seconds: float) -> None:
    """Of the cores, those that are free first."""
    busy.sort()
    free_at = busy[min(threads, len(busy)) - 1]
    for at in range(min(threads, len(busy))):
        busy[at] = free_at + seconds


def _training_seconds(configs: Sequence[RunConfig], step_seconds: float, picture_seconds: float) -> float:
    """All epochs of new runs that are one stack, from the untrained network on; as long as if none left it early."""
    first, epochs = configs[0], max(config.epochs for config in configs)
    steps = min(PROBE_STEPS, first.steps_per_epoch) + epochs * first.steps_per_epoch
    train_evaluations = 1 + len({config.epochs for config in configs})  # untrained, and as each run ends
    pictures = (epochs + 1) * (TEST_PICTURES + first.validation) + train_evaluations * first.train_size
    recorded = sum(config.epochs + 1 for config in configs)
    return steps * step_seconds + pictures * picture_seconds + recorded * RECORD_SECONDS


def seconds_left(config: RunConfig, start_epoch: int, progress: Progress) -> float | None:
    """Of a run that set out from that epoch, evaluation included; None: its speed is not known yet."""
    speed = progress.speed
    if speed is None or speed.step_seconds is None:
        return None
    start = max(start_epoch, 0)
    evaluated = max(progress.epoch - 1 - start, 0)  # epochs behind it
    trained = evaluated + progress.fraction * (progress.epoch > 0)
    picture_seconds = speed.picture_seconds
    if picture_seconds is None:
        picture_seconds = EVALUATION_SHARE * speed.step_seconds / config.batch_size
    todo = config.epochs - start
    pictures = (todo - evaluated) * (TEST_PICTURES + config.validation) + config.train_size
    return (todo - trained) * config.steps_per_epoch * speed.step_seconds + pictures * picture_seconds


def stages(configs: Sequence[RunConfig], device: str) -> dict[str, float]:
    """How many seconds the stages before training take here, by status.STAGES: as last time, or by a guess.

    The networks that are tested longest count: others are tested, or trained already, at the same time.
    """
    known, speeds = _read_file(device), _read_speeds(device)
    found = {"data": START_SECONDS, "compiling": 0.0, "testing": 0.0}
    for shard in planning.plan(planning.stacks(configs), configs, _room(device)[0]):
        members = [configs[member] for member in shard.members]
        first, method = members[0], fastest(members, shard.device)
        speed = speeds.get(_with_threads(speed_key(members, method), shard.threads))
        step, picture = speed or planning.guess(members, method, shard.threads)
        testing = PROBE_STEPS * step + (TEST_PICTURES + first.validation + first.train_size) * picture
        compiling = COMPILE_SECONDS if method in ("compiled", "kernel") else 0.0
        for stage, seconds in (("testing", testing), ("compiling", compiling)):
            found[stage] = max(found[stage], seconds)
    for stage in ("data", "compiling"):
        last = known.get(f"stage {stage}")
        if isinstance(last, int | float) and found[stage]:
            found[stage] = float(last)
    return {stage: seconds for stage, seconds in found.items() if seconds}


def note_stage(device: str, stage: str, seconds: float) -> None:
    """Keep how long a stage took, for the next time."""
    with contextlib.suppress(OSError):
        write_atomically(job_file(device, "speeds"), json.dumps(_read_file(device) | {f"stage {stage}": seconds}))


# -- speeds measured here ---------------------------------------------------------------------------


def _with_threads(stack: str, threads: int) -> str:
    return f"{stack}, {threads} threads"


def _read_file(device: str) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(json.loads(job_file(device, "speeds").read_text(encoding="utf-8")))
    return {}


def _read_speeds(device: str) -> dict[str, tuple[float, float]]:
    """Seconds for a step and for evaluating a picture, by stack and threads. Numbers alone, as the version before wrote
    them by other keys, are passed over."""
    return {
        key: (float(step), float(picture))
        for key, value in _read_file(device).items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(each, int | float) for each in value)
        for step, picture in [value]
    }


def note_speed(device: str, threads: int, speed: Speed | None) -> None:
    """Keep a speed for later estimates, if all of it has been measured and it is news."""
    if speed is None or speed.step_seconds is None or speed.picture_seconds is None:
        return
    key, measured = _with_threads(speed.stack, threads), (speed.step_seconds, speed.picture_seconds)
    known = _read_speeds(device).get(key, (0.0, 0.0))
    if all(math.isclose(old, new, rel_tol=0.1) for old, new in zip(known, measured, strict=True)):
        return
    with contextlib.suppress(OSError):
        write_atomically(job_file(device, "speeds"), json.dumps(_read_file(device) | {key: measured}))
