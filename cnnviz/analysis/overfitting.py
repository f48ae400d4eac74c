"""Findings on overfitting: the test loss rises while the train loss falls, surely or perhaps.

Of a run with a validation set it is the validation loss, so that nothing is chosen by the test set.
"""

import math
from typing import NamedTuple

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    ENOUGH,
    SIGMAS,
    TEST_PICTURES,
    Finding,
    RunLines,
    Trial,
    accuracy,
    figure,
    more_epochs,
    percent,
)

RISE = 0.02  # of the lowest test loss: less is not worth acting on, even if it is no noise
FALL = 0.05  # of the train loss: it must keep falling while the test loss rises, or it is no overfitting
OVERFITTING_FROM = 6  # epochs: ENOUGH up to a lowest point, and ENOUGH after it
PROVEN, LIKELY = 98, 97  # of 100 level lines look less like rising, in trends.Turn's sense


class _Rise(NamedTuple):
    onset: int  # epoch of the lowest test loss, smoothed
    lowest: float
    now: float
    then: float  # train loss at the onset
    since: float  # and now
    turn: trends.Turn
    clear: bool  # it has risen so far that no noise could be it

    @property
    def rise(self) -> float:
        return self.now / self.lowest - 1

    @property
    def fall(self) -> float:
        return 1 - self.since / self.then


def _rise(run: RunLines) -> _Rise | None:
    """A test loss that rises while the train loss falls, by what counts and perhaps no more than noise."""
    tested, trained = run.judged("loss"), run.line("train_loss")
    if min(len(tested), len(trained)) < OVERFITTING_FROM or run.at_chance:
        return None
    smooth = trends.smooth(tested)
    onset, lowest = int(smooth.idxmin()), float(smooth.min())
    until = trends.smooth(trained).loc[:onset]
    if lowest <= 0 or until.empty or until.iloc[-1] <= 0 or len(tested.loc[onset:]) <= ENOUGH:
        return None
    found = _Rise(
        onset,
        lowest,
        trends.level(tested),
        float(until.iloc[-1]),
        trends.level(trained),
        trends.turn(tested),
        trends.has_risen(tested),
    )
    return None if found.rise < RISE or found.fall < FALL or trends.falls(tested) else found


def overfitting(run: RunLines) -> Finding | None:
    """Proven, if noise makes fewer than 2 of 100 level test losses look so; else perhaps, if fewer than 3 of 100."""
    found = _rise(run)
    if found is None or not (found.turn.likely or found.clear):
        return None
    return _proven(run, found) if found.turn.proven or found.clear else _undecided(run, found)


def _proven(run: RunLines, found: _Rise) -> Finding:
    words = [
        f"Since epoch {found.onset} the {run.judge} loss rises, {figure(found.lowest)} → {figure(found.now)} "
        f"(+{100 * found.rise:.1f} %; a rise counts from {percent(RISE)}, if noise alone makes it in fewer than "
        f"{100 - PROVEN} of 100 runs), while the train loss falls, {figure(found.then)} → {figure(found.since)} "
        f"(−{100 * found.fall:.0f} %)."
    ]
    evidence = _evidence(found)
    correct, exact = run.judged("accuracy"), run.line("train_accuracy_exact")
    if found.onset in correct.index:
        before, after = float(trends.smooth(correct)[found.onset]), trends.level(correct)
        evidence |= {"test_accuracy_then": before, "test_accuracy": after}
        words.append(_confidence(before, after, found.rise, run))
    if len(exact) and len(correct) and exact.index[-1] == correct.index[-1]:
        words.append(
            f"With the weights of epoch {exact.index[-1]}, {accuracy(exact.iloc[-1])} of the training pictures are "
            f"right and {accuracy(correct.iloc[-1])} of the {run.judge} pictures."
        )
    trial, more = run.remedies(run.try_dropout(), run.try_augmentation(), *regularisers(run), run.try_patience())
    what = trial.what if trial else "stronger regularisation"
    return Finding(
        "overfitting",
        "alarm",
        f"Overfitting since epoch {found.onset}",
        " ".join(words),
        f"A run with {what} in which the {run.judge} loss rises as early and as far.",
        found.onset,
        evidence,
        trial,
        more,
    )


def _undecided(run: RunLines, found: _Rise) -> Finding:
    """Suggested, but not proven; and what would be."""
    tested = run.judged("loss")
    provable = percent(float(f"{trends.provable(tested) / found.lowest:.1g}"))
    more = run.try_more()
    return Finding(
        "maybe_overfitting",
        "note",
        f"Overfitting since epoch {found.onset}? Undecided",
        f"Since epoch {found.onset} the {run.judge} loss went from {figure(found.lowest)} to {figure(found.now)} "
        f"(+{100 * found.rise:.1f} %), while the train loss fell. Noise alone makes that in fewer than "
        f"{100 - LIKELY} of 100 runs, but perhaps in more than {100 - PROVEN}, which is too many to be sure. With this "
        f"noise, a rise of about {provable} an epoch would show in nine of ten runs of {len(tested)} epochs, a slower "
        f"one in fewer.",
        f"{more_epochs(more)} in which the {run.judge} loss falls below {figure(found.lowest)} again.",
        found.onset,
        _evidence(found),
        more,
    )


def _evidence(found: _Rise) -> dict[str, float]:
    return {
        "lowest": found.lowest,
        "test_loss": found.now,
        "rise": found.rise,
        "train_loss_fall": found.fall,
        "likelihood_ratio": found.turn.ratio,
        "slope": found.turn.slope,
    }


def _confidence(before: float, after: float, rise: float, run: RunLines) -> str:
    """How the accuracy changed meanwhile, and why it changed less than the loss."""
    moved = f"{run.judge.capitalize()} accuracy went from {accuracy(before)} to {accuracy(after)}"
    if (before - after) / max(1 - before, 1e-9) >= rise:
        return f"{moved}: it gets more pictures wrong, too."
    pictures = run.config.validation if run.judge == "validation" else TEST_PICTURES
    noise = SIGMAS * math.sqrt(2 * before * (1 - before) / pictures)  # of a difference of two accuracies
    if after > before + noise:
        mistakes = "so it rose: mistakes are fewer, but more confident"
    elif after >= before:
        mistakes = "so it did not fall: mistakes are no more frequent but more confident"
    elif after >= before - noise:
        mistakes = "so it hardly fell: mistakes are hardly more frequent but more confident"
    else:
        mistakes = "so it fell less than the loss rose: mistakes are more frequent, and more confident"
    price = (
        "cross-entropy penalises a wrong prediction without limit, the more the surer it is"
        if run.config.loss == "cross_entropy"
        else "squared error penalises the distance from the target, not being wrong"
    )
    return f"{moved}, {mistakes} ({price})."


def regularised(run: RunLines) -> Trial:
    """All of the training pictures if some were left out, else a weight decay."""
    return regularisers(run)[0]


def regularisers(run: RunLines) -> list[Trial]:
    """All of the training pictures if some were left out, and a weight decay that makes a difference.

    Decay alone shrinks a weight e-fold in 1 / (lr · decay) steps: the decay is the one that makes this the whole run.
    The trial trains config.epochs from the start, even if this run is a fork, which trained the last of them only.
    """
    config = run.config
    felt = 1 / (config.lr * config.steps_per_epoch * config.epochs)
    decay = float(f"{min(max(felt, 10 * config.weight_decay, 1e-6), 0.1):.1g}")
    every = [run.try_anew("all training pictures", limit_train=0)] if config.limit_train else []
    return [*every, run.try_anew(f"weight decay {decay:g}", weight_decay=decay)]
