"""Train one stack of networks: an EpochResult per run and epoch, and LateFigures of epoch 0. Needs torch and
torchvision alone.

An epoch depends on the configurations, the weights it starts from and (seed, epoch), and on nothing else: a run resumed
between two epochs goes on as if it had never stopped, bit for bit if stack, threads and machine are the same.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import initial_weights
from cnnviz.config import DEFAULTS, SETTINGS, RunConfig
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError, ConfigError
from cnnviz.train import lenet, native, ways
from cnnviz.train.compiled import CompiledStep
from cnnviz.train.graph import SingleGraph, StepGraph
from cnnviz.train.single import Single
from cnnviz.train.stack import Stack
from cnnviz.train.stopping import Watched

PROBE_STEPS = 100  # batches behind the gradient norms of epoch 0
REPORT_SECONDS = 0.25  # between two reports of progress, and two checks of stop requests
COMPILED = {"compiled": None, "compiled graph": None, "reduce-overhead": "reduce-overhead"}  # torch.compile's mode
# Ways of running steps; their sums may be rounded differently.
METHODS = ("eager", *ways.ALONE, "kernel", "graph", *COMPILED)
STEPS_AT_ONCE = 20  # between two checks of the clock; and in one CUDA graph, so that its launch costs next to nothing


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    epoch: int  # the last complete one; -1: not even the untrained network was recorded
    weights: Mapping[str, Tensor]
    slots: Mapping[str, Tensor] = field(default_factory=dict)  # the optimizer's state
    method: str = ""  # how steps were run so far, of METHODS; "": the fastest way is chosen
    watched: Watched = field(default_factory=Watched)  # the validation loss so far, for a run with patience
    left_out: Mapping[str, str] = field(default_factory=dict)  # ways of running steps that are no good here, and why
    notes: tuple[str, ...] = ()  # what the run's message should say of how it was started, a line each


@dataclass(frozen=True)
class EpochResult:
    """One member after one epoch; epoch 0 is the untrained network."""

    member: int  # index of the run among the configurations
    epoch: int
    metrics: dict[str, float]  # by the names the store uses
    weights: dict[str, Tensor] = field(repr=False)
    slots: dict[str, Tensor] = field(repr=False)
    stack: tuple[int, ...] = ()  # the members that are trained together in the next epoch, in order
    method: str = ""  # how steps were run, of METHODS
    is_last: bool = False  # the run has reached its epochs, or its patience has run out


@dataclass(frozen=True)
class LateFigures:
    """What the EpochResult of epoch 0 has not: the figures of the training pictures, which are many. Nobody need wait
    for them to see the first point."""

    member: int
    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Speed:
    """How fast a stack is here; None for what has not been measured yet."""

    stack: str  # speed_key of its runs
    step_seconds: float | None  # of all its networks together
    picture_seconds: float | None  # evaluation of one picture by all its networks


@dataclass(frozen=True)
class Progress:
    """How far a stack is, several times a second."""

    phase: str  # "compiling", "training", "evaluating"
    epoch: int
    fraction: float  # of the epoch; of epoch 0, of the pictures that the untrained networks are shown
    images_per_second: float  # of each network; 0: not known yet
    speed: Speed | None = None
    troubles: tuple[str, ...] = ()  # what is wrong with a compiler here, which costs time and nothing else


def fresh_start(config: RunConfig) -> Start:
    """The untrained network of that configuration."""
    return Start(-1, initial_weights(config.architecture, config.seed, config.init))


def stack_key(config: RunConfig, start_epoch: int, method: str = "") -> tuple[object, ...]:
    """Runs may share a stack if these are equal: the same network, the same batches, the same optimizer, and the way
    their steps were run so far."""
    return (*(getattr(config, name) for name, its in SETTINGS.items() if its.shared), start_epoch, method)


def speed_key(configs: Sequence[RunConfig], method: str) -> str:
    """What the speed of a stack of these runs depends on, besides the machine and the threads."""
    first = configs[0]
    activations = "+".join(sorted({config.activation for config in configs}))
    optimizer = first.optimizer
    optimizer += " momentum" if any(config.momentum for config in configs) else ""
    optimizer += " decay" if any(config.weight_decay for config in configs) else ""
    others = sorted(
        {
            f" {name} {value}"
            for config in configs
            for name, value in vars(config).items()
            if name not in lenet.KNOWN and value != DEFAULTS[name]
        }
    )
    network = f"{first.model} {activations} {first.pooling}{''.join(others)}"
    return f"{network}, {optimizer}, batch {first.batch_size}, {method}, x {len(configs)}"


def train_stack(
    configs: Sequence[RunConfig],
    dataset: Dataset,
    starts: Sequence[Start] | None = None,
    device: str = "cpu",
    method: str | None = None,
    stopped: Callable[[], Collection[int]] = tuple,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_trial: ways.Announce = lambda way, seconds: None,
) -> Iterator[EpochResult | LateFigures]:
    """Train runs that share one stack_key, each to its config.epochs.

    Each run's EpochResults come in the order of its epochs, its LateFigures between those of epoch 0 and epoch 1.

    A member is a run's index among configs. stopped() names members to leave out from now on: the epoch they are in is
    discarded. method: how steps are run, of METHODS; None goes on as the starts have it, or takes the fastest that is
    right here (ways.py) if they have none or this machine cannot. on_trial is called with a way that is tried, and the
    seconds after which it hangs, and with "" when it is over. Raises ConfigError for runs that cannot share a stack, or
    that the method cannot train.
    """
    starts = starts or [fresh_start(config) for config in configs]
    keys = {stack_key(config, start.epoch, start.method) for config, start in zip(configs, starts, strict=True)}
    if len(keys) != 1:
        raise ConfigError(
            f"{len(configs)} runs cannot share a stack: they differ in model, batches, optimizer or epoch"
        )
    if len(configs) > 1 and (method in ways.ALONE or any(config.trains_alone for config in configs)):
        raise ConfigError(f"{len(configs)} runs cannot share a stack: autograd trains one network at a time")
    if configs[0].trains_alone and method not in (None, *ways.ALONE):
        raise ConfigError(f"{configs[0].name} has settings that only autograd trains, not the method {method!r}")
    with _exact_cudnn():
        yield from _train_stack(configs, dataset, starts, device, method, stopped, on_progress, on_trial)


@contextlib.contextmanager
def _exact_cudnn() -> Iterator[None]:
    """float32 as it is written, and the same sums each time: what is recorded with every segment holds for cuDNN too.

    cuDNN knows these settings for a whole process only, so they are put back when training ends.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic = before


