"""Findings on steps that are too long: diverged, a learning rate too high, a loss that overflowed for a while."""

import math

import numpy as np
import pandas as pd

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    BOUNCE,
    LARGE_UPDATE,
    LOSSES,
    STALLED,
    STALLED_FROM,
    Finding,
    RunLines,
    a_run,
    accuracy,
    figure,
    finite,
    first_epoch,
    holds_since,
    of_weights,
    percent,
)

EXPLODED = 10.0  # times the loss of guessing, or of the untrained network
LEFT = 1.5  # times the level before: a loss that jumps so and never comes back has left for good


def diverged(run: RunLines) -> Finding | None:
    for metric in LOSSES:
        line = run.recorded(metric)
        if len(line):
            found = _death(run, metric, line)
            if found is not None:
                return found
    return None


def _death(run: RunLines, metric: str, line: pd.Series) -> Finding | None:
    name, sound = metric.replace("_", " "), finite(line)
    limit = EXPLODED * max([run.guessing_loss, *sound.loc[: run.start]])
    if run.is_finite_now(metric):
        if not len(sound) or trends.level(sound) <= limit:
            return None
        lost, what = holds_since(trends.smooth(sound) > limit), f"is over {EXPLODED:.0f} times that of guessing"
    else:
        lost = int(line.index[line.index > (sound.index[-1] if len(sound) else -1)][0])
        what = "is not a number" if math.isnan(line[lost]) else "is infinite"
    left = _left(sound, lost)
    before, between = sound[sound.index < left], sound[(sound.index >= left) & (sound.index < lost)]
    words = f"The {name} {what} from epoch {lost} on"
    if len(between):
        climb = ", ".join(figure(value) for value in between.iloc[-3:])
        words += f", having left {figure(before.iloc[-1])}, its value at epoch {before.index[-1]}, for {climb}"
    elif len(before):
        words += f", after {figure(before.iloc[-1])} at epoch {before.index[-1]}"
    longest = max((line.max() for line in map(run.line, _updates(run)) if len(line)), default=0.0)
    words += ": each step overshot by more than the one before it."
    if longest >= LARGE_UPDATE:
        words += f" A step changed up to {of_weights(longest)} of a layer's weights."
    slower, more = run.remedies(run.try_rate(0.1), run.try_warmup(), run.try_batch_norm())
    return Finding(
        "diverged",
        "alarm",
        f"Diverged at epoch {left}",
        words,
        f"{a_run(slower, 'a lower rate')} that diverges as well: then the size of the steps is not the cause.",
        left,
        {"epoch": float(left), "lost": float(lost), "update_ratio": float(longest)},
        slower,
        more,
    )


def _left(sound: pd.Series, lost: int) -> int:
    """The epoch from which on the loss is LEFT times the level that it had before, up to where it was lost."""
    climb = sound[sound.index < lost]
    values = climb.to_numpy()
    for place in range(1, len(values)):
        if values[place:].min() > LEFT * np.median(values[max(0, place - trends.WINDOW) : place]):
            return int(climb.index[place])
    return lost


def _updates(run: RunLines) -> list[str]:
    return [f"update_ratio/{layer}" for layer in run.layers]


def bounces(run: RunLines) -> str:
    return f"The train loss rose by more than {percent(BOUNCE)} in {run.rises.sum()} of {len(run.rises)} epochs"


def lr_too_high(run: RunLines) -> Finding | None:
    line, rises, bouncing = run.line("train_loss"), run.rises, run.bouncing
    if len(line) < STALLED_FROM or not (bouncing or run.overstepping):
        return None
    now = trends.level(line)
    layer, update = run.largest_update
    if bouncing:
        epoch = first_epoch(rises)
        words = [f"{bounces(run)}, which is more than the noise of a mean over the whole training set."]
    else:
        epoch = first_epoch(trends.smooth(line) <= now * (1 + STALLED))
        correct = run.line("train_accuracy")
        with_accuracy = f", {accuracy(trends.level(correct))} of the training pictures right," if len(correct) else ""
        words = [
            f"The train loss has stalled at {figure(now)}{with_accuracy} since epoch {epoch}: over the last third it "
            f"fell by less than {percent(STALLED)}."
        ]
    if update >= LARGE_UPDATE:
        usual = f"from {percent(LARGE_UPDATE)} it counts as large; about 0.1 % is usual"
        words.append(f"A step still changes {layer} by {of_weights(update)} of its weights ({usual}).")
    if not bouncing:
        words.append("Steps this large jump across the minimum instead of approaching it.")
    slower, more = run.remedies(run.try_rate(0.1), run.try_schedule(), run.try_warmup())
    return Finding(
        "lr_too_high",
        "alarm",
        f"Learning rate {run.config.lr:g} is too high",
        " ".join(words),
        f"{a_run(slower, 'a lower rate')} whose train loss gets no lower.",
        epoch,
        {"train_loss": now, "update_ratio": update, "rises": float(rises.sum())},
        slower,
        more,
    )


def gap(run: RunLines) -> Finding | None:
    """A loss that was infinite or NaN, and is finite again."""
    for metric in LOSSES:
        epochs, line = run.gaps(metric), run.recorded(metric)
        if not epochs:
            continue
        name = metric.replace("_", " ")
        what = "not a number" if math.isnan(line[epochs[0]]) else "infinite"
        when = f"at epoch {epochs[0]}" if len(epochs) == 1 else f"at {len(epochs)} epochs, {epochs[0]} to {epochs[-1]}"
        after = finite(line).loc[epochs[-1] :]
        shown, seen = (metric, after) if len(after) else ("test_loss", run.recorded("test_loss").loc[epochs[-1] :])
        again = "is" if len(after) else "the test loss is"
        slower = run.try_rate(0.1)
        return Finding(
            "gap",
            "note",
            f"The {name} was {what} {when}",
            f"The {name} was {what} {when}, and {again} {figure(seen.iloc[0])} at epoch {seen.index[0]}. Weights that "
            "are not finite stay so: it was the loss that overflowed, and the weights that lasted. All other findings "
            "pass over such epochs.",
            f"{a_run(slower, 'a lower rate')} that has such epochs as well: then the size of the "
            "steps is not the cause.",
            epochs[0],
            {"epochs": float(len(epochs)), shown: float(seen.iloc[0])},
            slower,
        )
    return None
