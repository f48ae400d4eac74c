"""What one run trains: a frozen value, the grids built from it and the reference study's presets."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from cnnviz.architectures import ACTIVATIONS, POOLINGS, architecture
from cnnviz.errors import ConfigError

LOSSES = ("cross_entropy", "mse")
OPTIMIZERS = ("sgd", "adam")
DATASETS = ("cifar10", "synthetic")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class RunConfig:
    """One training run. Raises ConfigError, naming the field and the remedy, for what cannot be trained."""

    model: str = "lenet5x5"  # a name in models.ARCHITECTURES, or layers spelled out: "c6k5-s2-c16k5-s2-f120-f84"
    activation: str = "tanh"  # after every convolution and hidden fully connected layer
    pooling: str = ""  # max or avg; empty: the architecture's own
    loss: str = "cross_entropy"  # on logits; mse is against one-hot targets
    optimizer: str = "sgd"
    lr: float = 0.01  # learning rate, constant
    momentum: float = 0.0  # SGD's; Adam ignores it
    weight_decay: float = 0.0  # L2, added to the gradient as torch.optim does
    batch_size: int = 10  # images a step
    seed: int = 0  # of the initial weights and, with the epoch, of the order of the batches
    dataset: str = "cifar10"
    epochs: int = 20  # target; may be raised later, so it is a tag and not a param
    limit_train: int = 0  # train on the first N images only; 0: on all 50,000

    def __post_init__(self) -> None:
        arch = architecture(self.model)
        if not self.pooling:
            object.__setattr__(self, "pooling", arch.pooling)
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("pooling", self.pooling, POOLINGS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("dataset", self.dataset, DATASETS)
        _between("lr", self.lr, 0.0, 1000.0, low_open=True)
        _between("momentum", self.momentum, 0.0, 1.0, high_open=True)
        _between("weight_decay", self.weight_decay, 0.0, 10.0)
        _between("batch_size", self.batch_size, 1, 10_000)
        _between("seed", self.seed, 0, 2**31 - 1)
        _between("epochs", self.epochs, 1, 10_000)
        _between("limit_train", self.limit_train, 0, 50_000)
        if self.limit_train and self.batch_size > self.limit_train:
            raise ConfigError(
                f"batch size {self.batch_size} is larger than the {self.limit_train} training images: "
                "choose a smaller batch or more images"
            )

    @property
    def train_size(self) -> int:
        """Images in one epoch."""
        return self.limit_train or 50_000

    @property
    def steps_per_epoch(self) -> int:
        """Updates in one epoch; the last batch may be smaller."""
        return math.ceil(self.train_size / self.batch_size)

    @property
    def name(self) -> str:
        """What the run is called in tables and in MLflow: "lenet5x5 tanh cross_entropy lr 0.01"."""
        parts = [self.model, self.activation, self.loss, f"lr {self.lr:g}"]
        parts += [
            text
            for text, chosen in (
                (f"{self.pooling} pooling", self.pooling != architecture(self.model).pooling),
                (self.optimizer, self.optimizer != "sgd"),
                (f"momentum {self.momentum:g}", self.momentum),
                (f"decay {self.weight_decay:g}", self.weight_decay),
                (f"batch {self.batch_size}", self.batch_size != 10),
                (f"seed {self.seed}", self.seed),
                (f"{self.limit_train} images", self.limit_train),
                ("synthetic", self.dataset == "synthetic"),
            )
            if chosen
        ]
        return " ".join(parts)


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is not known: choose one of {', '.join(choices)}")


def _between(name: str, value: float, low: float, high: float, low_open: bool = False, high_open: bool = False) -> None:
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if not (above and below):  # written so that NaN fails too
        signs = f"{'more than' if low_open else 'at least'} {low:g} and {'less than' if high_open else 'at most'}"
        raise ConfigError(f"{name} {value:g} is out of range: it must be {signs} {high:g}")


def grid(base: RunConfig | None = None, **choices: Iterable[Any]) -> list[RunConfig]:
    """Every combination of the given choices, the last varying fastest.

    >>> len(grid(lr=[0.1, 0.01, 0.001], activation=["sigmoid", "tanh"]))
    6
    """
    known = {field.name for field in fields(RunConfig)}
    for name in choices:
        _one_of("setting", name, sorted(known))
    base = base or RunConfig()
    if "model" in choices and "pooling" not in choices:
        choices["pooling"] = [""]  # each architecture's own, not the base's
    names = list(choices)
    return [replace(base, **dict(zip(names, values, strict=True))) for values in itertools.product(*choices.values())]


@dataclass(frozen=True)
class Preset:
    """A part of the reference study, launched with one click."""

    title: str
    shows: str  # what to look for once it is trained
    choices: dict[str, list[Any]]

    def configs(self, **overrides: Any) -> list[RunConfig]:
        return grid(None, **{**self.choices, **{name: [value] for name, value in overrides.items()}})


PRESETS = {
    "1a": Preset(
        "1a · LeNet 5×5, the grid of 12",
        "Which learning rate, activation and loss let a LeNet learn, and which stall or overshoot.",
        {
            "model": ["lenet5x5"],
            "activation": ["sigmoid", "tanh"],
            "loss": ["mse", "cross_entropy"],
            "lr": [0.1, 0.01, 0.001],
            "epochs": [20],
        },
    ),
    "2a": Preset(
        "2a · LeNet 3×3, ReLU",
        "What smaller kernels and ReLU change against 1a.",
        {
            "model": ["lenet3x3"],
            "activation": ["relu"],
            "loss": ["cross_entropy"],
            "lr": [0.001],
            "epochs": [20],
        },
    ),
    "3a": Preset(
        "3a · Five 3×3 convolutions",
        "Depth without down-sampling: 8.5 million parameters, and how long they take.",
        {
            "model": ["conv5"],
            "activation": ["relu"],
            "loss": ["cross_entropy"],
            "lr": [0.001],
            "epochs": [20],
        },
    ),
}
