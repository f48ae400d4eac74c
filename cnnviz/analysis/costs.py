"""Why a run took as long as it did: its wall time beside its network's size and its arithmetic.

A step's time is arithmetic, the launching of operations, and the moving of feature maps and weights. Only the first
grows with the network as its multiply-adds do, which is why a larger network may take no longer than a small one.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import pandas as pd
import psutil
import torch

from cnnviz.architectures import Architecture
from cnnviz.store.runs import Run, Segment

PEAK_MAPS, PEAK_SIDE = 256, 28  # of a convolution wide enough to run at the library's peak: 0.9 GFLOP a picture
PEAK_PICTURES_GPU = 64  # enough work for the time of a launch not to count
PEAK_SECONDS = 0.4  # of measuring
BUSY = 0.1  # of the machine's processor time: with more taken by other work, a peak is measured too low
MEASURE_AGAIN = 60.0  # seconds after a measurement on a busy machine
WEIGHT_TRIPS = 3  # a step reads the weights in the forward and the backward pass, and writes them
BYTES = 4  # of a float32
THE_REST = "memory, and layers too narrow to fill the machine's vectors"
WAYS = {  # train.loop.METHODS in words
    "eager": "operation by operation",
    "autograd": "on its own, by PyTorch's autograd",
    "autograd graph": "on its own, by PyTorch's autograd, as CUDA graphs",
    "kernel": "by the C++ kernel for LeNets",
    "compiled": "compiled by PyTorch",
    "graph": "as CUDA graphs",
    "compiled graph": "compiled, as CUDA graphs",
    "reduce-overhead": "compiled, as PyTorch's CUDA graphs",
}
ALIKE = 1.1  # ratio of two times up to which a sentence calls them equal
CHEAPER = 0.8  # of the time that its arithmetic alone would predict: worth explaining


@dataclass(frozen=True)
class Peak:
    """The fastest arithmetic of one core of this machine, as measured."""

    flops: float  # FLOP/s in float32
    idle: bool = True  # False: other work took part of the machine meanwhile, so that the peak is higher than this


@dataclass(frozen=True)
class Cost:
    """What one run cost. Rates are those of its longest segment."""

    run: Run
    seconds: float  # wall time of all segments; networks of one stack share it
    own_seconds: float  # each segment's time divided by the networks that shared it
    images_per_second: float  # of this network; NaN: not known
    stack: int  # networks trained as one
    threads: int
    device: str
    method: str  # how steps were run, of train.loop.METHODS; "": not recorded
    parameters: int
    multiply_adds: int  # per picture, forward
    arithmetic: float  # share of the step that arithmetic would take at the peak, at most 1; NaN: peak not known
    at_most: bool  # the peak was measured too low, so that `arithmetic` is an upper bound
    weight_traffic: float  # bytes/s of weights through the memory or the cache, at least

    @property
    def picture_seconds(self) -> float:
        """Time of its process for one picture through one network."""
        return 1 / (self.images_per_second * self.stack)


def step_flops(arch: Architecture) -> int:
    """Floating-point operations per picture of a training step.

    A multiplication and an addition for each multiply-add of the forward pass, as many for the gradient of the weights
    and as many for that of the input, which the first layer does not need.
    """
    return 2 * (3 * arch.multiply_adds - arch.weight_layers[0].multiply_adds)


_measured: tuple[Peak, float] | None = None  # and when, in seconds of time.monotonic()
_measuring = Lock()  # two measurements at once would each be other work to the other


def machine_peak() -> Peak:
    """The peak of one core of this machine, measured in about half a second.

    Measured once if the machine was idle. Beside other work, such as a training, the figure is a lower bound: it serves
    for a minute, so that a page that redraws does not slow the training down, and is then measured again.
    """
    global _measured
    with _measuring:
        known, at = _measured or (None, 0.0)
        if known is None or (not known.idle and time.monotonic() - at > MEASURE_AGAIN):
            flops, others = _beside_others(peak_flops)
            known = Peak(max(flops, known.flops if known else 0.0), idle=others <= BUSY)
            _measured = known, time.monotonic()
        return known


def _beside_others(work: Callable[[], float]) -> tuple[float, float]:
    """What the work returned, and the share of the machine's processor time that went to anything but this thread."""
    before, own = psutil.cpu_times(), time.thread_time()
    result = work()
    own, after = time.thread_time() - own, psutil.cpu_times()
    spent = {name: getattr(after, name) - getattr(before, name) for name in after._fields if "guest" not in name}
    unused = spent["idle"] + spent.get("iowait", 0.0)  # guests' time is in user's already
    total = sum(spent.values())
    return result, max(total - unused - own, 0.0) / total if total > 0 else 1.0