def _train_stack(
    configs: Sequence[RunConfig],
    dataset: Dataset,
    starts: Sequence[Start],
    device: str,
    method: str | None,
    stopped: Callable[[], Collection[int]],
    on_progress: Callable[[Progress], None],
    on_trial: ways.Announce,
) -> Iterator[EpochResult | LateFigures]:
    dataset = dataset.limited(configs[0].limit_train, configs[0].validation).to(device)
    if configs[0].mistake == "random-labels":
        dataset = replace(dataset, train_labels=data.shuffled_labels(dataset.train_labels, configs[0].seed))
    for note in dict.fromkeys(note for start in starts for note in start.notes):
        native.note(note)
    active = [
        member
        for member, (config, start) in enumerate(zip(configs, starts, strict=True))
        if start.epoch < config.epochs and not start.watched.has_run_out(start.epoch, config.patience)
    ]
    watched = {member: starts[member].watched for member in active}
    if not active:
        return
    trainer = _trainer(
        [configs[each] for each in active],
        [starts[each] for each in active],
        dataset,
        device,
        method,
        on_progress,
        on_trial,
    )
    stack = active  # the members whose networks are trained, in their order in the tensors
    for epoch in range(starts[0].epoch + 1, max(config.epochs for config in configs) + 1):
        if not active:
            return
        metrics = trainer.epoch(epoch, partial(_all_stopped, active, stopped), on_progress)
        if metrics is None:
            return
        trained = stack  # as the metrics are ordered
        last = set()
        for member in active:
            config = configs[member]
            if config.patience and epoch:  # an untrained network is not a best one
                watched[member] = watched[member].after(epoch, metrics[stack.index(member)]["val_loss"])
            if config.epochs == epoch or watched[member].has_run_out(epoch, config.patience):
                last.add(member)
        # What changes a network's statistics is over before they are kept.
        is_late = epoch == 0 and not configs[0].evaluation_changes_it
        if (last or epoch == 0) and not is_late:
            trainer.add_exact(epoch, metrics, on_progress)
        left_out = set(stopped())
        active = [member for member in active if member not in left_out]
        now = {member: trainer.snapshot(stack.index(member), epoch) for member in active}
        figures = {member: metrics[stack.index(member)] for member in active}
        active = [member for member in active if member not in last]
        # Those that left are trained along, their results discarded, until a smaller stack is worth compiling it anew.
        shrinks = bool(active) and len(active) <= (len(stack) - 1 if trainer.kernel else len(stack) // 2)
        stack = active if shrinks else stack
        for member, state in now.items():
            weights, slots = dict(state.weights), dict(state.slots)
            yield EpochResult(
                member, epoch, figures[member], weights, slots, tuple(stack), trainer.method, member in last
            )
        if is_late:
            exact = trainer.exact(epoch, partial(_all_stopped, active, stopped), on_progress)
            if exact is None:
                return
            left_out = set(stopped())
            active = [member for member in active if member not in left_out]
            yield from (LateFigures(member, epoch, exact[trained.index(member)]) for member in active)
        if shrinks and active:  # what was stopped since the results came stays in the stack that they name
            trainer = Trainer(
                [configs[each] for each in stack], [now[each] for each in stack], dataset, device, trainer.method
            )


def _trainer(
    configs: Sequence[RunConfig],
    starts: Sequence[Start],
    dataset: Dataset,
    device: str,
    method: str | None,
    on_progress: Callable[[Progress], None],
    on_trial: ways.Announce,
) -> "Trainer":
    """What trains these runs: by the method or, if that is None, as before, or in the way that is chosen for them."""
    before, possible = method or _as_before(starts[0].method, configs, device), ways.possible(configs, device)
    chosen, made = before or possible[0], None
    if "kernel" in (method, chosen) or (chosen in ways.WORDS and not method):
        on_progress(Progress("compiling", starts[0].epoch + 1, 0.0, 0.0))
    if chosen in ways.WORDS and not method:  # not the plain one, which needs no trial

        def make(way: str, configs: Sequence[RunConfig], weights: Sequence[Mapping[str, Tensor]]) -> Trainer:
            return Trainer(configs, [Start(0, each) for each in weights], dataset, device, way)

        choice = ways.Choice(configs, device, len(dataset.train_labels), make, on_trial)
        left_out = {way: why for start in starts for way, why in start.left_out.items()}
        chosen, made = choice.among(possible, left_out, before)
    if made is None:
        made = Trainer(configs, starts, dataset, device, chosen)
    else:
        made.begin_with(configs, starts)
    made.speed_key = speed_key(configs, before or possible[0])  # as it was expected, even if another way must do
    return made


class _AbandonedError(Exception):
    """Out of an evaluation that is wanted no more."""


def _all_stopped(members: Sequence[int], stopped: Callable[[], Collection[int]]) -> bool:
    return set(members) <= set(stopped())


class Trainer:
    """A stack, its data and the way its steps are run on this device."""

    def __init__(
        self, configs: Sequence[RunConfig], starts: Sequence[Start], dataset: Dataset, device: str, method: str
    ) -> None:
        self.dataset, self.config = dataset, configs[0]
        self.speed_key = speed_key(configs, method)
        self.kernel: lenet.Kernel | None = None
        self.graph: StepGraph | SingleGraph | None = None
        self.compile_seconds = 0.0  # of this epoch
        self._method = method
        if method in ways.ALONE:
            single = Single(self.config, starts[0].weights, starts[0].slots, device)
            self.stack: Stack | Single = single
            self.evaluate, self.step = single.evaluate, single.step
            self.is_cold = False
            if method == "autograd graph":
                self.graph = SingleGraph(single, dataset, self.config.batch_size, STEPS_AT_ONCE)
        else:
            self._make_stack(configs, starts, device)
        self.rate = 0.0  # pictures a second, of each network
        self.picture_seconds: float | None = None  # of evaluation, for all networks

    def _make_stack(self, configs: Sequence[RunConfig], starts: Sequence[Start], device: str) -> None:
        weights, slots = [start.weights for start in starts], [start.slots for start in starts]
        self.stack = stack = Stack(self.config.architecture, configs, weights, slots, device)
        self.evaluate, self.step = stack.evaluate, stack.step
        if self._method == "kernel":
            try:
                self.kernel = lenet.Kernel(stack, self.config.batch_size)
                self.evaluate = self.kernel.evaluate
            except CnnvizError as error:
                native.note(f"{error}; PyTorch compiles the step instead")
                self._method = "compiled"
        if self._method == "eager" and device == "cpu" and not ways.has_compiler():
            native.note(native.NO_COMPILER)
        self.is_cold = self._method in COMPILED
        if self.is_cold:
            self.step = CompiledStep(stack, COMPILED[self._method])
        if self._method in ("graph", "compiled graph"):
            self.graph = StepGraph(stack, self.step, self.dataset, self.config.batch_size, STEPS_AT_ONCE)

    def begin_with(self, configs: Sequence[RunConfig], starts: Sequence[Start]) -> None:
        """Train these from now on, of the shape of those that it was made with: nothing is compiled again."""
        weights, slots = [start.weights for start in starts], [start.slots for start in starts]
        self.config, device = configs[0], self.stack.device
        if isinstance(self.stack, Single):
            self.stack.take_over(Single(self.config, weights[0], slots[0], device))
        else:
            self.stack.take_over(Stack(self.config.architecture, configs, weights, slots, device))
        if self.kernel is not None:  # it has a copy of the weights
            assert isinstance(self.stack, Stack)
            self.kernel = lenet.Kernel(self.stack, self.config.batch_size)
            self.evaluate = self.kernel.evaluate

    def snapshot(self, position: int, epoch: int) -> Start:
        return Start(epoch, self.stack.weights_of(position), self.stack.slots_of(position))

    @property
    def method(self) -> str:
        """How steps are run in fact."""
        return "eager" if isinstance(self.step, CompiledStep) and self.step.has_failed else self._method

    @property
    def speed(self) -> Speed:
        step_seconds = self.config.batch_size / self.rate if self.rate else None
        return Speed(self.speed_key, step_seconds, self.picture_seconds)

    def _progress(self, phase: str, epoch: int, fraction: float) -> Progress:
        return Progress(phase, epoch, fraction, self.rate, self.speed, tuple(native.troubles))

    def epoch(
        self,
        epoch: int,
        abandoned: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> list[dict[str, float]] | None:
        """Train one epoch (0: only evaluate) and return each run's metrics; None if it was abandoned half way."""
        began, self.compile_seconds = time.perf_counter(), 0.0
        if epoch == 0:
            on_progress(self._progress("evaluating", 0, 0.0))
            metrics = self._probe()
        else:
            trained = self._train(epoch, abandoned, on_progress)
            if trained is None:
                return None
            metrics = trained
            on_progress(self._progress("evaluating", epoch, 1.0))
        data_set, seen = self.dataset, self._seen(epoch, on_progress)
        evaluated, many = time.perf_counter(), len(data_set.test_labels)
        tested = self.evaluate(data_set.test_images, data_set.test_labels, seen)
        self.picture_seconds = (time.perf_counter() - evaluated) / many
        for run, figures in zip(metrics, tested, strict=True):
            run |= {"test_loss": figures.pop("loss"), "test_accuracy": figures.pop("accuracy")} | figures
        if data_set.validation_images is not None and data_set.validation_labels is not None:
            held_out = self.evaluate(data_set.validation_images, data_set.validation_labels)
            for run, figures in zip(metrics, held_out, strict=True):
                run |= {"val_loss": figures["loss"], "val_accuracy": figures["accuracy"]}
        for run in metrics:
            run["epoch_seconds"] = time.perf_counter() - began - self.compile_seconds if epoch else 0.0
            run["images_per_second"] = self.rate
        return metrics

    def add_exact(
        self, epoch: int, metrics: Sequence[dict[str, float]], on_progress: Callable[[Progress], None]
    ) -> None:
        """The figures of exact(), added to the epoch's metrics."""
        began, figures = time.perf_counter(), self.exact(epoch, lambda: False, on_progress)
        for run, exact in zip(metrics, figures or [], strict=True):
            run |= exact
            run["epoch_seconds"] += time.perf_counter() - began if epoch else 0.0

    def exact(
        self, epoch: int, abandoned: Callable[[], bool], on_progress: Callable[[Progress], None]
    ) -> list[dict[str, float]] | None:
        """Each run's figures of the training pictures with the weights at the epoch's end; None if it was abandoned
        half way."""
        data_set, report = self.dataset, self._seen(epoch, on_progress)
        asked, many = time.perf_counter(), len(data_set.test_labels)

        def seen(pictures: int) -> None:
            nonlocal asked
            report(many + pictures)
            if (now := time.perf_counter()) - asked > REPORT_SECONDS:
                asked = now
                if abandoned():
                    raise _AbandonedError

        try:
            if abandoned():
                return None
            found = self.evaluate(data_set.train_images, data_set.train_labels, seen)
        except _AbandonedError:
            return None
        # Of epoch 0 the mean over the epoch as it trains is the same, as nothing is trained.
        names = ("train_{}_exact", *(() if epoch else ("train_{}",)))
        return [{name.format(what): each[what] for name in names for what in ("loss", "accuracy")} for each in found]

    def _seen(self, epoch: int, on_progress: Callable[[Progress], None]) -> Callable[[int], None]:
        """Reports, several times a second, how much of an evaluation is done: a large network's takes minutes."""
        reported, every = time.perf_counter(), len(self.dataset.test_labels) + len(self.dataset.train_labels)

        def seen(pictures: int) -> None:
            nonlocal reported
            if (now := time.perf_counter()) - reported > REPORT_SECONDS:
                reported = now
                on_progress(self._progress("evaluating", epoch, 1.0 if epoch else pictures / every))

        return seen

    def _probe(self) -> list[dict[str, float]]:
        """The gradient norms of the untrained network, over the first batches of epoch 1; nothing is changed."""
        stack, size = self.stack, self.config.batch_size
        order = self._order(1)[: PROBE_STEPS * size]
        batches = order.to(self.stack.device).split(size)
        stack.begin_epoch(0, len(order))
        for rows in batches:
            stack.probe(self.dataset.train_images, self.dataset.train_labels, rows)
        found = stack.epoch_figures(len(order), len(batches))  # "train_…" of these batches stands for no epoch
        return [{name: run[name] for name in run if not name.startswith("train_")} for run in found]

    def _train(
        self, epoch: int, abandoned: Callable[[], bool], on_progress: Callable[[Progress], None]
    ) -> list[dict[str, float]] | None:
        size = self.config.batch_size
        order = self._order(epoch).to(self.stack.device)
        on_progress(self._progress("compiling" if self.is_cold else "training", epoch, 0.0))
        self.stack.begin_epoch(epoch, len(order))
        reported = began = time.perf_counter()
        done = uncounted = 0  # pictures
        for rows in order.split(STEPS_AT_ONCE * size):
            self.train_on(rows)
            done += len(rows)
            now = time.perf_counter()
            if self.is_cold:  # the first of these steps took as long as the compiler
                self.compile_seconds = now - began
                self.is_cold, reported, began, uncounted = False, now, now, done
            if now - reported > REPORT_SECONDS:
                reported = now
                if abandoned():
                    return None
                self.rate = (done - uncounted) / (now - began)
                on_progress(self._progress("training", epoch, done / len(order)))
        if self.kernel is not None:
            self.kernel.write_back()
        figures = self.stack.epoch_figures(len(order), -(-len(order) // size))
        self.rate = (len(order) - uncounted) / max(time.perf_counter() - began, 1e-9)
        return figures

    def trial(self, order: Tensor, judged: int) -> ways.Trial:
        """Train on those pictures as an epoch does, and evaluate so many."""
        stack, size, data_set = self.stack, self.config.batch_size, self.dataset
        # On one core the time that this process gets is measured, whatever else runs here.
        clock = time.process_time if stack.device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        is_many = stack.device == "cuda" or self.graph is not None
        at_once = (STEPS_AT_ONCE if is_many else max(1, len(order) // size // 3)) * size
        before = [each.clone() for each in stack.networks()]
        stack.begin_epoch(1, len(order))
        seconds = []
        for rows in order.to(stack.device).split(at_once):
            began = clock()
            self.train_on(rows)
            stack.totals.sum().item()  # the device is done
            seconds += [(clock() - began) * size / at_once] if len(rows) == at_once else []
        if self.kernel is not None:
            self.kernel.write_back()
        figures = stack.epoch_figures(len(order), -(-len(order) // size))
        for run, tested in zip(
            figures, self.evaluate(data_set.test_images[:judged], data_set.test_labels[:judged]), strict=True
        ):
            run |= tested
        self.is_cold = False
        weights = [each.clone() for each in stack.networks()]
        learned = [now - then for now, then in zip(weights, before, strict=True)]
        slots = [each.clone() for each in stack.remembered().values()]
        return ways.Trial(weights, learned, slots, figures, min(seconds[1:] or seconds))

    def _order(self, epoch: int) -> Tensor:
        if self.config.mistake == "no-shuffle":
            return data.sorted_order(self.dataset.train_labels)
        return data.batch_order(self.config.seed, epoch, len(self.dataset.train_labels))

    def train_on(self, order: Tensor) -> None:
        """STEPS_AT_ONCE steps, or fewer at an epoch's end."""
        images, labels, size = self.dataset.train_images, self.dataset.train_labels, self.config.batch_size
        if self.kernel is not None:
            self.kernel.walk(images, labels, order)
        elif self.graph is not None and len(order) == STEPS_AT_ONCE * size:
            self.graph.walk(order)
        else:
            for rows in order.split(size):
                step = self.step if len(rows) == size else self.stack.step
                step(images, labels, rows)


def _as_before(method: str, configs: Sequence[RunConfig], device: str) -> str:
    """The method if this machine can run steps so, else ""."""
    if any(config.trains_alone for config in configs):
        return method if method in ways.possible(configs, device) else ""
    can = {
        "eager": True,
        "autograd": len(configs) == 1,
        "autograd graph": False,  # it is compared with autograd's plain steps, which are those of others
        "kernel": device == "cpu" and lenet.fits(configs),
        "compiled": device != "cpu" or ways.has_compiler(),
    }
    return method if method in METHODS and can.get(method, device == "cuda") else ""
