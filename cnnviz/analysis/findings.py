"""A run's history → findings: what its curves show, with their evidence and what would refute them.

Robust statistics (analysis.trends) of a run's lines (analysis.evidence), so that one spike decides nothing. Every
threshold is a named constant with its reason. What the modules of findings look at: chance (whether it learned), steps
(whether they are too long), overfitting, milestones (how far it has come), layers (what goes on inside), beginnings
(how it starts), rates (what a schedule does), modes (training mode and evaluation mode) and answers (what it says of
the test pictures).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pandas as pd

from cnnviz.analysis import answers, beginnings, chance, layers, milestones, modes, overfitting, rates, steps
from cnnviz.analysis.answers import Answers
from cnnviz.analysis.evidence import PER_LAYER, Finding, RunLines
from cnnviz.config import RunConfig

Finder = Callable[[RunLines], Finding | None]
AnswerFinder = Callable[[RunLines, Answers], Finding | None]

# Of each row the first that finds something speaks, since the others would contradict it:
# - A run stands in one place. One at chance level has no descent to overfit after, to continue or to end. Long steps
#   keep a train loss from settling: it neither falls, as it does while overfitting, nor has it arrived. A test loss
#   that rises does not fall, and a loss that has settled does neither; underfitting is to have settled too early.
# - A gradient that dead units cut off is 0 for that reason.
_FINDERS: tuple[tuple[Finder, ...], ...] = (
    (chance.slow_start,),
    (
        chance.below_chance,
        chance.chance_level,
        steps.lr_too_high,
        overfitting.overfitting,
        milestones.underfitting,
        milestones.still_improving,
        milestones.converged,
    ),
    (layers.dead_relus, layers.vanishing_gradients),
    (layers.saturated_units,),
    (steps.gap,),
    (modes.training_mode, modes.harder_training),
    (rates.rate_drop,),
    (rates.stopped_early,),
    (beginnings.inputs, beginnings.weights),
)
# The same for what needs a run's answers. A network that says one class for everything confuses every other with it.
_ANSWER_FINDERS: tuple[tuple[AnswerFinder, ...], ...] = (
    (answers.always_one_class, answers.confuses),
    (answers.overconfident,),
)
# The kinds of each row, no two of which are found at once. What else may not be said together: anything with
# "diverged", whose last finite values mean nothing; and that a run left chance level late with that it is still there.
PLACES = (
    *("below_chance", "chance_level", "lr_too_high", "overfitting", "maybe_overfitting", "underfitting"),
    *("lr_too_low", "still_improving", "converged"),
)
EXCLUSIVE = (
    PLACES,
    ("dead_relus", "vanishing_gradients"),
    ("slow_start", "chance_level"),
    ("slow_start", "below_chance"),
    ("one_class", "confuses"),
    ("training_mode", "harder_training"),
    ("raw_inputs", "small_start", "large_start"),
)
KINDS = (
    *("diverged", *PLACES, "dead_relus", "vanishing_gradients", "saturated_units", "slow_start", "gap"),
    *("training_mode", "harder_training", "rate_drop", "stopped_early", "raw_inputs", "small_start", "large_start"),
)
ANSWER_KINDS = ("one_class", "confuses", "overconfident")  # found only where answers are given


def metric_names(config: RunConfig) -> list[str]:
    """The metrics that diagnose() reads; without one of them, only the findings based on it are missing."""
    names = [layer.name for layer in config.architecture.measured_layers]
    splits = ("train", "val", "test") if config.validation else ("train", "test")
    plain = [f"{split}_{what}" for what in ("loss", "accuracy") for split in splits]
    return [
        *plain,
        "train_accuracy_exact",
        "learning_rate",
        *(f"{kind}/{name}" for kind in PER_LAYER for name in names),
    ]


def diagnose(config: RunConfig, history: pd.DataFrame, answered: Answers | None = None) -> list[Finding]:
    """The findings on one run, alarms first; no two of them contradict each other (EXCLUSIVE).

    history: columns metric, epoch and value of one run, as reading.history returns them; NaN and infinity are values
    that were recorded. Its smallest epoch is where the run began, a fork's at the epoch at which it left its parent.
    Metrics may be missing and the run may still be training: findings are about what is there. answered: what its
    networks say of the test pictures; without it, only the findings based on it are missing.
    """
    run = RunLines(config, history)
    diverged = steps.diverged(run)
    if diverged is not None:
        return [_blamed(run, diverged)]
    found = [_first(find(run) for find in row) for row in _FINDERS]
    if answered is not None:
        found += [_first(find(run, answered) for find in row) for row in _ANSWER_FINDERS]
    said = [_blamed(run, each) for each in found if each is not None]
    return sorted(said, key=lambda each: each.severity != "alarm")


def _blamed(run: RunLines, found: Finding) -> Finding:
    """An alarm of a run with a mistake that was made on purpose: its first remedy is not to make it."""
    if run.config.mistake == "none" or found.severity != "alarm" or found.kind == "training_mode":
        return found
    right = run.try_anew("its right twin", mistake="none")
    refutes = f"The same, found of {right.what}: then its mistake, {run.config.mistake}, is not why."
    others = [] if found.test is None else [found.test]
    return replace(found, refutes=refutes, test=right, more=(*others, *found.more))


def _first(found: Iterable[Finding | None]) -> Finding | None:
    return next((each for each in found if each is not None), None)