def peak_flops(threads: int = 1, device: str = "cpu") -> float:
    """FLOP/s of a wide 3×3 convolution in float32 on this machine, measured in about half a second.

    A matrix product measures less: PyTorch's library for it leaves half of some processors' vectors unused, and
    reaches 113 of 284 GFLOP/s on a core of an AMD EPYC. Other work on the machine lowers the figure.
    """
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        pictures = 1 if device == "cpu" else PEAK_PICTURES_GPU
        maps = torch.ones(pictures, PEAK_MAPS, PEAK_SIDE, PEAK_SIDE, device=device).to(
            memory_format=torch.channels_last
        )
        kernels = torch.ones(PEAK_MAPS, PEAK_MAPS, 3, 3, device=device).to(memory_format=torch.channels_last)
        with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):  # as networks are trained here
            # reading a value waits for the device
            seconds = shortest(lambda: float(torch.conv2d(maps, kernels)[0, 0, 0, 0]))
    finally:
        torch.set_num_threads(before)
    return 2 * pictures * (PEAK_SIDE - 2) ** 2 * PEAK_MAPS**2 * 9 / seconds


def shortest(work: Callable[[], object], seconds: float = PEAK_SECONDS) -> float:
    """The shortest time, in seconds, that the work took when it was repeated for `seconds`."""
    best, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def costs(runs: Sequence[Run], rates: pd.DataFrame | None = None, peak: Peak | None = None) -> list[Cost]:
    """What these runs cost, in the order given; runs that have not trained yet are left out.

    rates: reading.history of images_per_second, the rate of the steps alone; without it, a segment's pictures over its
    seconds, evaluation included. peak: of one core of the machine that trained them (machine_peak), or
    of its GPU.
    """
    return [_cost(run, rates, peak) for run in runs if run.epoch > 0 and run.seconds > 0]


def _cost(run: Run, rates: pd.DataFrame | None, peak: Peak | None) -> Cost:
    segment, first, last = _longest(run)
    rate = (last - first) * run.config.train_size / segment.seconds if segment.seconds else math.nan
    if rates is not None:
        seen = rates[(rates.run_id == run.id) & (rates.epoch > first) & (rates.epoch <= last) & (rates.value > 0)]
        rate = float(seen.value.median()) if len(seen) else rate
    arch = run.architecture
    power = peak.flops * (segment.threads if segment.device.startswith("cpu") else 1) if peak else math.nan
    pictures = rate * segment.stack
    return Cost(
        run,
        run.seconds,
        sum(each.seconds / each.stack for each in run.segments),
        rate,
        segment.stack,
        segment.threads,
        segment.device,
        segment.method,
        arch.parameters,
        arch.multiply_adds,
        min(pictures * step_flops(arch) / power, 1.0) if power > 0 else math.nan,
        peak is not None and not peak.idle,
        pictures / run.config.batch_size * WEIGHT_TRIPS * BYTES * arch.parameters,
    )


def _longest(run: Run) -> tuple[Segment, int, int]:
    """The segment with the most epochs, the epoch from which it started and its last."""
    ends = [*(segment.start_epoch for segment in run.segments[1:]), run.epoch]
    segments = [(segment, max(segment.start_epoch, 0), end) for segment, end in zip(run.segments, ends, strict=True)]
    return max(segments, key=lambda each: each[2] - each[1])


def table(found: Sequence[Cost]) -> pd.DataFrame:
    """Costs side by side, one row for each run; what is not known is NaN."""
    return pd.DataFrame(
        {
            "run_id": [cost.run.id for cost in found],
            "run": [cost.run.name for cost in found],
            "epochs": [cost.run.epoch for cost in found],
            "waited (s)": [_noted(cost.run, [each.waited for each in cost.run.segments]) for cost in found],
            "set-up (s)": [_noted(cost.run, [each.setup for each in cost.run.segments]) for cost in found],
            "wall time (s)": [cost.seconds for cost in found],
            "networks at once": [cost.stack for cost in found],
            "own share (s)": [cost.own_seconds for cost in found],
            "steps run by": [cost.method for cost in found],
            "images/s": [cost.images_per_second for cost in found],
            "parameters": [cost.parameters for cost in found],
            "multiply-adds": [cost.multiply_adds for cost in found],
            "arithmetic (%)": [100 * cost.arithmetic for cost in found],
            "weights moved (GB/s)": [cost.weight_traffic / 1e9 for cost in found],
        }
    )


def _noted(run: Run, seconds: Sequence[float]) -> float:
    """Of all segments; NaN for a run recorded before cnnviz noted it."""
    return sum(seconds) if all(segment.method for segment in run.segments) else math.nan


