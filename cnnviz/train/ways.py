"""Ways of running steps, and which of them trains: the fastest of those that are right here.

A way that nobody has tried on this machine is not trusted: on scratch weights it does a few dozen steps, which are
compared with the plain step's and timed. One that raises, is wrong or does not answer is left out, and a line says
so. What was found is kept (tried.py), so that it is found once for each machine, version and shape of a stack.

A process cannot end a step of its own that hangs. It announces each trial, and how long it may take, to whoever started
it (shards.py), who ends it and starts it again without that way.
"""

import importlib.util
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from cnnviz.config import RunConfig
from cnnviz.train import lenet, native, schedules, tried
from cnnviz.train.tried import Verdict

# Compiling takes 10 to 25 s the first time on two slow cores and 3 to 5 s from its cache, and saves half of each step.
COMPILE_FROM_STEPS = 10_000
KERNEL_FROM_STEPS = 1_000  # LeNet's own kernel is compiled in a second or two, and saves four fifths
COMPILING = ("compiled", "compiled graph", "reduce-overhead")
COMPILE_PAYS = 60.0  # seconds of training that a way must have left before another is compiled, which may halve them
WORDS = {
    "kernel": "LeNet's own kernel",
    "compiled": "the compiled step",
    "graph": "the CUDA graph",
    "autograd graph": "the CUDA graph",
    "compiled graph": "the compiled CUDA graph",
    "reduce-overhead": "PyTorch's own CUDA graph",
}

ALONE = ("autograd", "autograd graph")  # they train one network

STEPS, FEWEST = 30, 4  # of a trial
STEPS_GPU = 60  # three graphs
WORK = 1e10  # multiply-adds of a trial's steps on a CPU, up to which there are STEPS
JUDGED = 100  # pictures that the evaluation is compared on
# Of a trial: not the run's, with which a network may diverge. Momentum m makes steps 1 / (1 - m) times as
# long, for which the rate is lowered; the second rate is for Adam and its kin.
RATE, ADAPTIVE_RATE = 0.002, 1e-5
NO_RATE = 1e-30  # what changes no weight
# A weight may be off by so much, and by that share of itself. Sums are rounded in another order, which is 1e-7; where
# two of a pool's cells are nearly equal, the other one may get the gradient, which has been seen to be 4e-6. Adam moves
# a weight by its rate however small the gradient is, so that rounding may reverse each of its steps.
OFF_BY, ADAPTIVE_OFF_BY, OFF_BY_SHARE = 4e-5, 2 * STEPS_GPU * ADAPTIVE_RATE, 1e-4
# How far a layer's change, and the optimizer's state, may be from the plain step's, as shares of their L2 norms: up to
# 0.02 and 0.17 have been seen of a right kernel. A layer that does not learn is off by 1. ROUNDED is a share of the
# weights' norm.
LEARNED_OFF_BY, ROUNDED, SLOTS_OFF_BY = 0.2, 1e-6, 0.5
FIGURES_OFF_BY = 0.01  # share of itself that a figure may be off by
SHARES_OFF_BY = 0.02  # a share of pictures, or of units, besides
NOTHING = 1e-12  # that any figure may be off by besides
FASTER = 1.1  # a way takes the place of one that is expected to be faster if it is so many times as fast
READY_SECONDS = 300.0  # for compiling, before a way counts as hanging; native.py gives a compiler 120
STEPS_SECONDS, TIMES_EAGER = 20.0, 30.0  # for the steps after it: so long, or so many times as long as the plain ones


class Trainable(Protocol):
    """A loop.Trainer, as far as a trial needs it."""

    is_cold: bool  # its first steps compile

    @property
    def method(self) -> str: ...

    def trial(self, order: Tensor, judged: int) -> "Trial": ...


TrainableT = TypeVar("TrainableT", bound=Trainable)


class Trial(NamedTuple):
    """What some steps have come to."""

    weights: list[Tensor]  # with the run in front
    learned: list[Tensor]  # how they have changed
    slots: list[Tensor]  # the optimizer's state
    figures: list[dict[str, float]]  # of each run, in training and evaluation
    step_seconds: float


Announce = Callable[[str, float], None]  # a way that is tried from now on, for at most so many seconds; "": none


def has_compiler() -> bool:
    """Whether there is a C++ compiler for torch.compile on the CPU."""
    return native.compiler() is not None or shutil.which("cl") is not None


