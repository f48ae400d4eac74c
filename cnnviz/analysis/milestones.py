"""Findings on how far a run has come: still improving, a low learning rate, converged, or settled too early."""

import pandas as pd

from cnnviz.analysis import trends
from cnnviz.analysis.evidence import (
    ENOUGH,
    LOSSES,
    Finding,
    RunLines,
    Trial,
    a_run,
    accuracy,
    figure,
    holds_since,
    more_epochs,
    of_weights,
    percent,
)
from cnnviz.architectures import MAX_PARAMETERS, architecture, wider
from cnnviz.errors import ConfigError

IMPROVING = 0.02  # of its whole descent, gained in the last third: worth as many epochs again
FAINT_UPDATE = 1e-4  # of a layer's weights per step: a tenth of what is usual
SETTLED = 0.01  # of its whole descent: a loss that changed less over the last third has settled
UNSEEN = 0.1  # of its whole descent: noise that could hide a larger change leaves open whether it has settled
SETTLED_FROM = 9  # epochs, so that a third of them is ENOUGH
UNDERFITTING = 0.7  # train accuracy: a LeNet that goes on learning gets beyond it in 20 epochs
HUMP = 0.05  # of the lowest test loss before it: a rise that was more than that is worth telling of
WIDEST = MAX_PARAMETERS // 10  # parameters of a network that is offered without being asked for


def still_improving(run: RunLines) -> Finding | None:
    """Still improving; and whether a low learning rate is why it takes so long."""
    tested, trained = run.line("test_loss"), run.line("train_loss")
    if len(tested) < ENOUGH or run.at_chance or run.descent <= 0 or not run.test_falls:
        return None
    gained = -trends.moved(tested) / run.descent
    if gained < IMPROVING or (len(trained) and trends.moved(trained) >= 0):
        return None
    since = int(trends.last_third(tested).index[0])
    layer, update = run.largest_update
    words = [
        f"The test loss is still falling: {percent(gained)} of its descent from the loss of guessing was made since "
        f"epoch {since} (from {percent(IMPROVING)} it counts)."
    ]
    correct = run.line("test_accuracy")
    if since in correct.index:
        words.append(f"Test accuracy went from {accuracy(correct[since])} to {accuracy(correct.iloc[-1])}.")
    words += _second_descent(tested)
    evidence = {"gained": gained, "update_ratio": update}
    faster = run.try_rate(10)
    if not 0 < update < FAINT_UPDATE or faster is None:
        more = run.try_more()
        refutes = f"{more_epochs(more)} that gain nothing: then it had converged."
        return Finding("still_improving", "note", "Still improving", " ".join(words), refutes, since, evidence, more)
    words.append(
        f"No layer changes by more than {of_weights(update)} of its weights per step ({layer}); less than "
        f"{percent(FAINT_UPDATE)} is little, about 0.1 % is usual."
    )
    return Finding(
        "lr_too_low",
        "note",
        f"Learning rate {run.config.lr:g} is low",
        " ".join(words),
        f"A run at {faster.what} whose losses are no lower after as many epochs.",
        since,
        evidence,
        faster,
    )


def _second_descent(tested: pd.Series) -> list[str]:
    """A test loss that rose before it fell again (Nakkiran et al., "Deep Double Descent", 2020)."""
    smooth = trends.smooth(tested)
    lowest = smooth.cummin()
    rise = smooth / lowest - 1
    peak = int(rise.idxmax())
    if rise[peak] <= max(HUMP, 4 * trends.noise(tested) / lowest[peak]) or trends.level(tested) > smooth[peak]:
        return []
    return [
        f"It had risen before, from {figure(lowest[peak])} to {figure(smooth[peak])} at epoch {peak}: this is a second "
        "descent."
    ]


def _unseen(run: RunLines) -> float:
    """What noise could hide: how much of its descent a loss may have changed by since the second third (95 %)."""
    changes = [trends.latest(run.line(name)) for name in LOSSES]
    return max(abs(change) + 2 * error for change, error in changes) / run.descent


