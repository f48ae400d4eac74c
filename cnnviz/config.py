"""What one run trains: a frozen value, and the grids built from it.

A hyperparameter is written once, as a field of RunConfig. Its type, default and Setting decide what the command line,
the launch form, a fork, MLflow's params, a run's name and the comparison table make of it.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from cnnviz.architectures import (
    ACTIVATIONS,
    ARCHITECTURES,
    DROPOUT_AT,
    INITS,
    POOLINGS,
    Architecture,
    architecture,
    normalised,
)
from cnnviz.errors import ConfigError

LOSSES = ("cross_entropy", "mse")
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "rmsprop")
STACKED_OPTIMIZERS = ("sgd", "adam")  # which networks that are trained as one stack have
SCHEDULES = ("constant", "step", "cosine", "one-cycle")
NORMALISATIONS = ("unit", "standard", "raw")
AUGMENTATIONS = ("none", "flip", "shift", "flip+shift", "cutout", "flip+shift+cutout")
SWITCH = ("off", "on")
# Made on purpose, to see what they do. What each is stands in the help of the setting.
MISTAKES = ("none", "softmax-twice", "no-zero-grad", "no-shuffle", "no-eval", "random-labels")
DATASETS = ("cifar10", "synthetic")
TRAINING_IMAGES = 50_000  # of either data set
FEWEST_VALIDATION = 100
EVALUATION_BATCH = 250  # pictures that autograd's networks are tested on at a time, on a CPU
DEVICES = ("auto", "cpu", "cuda", "mps", "cluster")


@dataclass(frozen=True)
class Setting:
    """What is known of a field of RunConfig beyond its type and default."""

    title: str  # in forms: "Learning rate"
    help: str  # one line, for the command line and the forms
    choices: tuple[str, ...] = ()  # of text: nothing else is valid
    low: float = 0.0  # of numbers: bounds, inclusive unless open
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    offered: Literal["always", "folded", "own", "own folded"] = (
        "own folded"  # with every preset, or to a grid of one's own
    )
    suggestions: tuple[Any, ...] = ()  # values to pick several of; others may be typed
    step: float | None = None  # of a number's + and -
    zero: str = ""  # what 0 means, in forms: "all"
    forkable: bool = True  # a fork of a run may change it
    shared: bool = True  # networks trained as one stack must agree in it
    alone: bool = False  # other values than the default are for networks that are trained on their own, by autograd
    always_recorded: bool = False  # as an MLflow param; else only if it is not the default
    plain: bool = False  # its value speaks for itself: "tanh", not "activation tanh"
    named: str = ""  # in a run's name: "batch {}"; by default the title and the value
    heading: str = ""  # above a column; by default as in a run's name
    abbreviation: str = ""  # of the command line's placeholder


def setting(default: Any, title: str, text: str, **more: Any) -> Any:
    """A field of RunConfig with its Setting."""
    more.setdefault("named", "{}" if more.get("plain") else f"{title.lower()} {{}}")
    return field(default=default, metadata={"setting": Setting(title, text, **more)})


@dataclass(frozen=True)
class RunConfig:
    """One training run. Raises ConfigError, naming the field and the remedy, for what cannot be trained."""

    model: str = setting(
        "lenet5x5",
        "Model",
        f"{', '.join(ARCHITECTURES)}, or layers: c6k5-s2-c16k5-s2-f120-f84; t2 is a stride, r16 a residual block, "
        "g global average pooling: c16k3p1-r16-r32t2-g",
        suggestions=tuple(ARCHITECTURES),
        offered="own",
        forkable=False,
        always_recorded=True,
        plain=True,
    )
    activation: str = setting(
        "tanh",
        "Activation",
        "after every convolution and hidden fully connected layer",
        choices=ACTIVATIONS,
        offered="own",
        forkable=False,
        shared=False,
        always_recorded=True,
        plain=True,
    )
    loss: str = setting(
        "cross_entropy",
        "Loss",
        "of the logits; mse is against one-hot targets",
        choices=LOSSES,
        offered="own",
        shared=False,
        always_recorded=True,
        plain=True,
    )
    lr: float = setting(
        0.01,
        "Learning rate",
        "learning rate; a schedule changes it as training goes on",
        high=1000.0,
        low_open=True,
        suggestions=(0.1, 0.01, 0.001),
        offered="own",
        shared=False,
        always_recorded=True,
        named="lr {}",
    )
    pooling: str = setting(  # empty: becomes the architecture's own
        "",
        "Pooling",
        "of every pooling layer; default: the model's own",
        choices=POOLINGS,
        forkable=False,
        always_recorded=True,
        named="{} pooling",
    )
    optimizer: str = setting(
        "sgd",
        "Optimizer",
        "how a gradient becomes a step; nesterov is SGD with Nesterov's momentum",
        choices=OPTIMIZERS,
        always_recorded=True,
        plain=True,
    )
    momentum: float = setting(
        0.0,
        "Momentum",
        "of sgd, nesterov and rmsprop; adam and adamw ignore it",
        high=1.0,
        high_open=True,
        step=0.1,
        shared=False,
        always_recorded=True,
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay (L2)",
        "L2 penalty: decay times the weights is added to the gradient, as torch.optim does; adam and rmsprop rescale "
        "it with the gradient, adamw shrinks the weights by itself (Loshchilov, Hutter 2019)",
        high=10.0,
        step=0.0001,
        shared=False,
        named="decay {}",
    )
    batch_size: int = setting(
        10,
        "Batch size",
        "images per step",
        low=1,
        high=10_000,
        offered="always",
        suggestions=(10, 32, 128),
        always_recorded=True,
        named="batch {}",
    )
    batch_norm: str = setting(
        "off",
        "Batch norm",
        "after every convolution and hidden fully connected layer, before the activation (Ioffe, Szegedy 2015)",
        choices=SWITCH,
        forkable=False,
        alone=True,
        named="batch norm",
    )
    dropout: float = setting(
        0.0,
        "Dropout",
        "share of the units that each training step switches off (Srivastava et al. 2014)",
        high=1.0,
        high_open=True,
        step=0.1,
        alone=True,
    )
    dropout_at: str = setting(
        "hidden",
        "Dropout after",
        "which layers: hidden means fully connected ones; maps, convolutions and their pooling",
        choices=DROPOUT_AT,
        alone=True,
        named="after {}",
    )
    augment: str = setting(
        "none",
        "Augmentation",
        "of each training picture, anew in each epoch: mirrored, moved by up to 4 pixels, a square of 16×16 covered",
        choices=AUGMENTATIONS,
        alone=True,
        named="{}",
        heading="augment",
    )
    normalise: str = setting(
        "unit",
        "Pixels",
        "as the network is shown them: unit is from -1 to 1; standard, less the mean and over the deviation of each "
        "colour in the training pictures; raw, 0 to 255",
        choices=NORMALISATIONS,
        forkable=False,
        alone=True,
        named="{} pixels",
    )
    label_smoothing: float = setting(
        0.0,
        "Label smoothing",
        "share of the target that all classes have in common (Szegedy et al. 2016); recorded losses are without it",
        high=1.0,
        high_open=True,
        step=0.1,
        alone=True,
        named="smoothing {}",
    )
    schedule: str = setting(
        "constant",
        "Schedule",
        "of the learning rate: step divides it by 10 after a half and three quarters; cosine lowers it to 0; one-cycle "
        "raises it for three tenths, then lowers it",
        choices=SCHEDULES,
        alone=True,
        named="{}",
    )
    warmup: int = setting(
        0,
        "Warm-up",
        "epochs in which the learning rate rises from 0 (Goyal et al. 2017)",
        high=1000,
        step=1,
        alone=True,
    )
    schedule_epochs: int = setting(  # empty: becomes the run's epochs; more may be trained later, at its last rate
        0,
        "Schedule's epochs",
        "how long the schedule is; 0: as long as the run when it is launched",
        high=10_000,
        step=1,
        alone=True,
        named="over {} epochs",
        heading="over",
    )
    init: str = setting(
        "default",
        "Initial weights",
        "by their author's name; default is PyTorch's, small and large are 0.1 and 3 times he, zero makes all alike",
        choices=INITS,
        forkable=False,
        shared=False,
        named="init {}",
    )
    mistake: str = setting(
        "none",
        "Mistake",
        "made on purpose: softmax before cross-entropy, gradients never zeroed, pictures sorted by class, tested in "
        "training mode, labels of the training pictures shuffled (Zhang et al. 2017)",
        choices=MISTAKES,
        alone=True,
        named="{}",
        heading="mistake",
    )
    seed: int = setting(
        0,
        "Seed",
        "of the initial weights and, with the epoch, of the order of the batches",
        high=2**31 - 1,
        suggestions=(0, 1, 2, 3, 4),
        offered="own",
        always_recorded=True,
    )
    limit_train: int = setting(
        0,
        "Training images",
        "train on the first N images only; 0: on all that are not held out",
        high=50_000,
        suggestions=(1000, 4000, 10_000, 20_000),
        zero="all",
        offered="folded",
        forkable=False,
        named="{} images",
        abbreviation="N",
    )
    validation: int = setting(
        0,
        "Validation images",
        "the last N training images are held out: best epochs, and when to stop, are chosen by these and not by the "
        "test images",
        high=40_000,
        step=1000,
        suggestions=(1000, 5000, 10_000),
        zero="none",
        forkable=False,
        named="{} held out",
        abbreviation="N",
    )
    patience: int = setting(
        0,
        "Patience",
        "epochs without a lower validation loss after which training stops; 0: it never does",
        high=10_000,
        step=1,
        shared=False,
    )
    dataset: str = setting(
        "cifar10",
        "Data set",
        "what is learned",
        choices=DATASETS,
        offered="always",
        forkable=False,
        always_recorded=True,
        plain=True,
    )
    epochs: int = setting(  # the target; may be raised later, so it is a tag and not a param
        20,
        "Epochs",
        "passes over the training images",
        low=1,
        high=10_000,
        offered="always",
        forkable=False,
        shared=False,
    )

    def __post_init__(self) -> None:
        arch = architecture(self.model)
        if not self.pooling:
            object.__setattr__(self, "pooling", arch.pooling)
        for name, its in SETTINGS.items():
            value = getattr(self, name)
            if its.choices:
                _one_of(name, value, its.choices)
            elif isinstance(value, int | float):
                _between(name, value, its)
        self._settle()
        self._hold_out()
        if self.batch_size > self.train_size:
            raise ConfigError(
                f"batch size {self.batch_size} is larger than the {self.train_size} training images: "
                "choose a smaller batch or more images"
            )

    def _hold_out(self) -> None:
        """Whether the validation images are enough, and leave the training images theirs."""
        if 0 < self.validation < FEWEST_VALIDATION:
            raise ConfigError(
                f"{self.validation} validation images say little: hold out at least {FEWEST_VALIDATION}, or 0 for none"
            )
        if self.limit_train + self.validation > TRAINING_IMAGES:
            raise ConfigError(
                f"{self.limit_train:,} training and {self.validation:,} validation images are more than the "
                f"{TRAINING_IMAGES:,} there are: choose fewer of either"
            )
        if self.patience and not self.validation:
            raise ConfigError(
                "patience waits for a lower validation loss: hold out validation images, such as 5000, too"
            )

    def _settle(self) -> None:
        """What depends on several fields: one spelling of each configuration, and nothing in it without effect."""
        if not self.dropout:
            object.__setattr__(self, "dropout_at", DEFAULTS["dropout_at"])
        elif self.dropout_at == "hidden" and not architecture(self.model).hidden:
            raise ConfigError(
                f"dropout after hidden layers does nothing: {self.model} has none; choose dropout after maps"
            )
        if self.has_constant_rate:
            object.__setattr__(self, "schedule_epochs", 0)
        elif not self.schedule_epochs:
            object.__setattr__(self, "schedule_epochs", self.epochs)
        if self.schedule == "one-cycle" and self.warmup:
            raise ConfigError("one-cycle has a warm-up of its own: leave the warm-up at 0, or choose another schedule")
        if self.warmup and self.warmup >= self.schedule_epochs:
            raise ConfigError(
                f"a warm-up of {self.warmup} epochs leaves none of {self.schedule_epochs}: choose a shorter one"
            )
        if self.batch_norm == "on" and self.train_size % self.batch_size == 1 % self.batch_size:
            raise ConfigError(
                "batch norm needs two pictures in every batch, and the last one has a single one: choose another "
                "batch size or number of training images"
            )
        if self.optimizer == "nesterov" and not self.momentum:
            raise ConfigError("nesterov is a kind of momentum: choose a momentum, such as 0.9")
        if self.mistake == "softmax-twice" and self.loss != "cross_entropy":
            raise ConfigError(
                "softmax is a mistake before cross-entropy only, which has one of its own: choose that loss"
            )
        if self.mistake == "no-eval" and self.batch_norm == "off" and not self.dropout:
            raise ConfigError(
                "a test in training mode is no mistake without batch norm and dropout: choose one of them, too"
            )
        if (
            self.mistake == "no-eval"
            and self.batch_norm == "on"
            and 1 in (self.train_size % EVALUATION_BATCH, self.validation % EVALUATION_BATCH)
        ):
            raise ConfigError(
                "batch norm in training mode cannot be tested on a single picture, the last of every "
                f"{EVALUATION_BATCH}: choose another number of training or validation images"
            )

    @property
    def architecture(self) -> Architecture:
        """Its model's, with batch norm if it has that."""
        arch = architecture(self.model)
        return normalised(arch) if self.batch_norm == "on" else arch

    @property
    def evaluation_changes_it(self) -> bool:
        """Whether it is a mistake of this run that batch norm goes on to average when the network is evaluated."""
        return self.mistake == "no-eval" and self.batch_norm == "on"

    @property
    def trains_alone(self) -> bool:
        """Whether it has what a stack cannot train: it is then a plain PyTorch module, trained by autograd."""
        beyond = any(getattr(self, name) != DEFAULTS[name] for name, its in SETTINGS.items() if its.alone)
        return beyond or self.optimizer not in STACKED_OPTIMIZERS or not architecture(self.model).is_plain

    @property
    def has_constant_rate(self) -> bool:
        """Whether every step has the same learning rate."""
        return self.schedule == "constant" and not self.warmup

    @property
    def has_optimizer_state(self) -> bool:
        """Whether its optimizer, or gradients that pile up, remember more than the weights: it cannot go on without."""
        return self.optimizer != "sgd" or bool(self.momentum) or self.mistake == "no-zero-grad"

    @property
    def train_size(self) -> int:
        """Images in one epoch."""
        return self.limit_train or TRAINING_IMAGES - self.validation

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one epoch; the last batch may be smaller."""
        return math.ceil(self.train_size / self.batch_size)

    @property
    def name(self) -> str:
        """What the run is called in tables and in MLflow: "lenet5x5 tanh cross_entropy lr 0.01"."""
        parts = []
        for name in PARAMETERS:
            value = getattr(self, name)
            if name in ALWAYS_NAMED or value != self.default(name):
                parts.append(SETTINGS[name].named.format(f"{value:g}" if isinstance(value, float) else value))
        return " ".join(parts)

    def default(self, name: str) -> Any:
        """The value of that field if nothing else is chosen: of pooling, the model's own."""
        return architecture(self.model).pooling if name == "pooling" else DEFAULTS[name]