def possible(configs: Sequence[RunConfig], device: str) -> list[str]:
    """Ways that may pay for these runs, the one expected to be the fastest first; the last one always works."""
    if any(config.trains_alone for config in configs):
        return ["autograd graph", "autograd"] if device == "cuda" else ["autograd"]
    steps = max(config.epochs * config.steps_per_epoch for config in configs)
    found: list[str] = []
    if device == "cuda":
        can_compile = steps >= COMPILE_FROM_STEPS and importlib.util.find_spec("triton") is not None
        found = ["graph", *(["compiled graph", "reduce-overhead"] if can_compile else [])]
    if device == "cpu" and steps >= KERNEL_FROM_STEPS and lenet.fits(configs):
        found.append("kernel")
    if device == "cpu" and steps >= COMPILE_FROM_STEPS and has_compiler():
        found.append("compiled")
    return [*found, "eager"]


def fastest(configs: Sequence[RunConfig], device: str) -> str:
    """The way expected to be the fastest for these runs, from the configurations and the machine alone."""
    return possible(configs, device)[0]


@dataclass
class Choice(Generic[TrainableT]):
    """Chooses among ways for runs that share a stack.

    make(way, configs, weights) makes what trains, of configurations whose rates are the trial's and scratch weights.
    Nothing that these runs have, and no stream of random numbers, is touched.
    """

    configs: Sequence[RunConfig]
    device: str
    pictures: int  # that there are to train on
    make: Callable[[str, Sequence[RunConfig], Sequence[Mapping[str, Tensor]]], TrainableT]
    announce: Announce = lambda way, seconds: None

    def __post_init__(self) -> None:
        self.place = tried.place(self.configs, self.device)
        self.verdicts = tried.read(self.place)
        self.plain_way = "autograd" if any(config.trains_alone for config in self.configs) else "eager"
        self.plain: Trial | None = None
        self.plain_seconds = 0.0  # of the whole trial
        self.batch_size = self.configs[0].batch_size
        self.steps_left = max(config.epochs * config.steps_per_epoch for config in self.configs)

    def among(
        self, ways: Sequence[str], left_out: Mapping[str, str], recorded: str = ""
    ) -> tuple[str, TrainableT | None]:
        """The way to train by, and what was made for its trial if there was one.

        ways: the one expected to be the fastest first. left_out: what is known to be no good, and why. recorded: how
        the runs were trained so far, which is how they go on if it is right, be it the fastest or not.
        """
        self.verdicts |= {way: Verdict(why) for way, why in left_out.items()}
        best, made, step_seconds = "", None, math.inf
        for way in dict.fromkeys([recorded, *ways] if recorded else ways):
            if way == self.plain_way and (recorded or not best):
                break
            if way in COMPILING and step_seconds * self.steps_left < COMPILE_PAYS:
                continue
            if way == "compiled" and best == "kernel":
                continue
            way, verdict, theirs = self._verdict(way)
            if verdict.trouble:
                native.note(f"{WORDS[way]} {verdict.trouble}: steps are run without it")
            elif verdict.step_seconds * FASTER < step_seconds or not best:
                best, made, step_seconds = way, theirs, verdict.step_seconds
            if best and recorded:
                break
        if left_out or self.plain is not None:
            tried.write(self.place, self.verdicts)
        return (best or self.plain_way), made

    def _verdict(self, way: str) -> tuple[str, Verdict, TrainableT | None]:
        if way in self.verdicts:
            return way, self.verdicts[way], None
        plain = self._plain()
        if way == self.plain_way:
            return way, self.verdicts[way], None
        found = self._try(way, plain)
        self.announce("", 0.0)  # not if this process cannot go on: then the way is to blame
        return found

    def _plain(self) -> Trial:
        if self.plain is None:
            began = time.perf_counter()
            self.plain = self._make(self.plain_way).trial(self._order(), JUDGED)
            self.plain_seconds = time.perf_counter() - began
            self.verdicts[self.plain_way] = Verdict(step_seconds=self.plain.step_seconds)
        return self.plain

    def _try(self, way: str, plain: Trial) -> tuple[str, Verdict, TrainableT | None]:
        self.announce(way, READY_SECONDS)
        made: TrainableT | None = None
        try:
            made = self._make(way)
            way = made.method  # another one if this machine has no compiler for it
            if way == "eager":  # which has been said
                return way, self.verdicts[way], None
            if not made.is_cold:
                self.announce(way, max(STEPS_SECONDS, TIMES_EAGER * self.plain_seconds))
            trial = made.trial(self._order(), JUDGED)
            if made.method == "eager":  # it could not be compiled
                return "eager", self.verdicts["eager"], None
            verdict = Verdict(difference(trial, plain, self.rates, self.off_by), trial.step_seconds)
        except Exception as error:  # of compilers, drivers and libraries
            if self.device != "cpu":
                torch.zeros(1, device=self.device).item()  # a device that is out of order says so: another process
            verdict = Verdict(f"fails ({type(error).__name__}: {native.first_error(str(error))})")
        self.verdicts[way] = verdict
        return way, verdict, None if verdict.trouble else made

    # -- a trial ---------------------------------------------------------------------------------

    @property
    def is_adaptive(self) -> bool:
        return self.configs[0].optimizer not in ("sgd", "nesterov")

    @property
    def off_by(self) -> float:
        return ADAPTIVE_OFF_BY if self.is_adaptive else OFF_BY

    @property
    def rates(self) -> list[float]:
        """Of each network; with several the last one learns nothing, so that what others do to it is seen."""
        found = [ADAPTIVE_RATE if self.is_adaptive else RATE * (1 - each.momentum) for each in self.configs]
        return found if len(found) == 1 else [*found[:-1], NO_RATE]

    def _make(self, way: str) -> TrainableT:
        generator = torch.Generator().manual_seed(0)
        configs = [beginning_with(rate, each) for each, rate in zip(self.configs, self.rates, strict=True)]
        return self.make(way, configs, [scratch(each, generator) for each in configs])

    def _order(self) -> Tensor:
        """Pictures for the steps: of whole batches, and one that is not full, as at the end of an epoch."""
        work = sum(config.architecture.multiply_adds for config in self.configs) * 3 * self.batch_size
        steps = STEPS_GPU if self.device == "cuda" else max(FEWEST, min(STEPS, int(WORK / work)))
        many = steps * self.batch_size + self.batch_size // 2
        return torch.randint(self.pictures, (many,), generator=torch.Generator().manual_seed(1))


