"""Experiments that are launched with one click: a first try, the parts of the reference study, remedies, mistakes."""

from dataclasses import dataclass
from typing import Any

from cnnviz.config import RunConfig, grid


@dataclass(frozen=True)
class Preset:
    """Runs that are launched together with one click."""

    title: str
    shows: str  # what to look for once it is trained
    choices: dict[str, list[Any]]
    group: str = ""  # presets that are offered together, under this title
    remedies: bool = False  # of what varies, first nothing, then each alone, then all together: no grid

    def configs(self, **overrides: Any) -> list[RunConfig]:
        return self.of({**self.choices, **{name: [value] for name, value in overrides.items()}})

    def of(self, choices: dict[str, list[Any]]) -> list[RunConfig]:
        """Its runs with these choices instead of its own. Raises ConfigError."""
        if not self.remedies:
            return grid(None, **choices)
        first = {name: values[:1] for name, values in choices.items()}
        last = {name: values[-1:] for name, values in choices.items() if len(values) > 1}
        changes = [{}, *({name: value} for name, value in last.items()), last]
        return [config for change in changes for config in grid(None, **{**first, **change})]


BROKEN = "Broken on purpose"
_SMALL: dict[str, list[Any]] = {  # learns within a minute, and is right but for what is made wrong in it
    "model": ["lenet5x5"],
    "activation": ["relu"],
    "lr": [0.01],
    "momentum": [0.9],
    "batch_size": [32],
    "limit_train": [5000],
    "epochs": [20],
}

PRESETS = {
    "try": Preset(
        "Try it · three learning rates",
        "Three networks that learn to distinguish drawn shapes, in half a minute: the higher the rate, the sooner.",
        {
            "model": ["lenet5x5"],
            "activation": ["tanh"],
            "loss": ["cross_entropy"],
            "lr": [0.1, 0.05, 0.02],
            "dataset": ["synthetic"],
            "limit_train": [4000],
            "epochs": [6],
        },
    ),
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
    "cure": Preset(
        "Cure the overfitting",
        "One network without remedies, with dropout, augmentation, weight decay or early stopping, and with all: which "
        "closes the gap between train and test. Best epochs are chosen by pictures held out.",
        {
            "model": ["lenet5x5"],
            "activation": ["relu"],
            "lr": [0.01],
            "momentum": [0.9],
            "batch_size": [32],
            "dropout": [0.0, 0.5],
            "augment": ["none", "flip+shift"],
            "weight_decay": [0.0, 0.001],
            "limit_train": [5000],
            "validation": [5000],
            "patience": [0, 5],
            "epochs": [40],
        },
        remedies=True,
    ),
    "norm": Preset(
        "Does batch norm help sigmoid?",
        "Sigmoid networks that stall in 1a, with and without batch norm, at three learning rates.",
        {
            "model": ["lenet5x5"],
            "activation": ["sigmoid"],
            "lr": [0.1, 0.01, 0.001],
            "batch_norm": ["off", "on"],
            "limit_train": [10_000],
            "epochs": [10],
        },
    ),
    "deeper": Preset(
        "Deeper trains worse, until residuals",
        "Eight and fourteen layers, with and without shortcuts around every two: the plain ones learn less the deeper "
        "they are, the residual ones do not (He et al. 2016).",
        {
            "model": ["plain-8", "plain-14", "residual-8", "residual-14"],
            "activation": ["relu"],
            "lr": [0.05],
            "momentum": [0.9],
            "batch_size": [50],
            "init": ["xavier"],
            "limit_train": [5000],
            "epochs": [15],
        },
    ),
    "softmax-twice": Preset(
        "Softmax twice",
        "A softmax before cross-entropy, which has one in it: the loss cannot fall below 1.46, gradients are small, "
        "and it learns more slowly than its right twin.",
        _SMALL | {"mistake": ["none", "softmax-twice"]},
        BROKEN,
    ),
    "no-zero-grad": Preset(
        "Gradients never zeroed",
        "optimizer.zero_grad() is missing, so that each step repeats all steps before it: the loss rises and falls, or "
        "diverges.",
        _SMALL | {"momentum": [0.0], "mistake": ["none", "no-zero-grad"]},
        BROKEN,
    ),
    "no-shuffle": Preset(
        "Pictures sorted by class",
        "All of one class, then all of the next, never shuffled: it learns one class, forgets it for the next, and "
        "says one class for everything at the end of an epoch.",
        _SMALL | {"mistake": ["none", "no-shuffle"]},
        BROKEN,
    ),
    "no-eval": Preset(
        "Tested in training mode",
        "model.eval() is missing, so that dropout switches units off in tests, too: the same network tests worse than "
        "it is. Feature maps and Mistakes, in evaluation mode, show what it can do.",
        _SMALL | {"batch_norm": ["on"], "dropout": [0.5], "mistake": ["none", "no-eval"]},
        BROKEN,
    ),
    "random-labels": Preset(
        "Labels shuffled",
        "The same pictures with their labels shuffled: the train loss falls all the same, by heart, and the test "
        "accuracy stays that of guessing (Zhang et al. 2017).",
        _SMALL | {"limit_train": [2000], "epochs": [60], "mistake": ["none", "random-labels"]},
        BROKEN,
    ),
    "raw-pixels": Preset(
        "Pixels from 0 to 255",
        "The pictures are not normalised: inputs a hundred times too large, and steps that were right are far too "
        "long.",
        _SMALL | {"normalise": ["unit", "raw"]},
        BROKEN,
    ),
    "zero-weights": Preset(
        "Every weight zero",
        "Units that begin alike get the same gradient and stay alike, or get none: it does not leave chance level.",
        _SMALL | {"init": ["default", "zero"]},
        BROKEN,
    ),
    "batch-sizes": Preset(
        "One learning rate for all batch sizes",
        "Batches of 1 to 512 at the same rate: small ones take many noisy steps, large ones too few to get anywhere.",
        _SMALL | {"momentum": [0.0], "batch_size": [1, 8, 64, 512]},
        BROKEN,
    ),
}
