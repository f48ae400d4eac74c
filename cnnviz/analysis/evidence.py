"""What findings are made of: a run's lines, the quantities that several findings use, and how figures are worded.

A recorded train figure is the mean over its epoch *while it trains*, about half an epoch behind the test figure of the
same epoch: the two are never subtracted. Their trends are compared, and levels only if train_*_exact is recorded.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnnviz.analysis import trends
from cnnviz.architectures import CLASSES, architecture
from cnnviz.config import RunConfig

TEST_PICTURES = 10_000  # of CIFAR-10, and of the synthetic set
CHANCE = 1 / CLASSES
CHANCE_NOISE = math.sqrt(CHANCE * (1 - CHANCE) / TEST_PICTURES)  # 0.3 points: binomial, of guessing
CHANCE_LOSS = {  # of a network that gives every class the same probability: the best without looking at the picture
    "cross_entropy": math.log(CLASSES),
    "mse": CHANCE * (1 - CHANCE),
}
SIGMAS = 3.0  # times its noise that a deviation must exceed to count: by chance once in several hundred
ENOUGH = 3  # epochs, the fewest whose median passes over a spike

LARGE_UPDATE = 0.01  # of a layer's weights per step: ten times the usual 0.001
STALLED = 0.02  # of the train loss: a loss that fell by less over the last third has stalled
STALLED_FROM = 6  # epochs: ENOUGH to fall in, and ENOUGH after them
FITTED = 0.95  # train accuracy: a loss that stalls above it has converged
BOUNCE = 0.05  # of the train loss, a rise within an epoch: a mean over the whole training set has less noise
BOUNCES = 0.2  # share of epochs with such a rise, and at least ENOUGH of them: one or two spikes do not count
VANISHED = 100.0  # times smaller at the first layer than at the last: the last learns while the first stands still

PER_LAYER = ("grad_norm", "update_ratio", "saturation")
OTHER_ACTIVATION = {"sigmoid": "tanh", "tanh": "relu"}  # one with a steeper slope, or that does not saturate


@dataclass(frozen=True)
class Trial:
    """The one change that would test a finding: `changes` make a new run, `epochs` continue the same one."""

    label: str  # for a button: "Try lr 0.001"
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of RunConfig → value
    epochs: int = 0  # more epochs of the same run; 0: a new run from the start

    def config(self, base: RunConfig) -> RunConfig:
        """The new run to train."""
        return replace(base, **self.changes)


@dataclass(frozen=True)
class Finding:
    """One thing that the curves show."""

    kind: str  # one of findings.KINDS
    severity: Literal["alarm", "note"]
    title: str  # "Overfitting since epoch 12"
    sentence: str  # in plain words, with figures, epochs and thresholds
    refutes: str  # what would show it to be wrong
    epoch: int | None = None  # to be marked on the chart; None: no epoch in particular
    evidence: Mapping[str, float] = field(default_factory=dict)  # figure → value
    test: Trial | None = None


class RunLines:
    """A run's lines by metric, and the quantities that several findings use.

    history: columns metric, epoch and value of one run; of an epoch recorded twice the later row counts.
    """

    def __init__(self, config: RunConfig, history: pd.DataFrame) -> None:
        self.config = config
        self.layers = [layer.name for layer in architecture(config.model).weight_layers]
        self.guessing_loss = CHANCE_LOSS[config.loss]
        latest = history.drop_duplicates(["metric", "epoch"], keep="last").sort_values("epoch")
        epochs, values = latest.epoch.to_numpy(dtype=int), latest.value.to_numpy(dtype=float)
        self._recorded = {
            name: pd.Series(values[rows], index=epochs[rows]) for name, rows in latest.groupby("metric").indices.items()
        }
        self._finite: dict[str, pd.Series] = {}

    def recorded(self, metric: str) -> pd.Series:
        """All values by epoch, with epoch 0 and those that are not finite."""
        return self._recorded.get(metric, pd.Series(dtype=float))

    def line(self, metric: str) -> pd.Series:
        """The finite values by epoch, from epoch 1 on."""
        if metric not in self._finite:
            line = finite(self.recorded(metric))
            self._finite[metric] = line[line.index > 0]
        return self._finite[metric]

    def levels(self, kind: str) -> dict[str, float]:
        """Layer → the current level of its figure, in order; layers without one left out."""
        lines = {layer: self.line(f"{kind}/{layer}") for layer in self.layers}
        return {layer: trends.level(line) for layer, line in lines.items() if len(line)}

    @cached_property
    def updates(self) -> dict[str, float]:
        """Layer → its median change per step, as a share of its weights, over the second half of the run."""
        lines = {layer: self.line(f"update_ratio/{layer}") for layer in self.layers}
        return {
            layer: float(np.median(line.to_numpy()[len(line) // 2 :])) for layer, line in lines.items() if len(line)
        }

    @property
    def largest_update(self) -> tuple[str, float]:
        """The layer that changes most per step, and by what share of its weights; ("", 0): not recorded."""
        updates = self.updates
        return max(updates.items(), key=lambda each: each[1]) if updates else ("", 0.0)

    @cached_property
    def fold(self) -> float:
        """The gradient's norm at the last layer over that at the first; 0: not recorded."""
        norms = list(self.levels("grad_norm").values())
        return norms[-1] / norms[0] if len(norms) > 1 and norms[0] > 0 else 0.0

    @cached_property
    def guessing(self) -> pd.Series:
        """By epoch, whether the test accuracy is within the noise of guessing."""
        return trends.smooth(self.line("test_accuracy"), trends.WINDOW) <= CHANCE + SIGMAS * CHANCE_NOISE

    @cached_property
    def at_chance(self) -> bool:
        """Whether it still guesses: in most of the last epochs, and in the last."""
        line = self.line("test_accuracy")
        return len(line) > 0 and max(trends.level(line), line.iloc[-1]) <= CHANCE + SIGMAS * CHANCE_NOISE

    @cached_property
    def descent(self) -> float:
        """How far the test loss is below the loss of guessing; 0 or less: it learned nothing."""
        line = self.line("test_loss")
        return self.guessing_loss - trends.level(line) if len(line) else 0.0

    @property
    def rises(self) -> pd.Series:
        """By epoch, whether the train loss rose by more than BOUNCE."""
        return self.line("train_loss").pct_change(fill_method=None).iloc[1:] > BOUNCE

    @property
    def bouncing(self) -> bool:
        """Whether the train loss rises so in too many epochs to be noise."""
        rises = self.rises
        return int(rises.sum()) >= max(ENOUGH, BOUNCES * len(rises))

    @cached_property
    def overstepping(self) -> bool:
        """Whether the train loss has stalled without having fitted the pictures, while the steps are large."""
        line, accuracy = self.line("train_loss"), self.line("train_accuracy")
        if len(line) < STALLED_FROM or (len(accuracy) and trends.level(accuracy) > FITTED):
            return False
        return self.largest_update[1] >= LARGE_UPDATE and -trends.moved(line) < STALLED * trends.level(line)

    def try_rate(self, factor: float) -> Trial | None:
        """The same run at its learning rate times the factor; None outside of 1e-7 to 1."""
        lr = float(f"{self.config.lr * factor:.6g}")
        return Trial(f"Try lr {lr:g}", {"lr": lr}) if 1e-7 <= lr <= 1 else None

    def try_activation(self) -> Trial | None:
        """The same run with an activation whose gradient vanishes less; None if there is none."""
        other = OTHER_ACTIVATION.get(self.config.activation)
        return Trial(f"Try {other}", {"activation": other}) if other else None