def beginning_with(rate: float, config: RunConfig) -> RunConfig:
    """The configuration with that rate at its first step: a schedule may begin with a small share of its highest."""
    config = replace(config, lr=1.0, warmup=0)
    return replace(config, lr=rate / schedules.rate(config, 0))


def scratch(config: RunConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights drawn as PyTorch draws them, of a generator of their own."""
    weights: dict[str, Tensor] = {}
    bound = 1.0
    for name, shape in config.architecture.weight_shapes.items():
        if len(shape) > 1:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
        if "_norm." in name:  # as it begins: a variance is not negative
            weights[name] = torch.full(shape, float(name.endswith(("weight", "running_var"))))
            continue
        weights[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return weights


def difference(trial: Trial, plain: Trial, rates: Sequence[float], off_by: float = OFF_BY) -> str:
    """What is wrong with a trial, in words, given the plain step's; "" if nothing is. A weight may be off by off_by."""
    if not all(bool(each.isfinite().all()) for each in (*trial.weights, *trial.slots)):
        return "makes weights that are not finite"
    for ours, theirs in zip(trial.weights, plain.weights, strict=True):
        for run, rate in enumerate(rates):
            if rate == NO_RATE and not torch.equal(ours[run], theirs[run]):
                return "changes a network while it trains another"
    off = max(
        float(((ours - theirs).abs() / (off_by + OFF_BY_SHARE * theirs.abs())).max())
        for ours, theirs in zip(trial.weights, plain.weights, strict=True)
    )
    if off > 1:
        return f"makes other weights than the plain step ({off:.2g} times what rounding explains)"
    for ours, theirs, weights in zip(trial.learned, plain.learned, plain.weights, strict=True):
        if _apart(ours, theirs, LEARNED_OFF_BY, ROUNDED * _norms(weights)):
            return "learns something else than the plain step"
    for ours, theirs in zip(trial.slots, plain.slots, strict=True):
        if _apart(ours[None], theirs[None], SLOTS_OFF_BY):
            return "keeps another state of the optimizer than the plain step"
    for mine, its in zip(trial.figures, plain.figures, strict=True):
        for name, figure in its.items():
            slack = SHARES_OFF_BY if name.endswith("accuracy") or name.startswith("saturation") else NOTHING
            if not abs(mine[name] - figure) <= FIGURES_OFF_BY * abs(figure) + slack:
                return f"reports another {name} than the plain step ({mine[name]:.3g} for {figure:.3g})"
    return ""


def _norms(each: Tensor) -> Tensor:
    """The L2 norm of each run's part, on the CPU: (runs,)."""
    return each.detach().cpu().double().reshape(len(each), -1).norm(dim=1)


def _apart(ours: Tensor, theirs: Tensor, share: float, rounded: Tensor | float = 0.0) -> bool:
    """Whether a run's part differs by more than that share of its L2 norm, and what is rounded."""
    return bool((_norms(ours - theirs) > share * _norms(theirs) + rounded).any())