def explain(found: Sequence[Cost]) -> str:
    """Why these runs took as long as they did, in a few sentences with their figures."""
    known = [cost for cost in found if cost.images_per_second > 0]
    if not known:
        return "No run has trained yet."
    small = min(known, key=lambda cost: (cost.multiply_adds, cost.picture_seconds))
    large = max(known, key=lambda cost: (cost.multiply_adds, -cost.picture_seconds))
    if small.multiply_adds == large.multiply_adds:
        return _one_network(known)
    work = step_flops(large.run.architecture) / step_flops(small.run.architecture)
    longer = large.picture_seconds / small.picture_seconds
    names = large.run.config.model, small.run.config.model
    words = [f"To learn from a picture {names[0]} does {_times(work)} times the arithmetic of {names[1]}"]
    words[0] += " and takes no longer." if longer <= ALIKE else f" and takes {_times(longer)} times as long."
    if longer < CHEAPER * work and small.method != "kernel":
        words.append(
            "Only the arithmetic grows with the network: launching a step's operations costs the same however large "
            f"they are, and with batches of {small.run.config.batch_size} each of them has little to do."
        )
    elif longer > work / CHEAPER and not _ways([small, large]):
        words.append("That is more than its arithmetic explains: moving feature maps and weights takes the time.")
    words += _ways([small, large])
    if not math.isnan(small.arithmetic + large.arithmetic):
        words.append(
            f"Arithmetic at the machine's peak would take {_share(small)} of {names[1]}'s step and {_share(large)} of "
            f"{names[0]}'s; the rest is {_rest(small, large)}.{_doubt(large)}"
        )
    words.append(
        f"{names[0]}'s {large.parameters:,} weights are read twice and written once a step, "
        f"{large.weight_traffic / 1e9:.2g} GB/s; {names[1]}'s {small.parameters:,} are "
        f"{small.weight_traffic / 1e9:.2g} GB/s."
    )
    return " ".join([*words, *_sharing(known)])


def _one_network(found: Sequence[Cost]) -> str:
    cost = max(found, key=lambda cost: cost.stack)
    words = [
        f"They are one network: {cost.parameters:,} parameters and {cost.multiply_adds:,} multiply-adds a picture, so "
        "the learning rate, loss and activation hardly change its time."
    ]
    if not math.isnan(cost.arithmetic):
        words.append(
            f"Arithmetic at the machine's peak would take {_share(cost)} of a step; the rest is {_rest(cost)}."
            f"{_doubt(cost)}"
        )
    words += _ways(found)
    return " ".join([*words, *_sharing(found)])


def _sharing(found: Sequence[Cost]) -> list[str]:
    cost = max(found, key=lambda cost: (cost.stack, -len(cost.run.segments)))
    if cost.stack == 1:
        return []
    words = (
        f"{cost.stack} networks trained as one share a wall time: {cost.seconds:.0f} s for all of them, not for each"
    )
    alone = [each for each in found if each.stack == 1 and _comparable(each) == _comparable(cost)]
    if not alone:
        return [f"{words}."]
    gain = cost.images_per_second * cost.stack / alone[0].images_per_second
    if gain <= ALIKE:
        return [f"{words}; one alone processes as many pictures a second as they do together."]
    return [f"{words}; together they process {gain:.2g} times as many pictures a second as one alone."]


def _comparable(cost: Cost) -> tuple[object, ...]:
    return cost.run.config.model, cost.method, cost.device, cost.threads


def _ways(found: Sequence[Cost]) -> list[str]:
    """What besides their networks makes the times of these runs differ: how their steps were run, and on what."""
    parts = {
        "method": lambda cost: WAYS.get(cost.method, "in a way that was not recorded"),
        "device": lambda cost: f"on {cost.device}",
        "threads": lambda cost: f"on {cost.threads} thread{'s' if cost.threads > 1 else ''}",
    }
    differing = [said for name, said in parts.items() if len({getattr(cost, name) for cost in found}) > 1]
    if not differing:
        return []
    ways: dict[str, list[str]] = {}
    for cost in found:
        ways.setdefault(" ".join(said(cost) for said in differing), []).append(cost.run.config.model)
    is_one = len({cost.run.config.model for cost in found}) == 1
    names = {way: str(len(models)) if is_one else " and ".join(dict.fromkeys(models)) for way, models in ways.items()}
    listed = "; ".join(f"{name} {way}" for way, name in names.items())
    return [f"Their steps were run in different ways, which changes the time as well: {listed}."]


def _rest(*costs: Cost) -> str:
    return THE_REST if all(cost.method == "kernel" for cost in costs) else f"launching, {THE_REST}"


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"


def _share(cost: Cost) -> str:
    return f"{'at most ' if cost.at_most else ''}{100 * cost.arithmetic:.0f} %"


def _doubt(cost: Cost) -> str:
    if not cost.at_most:
        return ""
    return " (The peak was measured beside other work, such as a training, and is higher on an idle machine.)"