def try_more(line: pd.Series) -> Trial:
    """As many epochs again, enough to show a trend."""
    epochs = int(line.index[-1])
    return Trial(f"Train {epochs} more epochs" if epochs > 1 else "Train 1 more epoch", epochs=epochs)


def finite(line: pd.Series) -> pd.Series:
    """The line without values that are not finite."""
    good = np.isfinite(line.to_numpy())
    return line if good.all() else line[good]


def first_epoch(condition: pd.Series) -> int:
    """The first epoch at which the condition, a truth value by epoch, holds. It must hold at one."""
    return int(condition.index[condition.to_numpy(dtype=bool).argmax()])


def holds_since(condition: pd.Series) -> int:
    """The epoch from which the condition, a truth value by epoch, holds up to the last, at which it must hold."""
    broken = condition.index[~condition.to_numpy(dtype=bool)]
    return int(condition.index[0] if broken.empty else condition.index[condition.index > broken[-1]].min())


def figure(value: float) -> str:
    return f"{value:.3g}"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def accuracy(share: float) -> str:
    return f"{100 * share:.1f} %"


def of_weights(share: float) -> str:
    """A step's share of a layer's weights: as a percentage, or as a power of ten if it is too small for one."""
    return f"{100 * share:.2g} %" if share >= 1e-4 else f"{share:.1e}".replace("e-0", "e-")