SETTINGS: dict[str, Setting] = {each.name: each.metadata["setting"] for each in fields(RunConfig)}
DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(RunConfig)}
TYPES: dict[str, type] = {each.name: type(each.default) for each in fields(RunConfig)}
ALWAYS_NAMED = ("model", "activation", "loss", "lr")
PARAMETERS = tuple(name for name in SETTINGS if name != "epochs")  # what a run is; epochs are how far it goes


def parse(name: str, text: str) -> Any:
    """A field's value from the command line, a form or the store; RunConfig checks its range.

    Raises ConfigError for what is not of its type.
    """
    try:
        return TYPES[name](text.strip())
    except ValueError:
        wanted = "a whole number such as 3" if TYPES[name] is int else "a number such as 0.01"
        raise ConfigError(f"{SETTINGS[name].title.lower()} {text!r} is not {wanted}: type another") from None


def recorded(config: RunConfig) -> dict[str, str]:
    """The MLflow params of a run."""
    return {
        name: str(getattr(config, name))
        for name in PARAMETERS
        if SETTINGS[name].always_recorded or getattr(config, name) != config.default(name)
    }


def restored(params: dict[str, str], epochs: int) -> RunConfig:
    """Inverse of recorded. Raises ConfigError for params that are not a run's of cnnviz."""
    if missing := [name for name in PARAMETERS if SETTINGS[name].always_recorded and name not in params]:
        raise ConfigError(f"not a run of cnnviz: it has no {missing[0]}")
    return RunConfig(epochs=epochs, **{name: parse(name, params[name]) for name in PARAMETERS if name in params})


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not known: choose one of {', '.join(choices)}")


def _between(name: str, value: float, its: Setting) -> None:
    above = value > its.low if its.low_open else value >= its.low
    below = value < its.high if its.high_open else value <= its.high
    if not (above and below):  # written so that NaN fails too
        lowest = f"{'more than' if its.low_open else 'at least'} {its.low:g}"
        highest = f"{'less than' if its.high_open else 'at most'} {its.high:g}"
        raise ConfigError(f"{name} {value:g} is out of range: it must be {lowest} and {highest}")


def grid(base: RunConfig | None = None, **choices: Iterable[Any]) -> list[RunConfig]:
    """Every combination of the given choices, the last varying fastest.

    >>> len(grid(lr=[0.1, 0.01, 0.001], activation=["sigmoid", "tanh"]))
    6
    """
    for name in choices:
        _one_of("setting", name, sorted(SETTINGS))
    base = base or RunConfig()
    if "model" in choices and "pooling" not in choices:
        choices["pooling"] = [""]  # each architecture's own, not the base's
    names = list(choices)
    return [replace(base, **dict(zip(names, values, strict=True))) for values in itertools.product(*choices.values())]