def _moves(line: pd.Series, descent: float) -> bool:
    """Whether the line still changes over its last third, by more than its noise explains."""
    return abs(trends.moved(line)) > SETTLED * descent and (trends.falls(line) or trends.falls(-line))


def _has_converged(run: RunLines) -> bool:
    tested, trained = run.line("test_loss"), run.line("train_loss")
    if min(len(tested), len(trained)) < SETTLED_FROM or run.at_chance or run.descent <= 0:
        return False
    return not any(_moves(line, run.descent) for line in (tested, trained)) and _unseen(run) <= UNSEEN


def converged(run: RunLines) -> Finding | None:
    if not _has_converged(run):
        return None
    tested, trained = run.line("test_loss"), run.line("train_loss")
    now = trends.level(trained)
    epoch = holds_since((trends.smooth(trained) - now).abs() <= SETTLED * run.descent)
    constant = run.try_anew("a constant rate", schedule="constant", warmup=0, schedule_epochs=0)
    slower, more = run.remedies(run.try_rate(0.1) if run.config.has_constant_rate else constant, run.try_schedule())
    return Finding(
        "converged",
        "note",
        f"Converged at epoch {epoch}",
        f"Over the last third neither loss changed by more than {percent(SETTLED)} of its descent from the loss of "
        f"guessing, or by more than noise, which could hide {percent(float(f'{_unseen(run):.1g}'))}: train loss "
        f"{figure(now)}, test loss {figure(trends.level(tested))}.",
        f"{a_run(slower, 'a lower rate')} in which either loss gets lower.",
        epoch,
        {"train_loss": now, "test_loss": trends.level(tested)},
        slower,
        more,
    )


def underfitting(run: RunLines) -> Finding | None:
    """Settled, and too few of the *training* pictures right (Goodfellow, Bengio, Courville, "Deep Learning", 5.2)."""
    correct, exact, tested = (run.line(name) for name in ("train_accuracy", "train_accuracy_exact", "test_accuracy"))
    if correct.empty or trends.level(correct) >= UNDERFITTING or not _has_converged(run):
        return None
    share = float(exact.iloc[-1]) if len(exact) and exact.index[-1] == run.end else trends.level(correct)
    if run.is_hampered:  # while it trains: in tests it may well fit those pictures
        share = max(share, trends.level(tested) if len(tested) else 0.0)
        if share >= UNDERFITTING:
            return None
    words = [
        f"Both losses have settled, train loss {figure(trends.level(run.line('train_loss')))} and test loss "
        f"{figure(trends.level(run.line('test_loss')))}, and only {accuracy(share)} of the training pictures are right "
        f"(under {percent(UNDERFITTING)} it counts)."
    ]
    if len(tested):
        words.append(f"Of the test pictures it is {accuracy(trends.level(tested))}.")
    words.append(
        "It does not even fit the pictures that it learns from, and the last third of the epochs gained nothing."
    )
    trial, more = run.remedies(*_stronger(run))
    return Finding(
        "underfitting",
        "alarm",
        f"Underfitting: {accuracy(share)} of the training pictures right",
        " ".join(words),
        f"{a_run(trial, 'a larger network')} that gets no more of the training pictures right: then it lacks "
        "something else.",
        None,
        {"train_accuracy": share, "test_accuracy": trends.level(tested) if len(tested) else 0.0},
        trial,
        more,
    )


def _stronger(run: RunLines) -> list[Trial | None]:
    """Without what holds the weights back, then a wider network, unless it would be too large to train on a whim."""
    found: list[Trial | None] = []
    if run.config.weight_decay:
        found.append(run.try_anew("no weight decay", weight_decay=0.0))
    if run.config.dropout:
        found.append(run.try_anew("no dropout", dropout=0.0))
    try:
        model = wider(run.config.model)
        if architecture(model).parameters <= WIDEST:
            found.append(run.try_anew("twice the maps and units", model=model))
    except ConfigError:  # more maps or units than a layer may have
        pass
    return found
