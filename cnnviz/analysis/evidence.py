"""What findings are made of: a run's lines, the quantities that several findings use, and how figures are worded.

A recorded train figure is the mean over its epoch *while it trains*, about half an epoch behind the test figure of the
same epoch: the two are never subtracted. Their trends are compared, and levels only if train_*_exact is recorded.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnnviz import wording
from cnnviz.analysis import trends
from cnnviz.architectures import CLASSES, SATURATING
from cnnviz.config import SETTINGS, RunConfig
from cnnviz.errors import ConfigError

TEST_PICTURES = 10_000  # of CIFAR-10, and of the synthetic set
CHANCE = 1 / CLASSES
CHANCE_NOISE = math.sqrt(CHANCE * (1 - CHANCE) / TEST_PICTURES)  # 0.3 points: binomial, of guessing
CHANCE_LOSS = {  # of a network that gives every class the same probability: the best without looking at the picture
    "cross_entropy": math.log(CLASSES),
    "mse": CHANCE * (1 - CHANCE),
}
SIGMAS = 3.0  # times its noise that a deviation must exceed to count: by chance once in several hundred
ABOVE_CHANCE, BELOW_CHANCE = CHANCE + SIGMAS * CHANCE_NOISE, CHANCE - SIGMAS * CHANCE_NOISE
ENOUGH = 3  # epochs, the fewest whose median passes over a spike

LARGE_UPDATE = 0.01  # of a layer's weights per step: ten times the usual 0.001
STALLED = 0.02  # of the train loss: a loss that fell by less over the last third has stalled
STALLED_FROM = 6  # epochs: ENOUGH to fall in, and ENOUGH after them
FITTED = 0.95  # train accuracy: a loss that stalls above it has converged
BOUNCE = 0.12  # of the train loss, a rise within an epoch: noise of 5 % gives one in twenty such, and 5 % is much
BOUNCE_FROM = 0.01  # of the loss of guessing: less is nothing, though it be a multiple of a loss near 0
BOUNCES = 0.2  # share of epochs with such a rise, and at least ENOUGH of them: one or two spikes do not count
SATURATED = 0.5  # of a layer's units where the activation is flat: most of the layer hardly learns
SILENT, DEAD = 0.90, 0.99  # of a ReLU layer's outputs are 0; about half is usual
VANISHED = 100.0  # times smaller at the first layer than at the last: the last learns while the first stands still

PER_LAYER = ("grad_norm", "update_ratio", "saturation")
LOSSES = ("train_loss", "test_loss")
OTHER_ACTIVATION = {"sigmoid": "tanh", "tanh": "relu"}  # one with a steeper slope, or that does not saturate
DROPOUT = 0.5  # which is tried: of hidden units, as Srivastava et al. 2014 have it
WARMUP = 2  # epochs, which are tried
PATIENCE, HELD_OUT = 5, 5_000  # epochs and pictures, which are tried
EARLY = 5_000  # updates, as in an epoch of batches of 10: after fewer, being at chance level means little


@dataclass(frozen=True)
class Trial:
    """The one change that would test a finding: `changes` make a new run, `epochs` continue the same one."""

    label: str  # for a button: "Try lr 0.001"
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of RunConfig → value
    epochs: int = 0  # more epochs of the same run; 0: a new run from the start

    @property
    def what(self) -> str:
        """What is changed, for the sentence that says what the trial would refute: "lr 0.001", "20 more epochs"."""
        return self.label.removeprefix("Try ").removeprefix("Train ")

    def config(self, base: RunConfig) -> RunConfig:
        """The new run to train."""
        return replace(base, **self.changes)


@dataclass(frozen=True)
class Finding:
    """One thing that the curves show."""

    kind: str  # one of findings.KINDS or ANSWER_KINDS
    severity: Literal["alarm", "note"]
    title: str  # "Overfitting since epoch 12"
    sentence: str  # in plain words, with figures, epochs and thresholds
    refutes: str  # what would show it to be wrong; names what `test` changes
    epoch: int | None = None  # to be marked on the chart; None: no epoch in particular
    evidence: Mapping[str, float] = field(default_factory=dict)  # figure → value
    test: Trial | None = None
    more: tuple[Trial, ...] = ()  # other remedies; the first is `test`


_NOTHING = pd.Series(dtype=float)  # made once: that takes longer than to look for what was recorded


class RunLines:
    """A run's lines by metric, and the quantities that several findings use.

    history: columns metric, epoch and value of one run; of an epoch recorded twice the later row counts. Its smallest
    epoch is where the run began: 0, or the epoch at which a fork left its parent, whose figures these are.
    """

    def __init__(self, config: RunConfig, history: pd.DataFrame) -> None:
        self.config = config
        self.layers = [layer.name for layer in config.architecture.weight_layers]
        self.measured = [layer.name for layer in config.architecture.measured_layers]
        self.guessing_loss = CHANCE_LOSS[config.loss]
        metrics, names = pd.factorize(history.metric)
        epochs, values = history.epoch.to_numpy(dtype=int), history.value.to_numpy(dtype=float)
        self.start, self.end = (int(epochs.min()), int(epochs.max())) if len(epochs) else (0, 0)
        order = np.lexsort((epochs, metrics))  # which leaves rows of one epoch in their order
        metrics, epochs, values = metrics[order], epochs[order], values[order]
        is_latest = (np.diff(metrics, append=-1) != 0) | (np.diff(epochs, append=-1) != 0)
        metrics, epochs, values = metrics[is_latest], epochs[is_latest], values[is_latest]
        bounds = np.searchsorted(metrics, range(len(names) + 1))
        self._recorded = {
            name: pd.Series(values[first:end], index=epochs[first:end])
            for name, (first, end) in zip(names, itertools.pairwise(bounds), strict=True)
        }
        self._finite: dict[str, pd.Series] = {}

    @property
    def epochs(self) -> int:
        """Epochs that this run trained."""
        return self.end - self.start

    @property
    def updates(self) -> int:
        """Steps that this run took."""
        return self.epochs * self.config.steps_per_epoch

    def recorded(self, metric: str) -> pd.Series:
        """All values by epoch, with those of its start and those that are not finite."""
        return self._recorded.get(metric, _NOTHING)

    def line(self, metric: str) -> pd.Series:
        """The finite values by epoch, from the first that it trained on."""
        if metric not in self._finite:
            line = self.recorded(metric)
            self._finite[metric] = line[np.isfinite(line.to_numpy()) & (line.index.to_numpy() > self.start)]
        return self._finite[metric]

    @property
    def judge(self) -> str:
        """The pictures by which it is judged whether it overfits: those held out, if there are any."""
        return "validation" if "val_loss" in self._recorded else "test"

    def judged(self, what: str) -> pd.Series:
        """Their line: of "loss" or "accuracy"."""
        return self.line(f"{'val' if self.judge == 'validation' else 'test'}_{what}")

    def levels(self, kind: str) -> dict[str, float]:
        """Layer → the current level of its figure, in order; layers without one left out."""
        lines = {layer: self.line(f"{kind}/{layer}") for layer in self.measured}
        return {layer: trends.level(line) for layer, line in lines.items() if len(line)}

    @cached_property
    def steps(self) -> dict[str, float]:
        """Layer → its median change per step, as a share of its weights, over the second half of the run."""
        lines = {layer: self.line(f"update_ratio/{layer}") for layer in self.layers}
        return {
            layer: float(np.median(line.to_numpy()[len(line) // 2 :])) for layer, line in lines.items() if len(line)
        }

    @property
    def largest_update(self) -> tuple[str, float]:
        """The layer that changes most per step, and by what share of its weights; ("", 0): not recorded."""
        steps = self.steps
        return max(steps.items(), key=lambda each: each[1]) if steps else ("", 0.0)

    @cached_property
    def fold(self) -> float:
        """The gradient's norm at the last layer over that at the first; 0: not recorded."""
        norms = list(self.levels("grad_norm").values())
        return norms[-1] / norms[0] if len(norms) > 1 and norms[0] > 0 else 0.0

    @cached_property
    def guessing(self) -> pd.Series:
        """By epoch, whether the test accuracy is no better than the noise of guessing."""
        return trends.smooth(self.line("test_accuracy"), trends.WINDOW) <= ABOVE_CHANCE

    @cached_property
    def at_chance(self) -> bool:
        """Whether it does no better than guessing: in most of the last epochs, and in the last."""
        line = self.line("test_accuracy")
        return len(line) > 0 and max(trends.level(line), line.iloc[-1]) <= ABOVE_CHANCE

    @cached_property
    def below_chance(self) -> bool:
        """Whether it does worse than guessing: in most of the last epochs, and in the last."""
        line = self.line("test_accuracy")
        return len(line) > 0 and max(trends.level(line), line.iloc[-1]) < BELOW_CHANCE

    @property
    def is_early(self) -> bool:
        """Whether too little was trained to expect that it has left chance level."""
        return len(self.line("test_accuracy")) < ENOUGH or self.updates < EARLY

    @cached_property
    def descent(self) -> float:
        """How far the test loss is below the loss of guessing; 0 or less: it learned nothing."""
        line = self.line("test_loss")
        return self.guessing_loss - trends.level(line) if len(line) else 0.0

    @cached_property
    def test_falls(self) -> bool:
        """Whether the test loss still falls. No finding that says it rises or stands still may say so then."""
        return trends.falls(self.line("test_loss"))

    @cached_property
    def rises(self) -> pd.Series:
        """By epoch, whether the train loss rose by more than BOUNCE."""
        line = self.line("train_loss")
        rise = line.diff().iloc[1:]
        return (rise > BOUNCE * line.shift().iloc[1:]) & (rise > BOUNCE_FROM * self.guessing_loss)

    @property
    def bouncing(self) -> bool:
        """Whether the train loss rises so in too many epochs to be noise."""
        rises = self.rises
        return int(rises.sum()) >= max(ENOUGH, BOUNCES * len(rises))

    @cached_property
    def fitted(self) -> bool:
        """Whether nearly all of the training pictures are right, so that there is little left to learn."""
        correct, line = self.line("train_accuracy"), self.line("train_loss")
        if len(correct):
            return trends.level(correct) > FITTED
        return len(line) > 0 and trends.level(line) < (1 - FITTED) * self.guessing_loss

    @cached_property
    def overstepping(self) -> bool:
        """Whether the train loss has stalled without having fitted the pictures, while the steps are large.

        Stalled: what its noise could hide, by the standard error of a slope, is little as well.
        """
        line = self.line("train_loss")
        if len(line) < STALLED_FROM or self.fitted or self.largest_update[1] < LARGE_UPDATE:
            return False
        hidden = trends.noise(line) * math.sqrt(12 / len(trends.last_third(line)))
        return max(-trends.moved(line), hidden) < STALLED * trends.level(line)

    @cached_property
    def has_long_steps(self) -> bool:
        """Whether anything speaks for steps that are too long: then no finding advises longer ones."""
        flat = max(self.levels("saturation").values(), default=0.0)
        limit = {"sigmoid": SATURATED, "tanh": SATURATED, "relu": SILENT}.get(self.config.activation, math.inf)
        return (self.bouncing or self.overstepping or flat >= limit or self.largest_update[1] >= LARGE_UPDATE) or any(
            self.gaps(metric) for metric in LOSSES
        )

    def is_finite_now(self, metric: str) -> bool:
        """Whether the metric's last value is finite, or that epoch's test loss, which is of the weights at its end."""
        line, tested = self.recorded(metric), self.recorded("test_loss")
        return len(line) > 0 and (math.isfinite(line.iloc[-1]) or math.isfinite(tested.get(line.index[-1], math.nan)))

    def gaps(self, metric: str) -> list[int]:
        """The epochs at which the metric is not finite, of a run that is finite now."""
        line = self.recorded(metric)
        return [int(epoch) for epoch in line.index[~np.isfinite(line)]] if self.is_finite_now(metric) else []

    def try_anew(self, what: str, **changes: Any) -> Trial:
        """A new run with these changes. It starts untrained, which a fork did not: there the words say so."""
        return Trial(f"Try {what} from epoch 0" if self.start else f"Try {what}", changes)

    def try_rate(self, factor: float) -> Trial | None:
        """The same run at its learning rate times the factor; None outside of 1e-7 to 1, or for still longer steps."""
        lr = float(f"{self.config.lr * factor:.6g}")
        if not 1e-7 <= lr <= 1 or (factor > 1 and self.has_long_steps):
            return None
        return self.try_anew(f"lr {lr:g}", lr=lr)

    def try_activation(self) -> Trial | None:
        """The same run with an activation whose gradient vanishes less; None if there is none."""
        other = OTHER_ACTIVATION.get(self.config.activation)
        return self.try_anew(other, activation=other) if other else None

    def try_seed(self) -> Trial:
        """The same run from other initial weights, with its batches in another order."""
        seed = self.config.seed + 1 if self.config.seed < SETTINGS["seed"].high else 0
        return self.try_anew(f"seed {seed}", seed=seed)

    def try_dropout(self) -> Trial | None:
        return None if self.config.dropout else self.try_anew(f"dropout {DROPOUT:g}", dropout=DROPOUT)

    def try_augmentation(self) -> Trial | None:
        return None if self.config.augment != "none" else self.try_anew("flips and shifts", augment="flip+shift")

    def try_patience(self) -> Trial | None:
        """Stopped early, by pictures that are held out."""
        if self.config.patience:
            return None
        return self.try_anew("early stopping", patience=PATIENCE, validation=self.config.validation or HELD_OUT)

    def try_batch_norm(self) -> Trial | None:
        return None if self.config.batch_norm == "on" else self.try_anew("batch norm", batch_norm="on")

    def try_init(self) -> Trial | None:
        """Initial weights that are made for its activation."""
        other = "xavier" if self.config.activation in SATURATING else "he"
        return None if self.config.init == other else self.try_anew(f"{other.capitalize()} initial weights", init=other)

    def try_schedule(self) -> Trial | None:
        """A rate that falls to 0 by the end."""
        if not self.config.has_constant_rate:
            return None
        return self.try_anew("a cosine schedule", schedule="cosine", schedule_epochs=self.config.epochs)

    def try_warmup(self) -> Trial | None:
        if not self.config.has_constant_rate or self.config.epochs < 2 * WARMUP:
            return None
        return self.try_anew("a warm-up", warmup=WARMUP, schedule_epochs=self.config.epochs)

    @property
    def is_hampered(self) -> bool:
        """Whether pictures are harder for it while it trains than while it is tested."""
        return self.config.dropout > 0 or self.config.augment != "none"

    def remedies(self, *trials: Trial | None) -> tuple[Trial | None, tuple[Trial, ...]]:
        """Of these the first that can be trained with the other settings, which is tested; and the others."""
        possible = [trial for trial in trials if trial is not None and self._is_possible(trial)]
        return (possible[0], tuple(possible[1:])) if possible else (None, ())

    def _is_possible(self, trial: Trial) -> bool:
        try:
            return bool(trial.epochs) or trial.config(self.config) != self.config
        except ConfigError:
            return False

    def try_more(self) -> Trial | None:
        """As many epochs again as this run trained, enough to show a trend; None if it has all that a run may have.

        Where a schedule ends with the run, more epochs would go on at its last rate: it is trained anew, twice as long.
        """
        if not self.config.has_constant_rate and self.end >= self.config.schedule_epochs:
            twice = 2 * self.end
            if twice > SETTINGS["epochs"].high:
                return None
            return self.try_anew(f"a schedule of {twice} epochs", epochs=twice, schedule_epochs=twice)
        epochs = min(self.epochs, int(SETTINGS["epochs"].high) - self.end)
        if epochs < 1:
            return None
        return Trial(f"Train {epochs} more epochs" if epochs > 1 else "Train 1 more epoch", epochs=epochs)


def a_run(trial: Trial | None, otherwise: str) -> str:
    """The subject of a sentence on what the trial would refute; otherwise: what it would be if it were possible."""
    if trial is None:
        return f"A run with {otherwise}"
    return f"A run {'at' if 'lr' in trial.changes else 'with'} {trial.what}"


def more_epochs(trial: Trial | None) -> str:
    """The same for a trial that goes on with the run."""
    return trial.what if trial else "More epochs"


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
    return wording.percent(share)


def of_weights(share: float) -> str:
    """A step's share of a layer's weights: as a percentage, or as a power of ten if it is too small for one."""
    return f"{100 * share:.2g} %" if share >= 1e-4 else f"{share:.1e}".replace("e-0", "e-")
