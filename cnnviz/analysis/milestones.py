"""Findings on a run's progress: a slow start, a low learning rate, still improving, converged. All are notes."""

import pandas as pd

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    CHANCE,
    ENOUGH,
    SIGMAS,
    VANISHED,
    Finding,
    RunLines,
    accuracy,
    figure,
    first_epoch,
    holds_since,
    of_weights,
    percent,
    try_more,
)

SLOW_START = 2  # epochs at chance level before it learned: any small learning rate takes one
IMPROVING = 0.02  # of its whole descent, gained in the last third: worth as many epochs again
TREND = 2.0  # standard errors of a slope: a note may be wrong more often than an alarm
FAINT_UPDATE = 1e-4  # of a layer's weights per step: a tenth of what is usual
SETTLED = 0.01  # of its whole descent: a loss that changed less over the last third has settled
SETTLED_FROM = 9  # epochs, so that a third of them is ENOUGH


def slow_start(run: RunLines) -> Finding | None:
    guessing = run.guessing
    if run.at_chance or guessing.all():
        return None
    began = first_epoch(~guessing)
    if (guessing.index < began).sum() < SLOW_START:
        return None
    words = [
        f"Test accuracy stayed within {SIGMAS:.0f} times the noise of guessing ({percent(CHANCE)}) up to epoch "
        f"{began - 1}; then it learned."
    ]
    evidence = {"epoch": float(began)}
    first, last = (run.recorded(f"grad_norm/{layer}") for layer in (run.layers[0], run.layers[-1]))
    folds = (last / first).dropna().loc[: began - 1]
    if len(folds) and folds.iloc[0] >= VANISHED:
        evidence["fold"] = float(folds.iloc[0])
        words.append(
            f"Until then little gradient reached {run.layers[0]}: 1/{folds.iloc[0]:,.0f} of {run.layers[-1]}'s at "
            f"epoch {folds.index[0]}, 1/{folds.iloc[-1]:,.0f} at epoch {folds.index[-1]}. By epoch {first.index[-1]} "
            f"it had grown {first.iloc[-1] / first.loc[: began - 1].min():,.0f}-fold."
        )
    return Finding(
        "slow_start",
        "note",
        f"At chance level until epoch {began - 1}",
        " ".join(words),
        f"A run with another activation that starts as late: then {run.config.activation}'s slope is not the cause.",
        began,
        evidence,
        run.try_activation() or run.try_rate(10),
    )


def still_improving(run: RunLines) -> Finding | None:
    """Still improving; and whether a low learning rate is why it takes so long."""
    tested, trained = run.line("test_loss"), run.line("train_loss")
    if len(tested) < ENOUGH or run.at_chance or run.descent <= 0:
        return None
    third = trends.last_third(tested)
    change, error = trends.slope(third)
    gained = -trends.moved(tested) / run.descent
    if gained < IMPROVING or -change < TREND * error or (len(trained) and trends.moved(trained) >= 0):
        return None
    since = int(third.index[0])
    layer, update = run.largest_update
    words = [
        f"The test loss is still falling: {percent(gained)} of its descent from the loss of guessing was made since "
        f"epoch {since} (from {percent(IMPROVING)} it counts)."
    ]
    correct = run.line("test_accuracy")
    if since in correct.index:
        words.append(f"Test accuracy went from {accuracy(correct[since])} to {accuracy(correct.iloc[-1])}.")
    evidence = {"gained": gained, "update_ratio": update}
    faster = run.try_rate(10)
    if not 0 < update < FAINT_UPDATE or faster is None:
        refutes = "More epochs that gain nothing: then it had converged."
        return Finding(
            "still_improving", "note", "Still improving", " ".join(words), refutes, since, evidence, try_more(tested)
        )
    words.append(
        f"No layer changes by more than {of_weights(update)} of its weights per step ({layer}); less than "
        f"{percent(FAINT_UPDATE)} is little, about 0.1 % is usual."
    )
    return Finding(
        "lr_too_low",
        "note",
        f"Learning rate {run.config.lr:g} is low",
        " ".join(words),
        f"A run at {faster.label.removeprefix('Try ')} whose losses are no lower after as many epochs.",
        since,
        evidence,
        faster,
    )


def _moves(line: pd.Series, descent: float) -> bool:
    """Whether the line still changes over its last third, by more than its noise explains."""
    change, error = trends.slope(trends.last_third(line))
    return abs(trends.moved(line)) > SETTLED * descent and abs(change) > TREND * error


def converged(run: RunLines) -> Finding | None:
    tested, trained = run.line("test_loss"), run.line("train_loss")
    if min(len(tested), len(trained)) < SETTLED_FROM or run.at_chance or run.descent <= 0:
        return None
    if run.bouncing or run.overstepping or _moves(tested, run.descent) or _moves(trained, run.descent):
        return None
    now = trends.level(trained)
    epoch = holds_since((trends.smooth(trained) - now).abs() <= SETTLED * run.descent)
    return Finding(
        "converged",
        "note",
        f"Converged at epoch {epoch}",
        f"Over the last third neither loss changed by more than {percent(SETTLED)} of its descent from the loss of "
        f"guessing: train loss {figure(now)}, test loss {figure(trends.level(tested))}.",
        "A tenth of the learning rate, or more epochs, after which either loss is lower.",
        epoch,
        {"train_loss": now, "test_loss": trends.level(tested)},
        run.try_rate(0.1),
    )
