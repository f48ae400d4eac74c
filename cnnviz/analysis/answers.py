"""Findings on what a network answers: one class for everything, two classes confused, too sure of itself.

They need more than curves: the confusion matrix and the mean confidence after each epoch whose weights were kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cnnviz.analysis.evidence import ENOUGH, Finding, RunLines, accuracy, holds_since, percent
from cnnviz.analysis.overfitting import regularised

ALWAYS = 0.99  # of the answers: a network that gives one class so often says it always
CONFUSED = 2.0  # times what the two classes' mistakes explain
PAIR_SIGMAS = 4.0  # of a Poisson count: with 45 pairs of classes, one in 700 networks passes by chance
FELT = 0.05  # of the pictures of two classes: fewer are no trait of a network
SURE = 0.05  # by how much confidence exceeds accuracy: ten times the noise of the accuracy


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run's network answered on the test set after each epoch whose weights were kept, in order."""

    classes: Sequence[str]
    epochs: Sequence[int]
    confusions: np.ndarray  # (epochs, classes, classes) counts, rows true, columns predicted
    confidence: np.ndarray  # (epochs,), mean of the largest probability; NaN: no predictions
    calibration_error: np.ndarray  # (epochs,), the expected calibration error

    @property
    def accuracies(self) -> np.ndarray:
        """(epochs,), of the pictures that have an answer; NaN: none has."""
        right, total = np.trace(self.confusions, axis1=1, axis2=2), self.confusions.sum((1, 2))
        return np.divide(right, total, where=total > 0, out=np.full(len(total), np.nan))


def always_one_class(run: RunLines, answers: Answers) -> Finding | None:
    """The same class for (nearly) every picture. Another epoch may have another one."""
    trained = np.asarray(answers.epochs) > run.start
    predicted = answers.confusions[trained].sum(1)
    if not trained.any() or not predicted[-1].any():
        return None
    most, total = predicted.max(1), predicted.sum(1)
    always = pd.Series((most >= ALWAYS * total) & (total > 0), np.asarray(answers.epochs)[trained])
    if not always.iloc[-1]:
        return None
    said, since, last = answers.classes[int(predicted[-1].argmax())], holds_since(always), int(always.index[-1])
    words = (
        f"After epoch {last} it says {said} for {int(most[-1]):,} of {int(total[-1]):,} test pictures "
        f"({percent(ALWAYS)} count as always)."
    )
    if since < last:
        words += f" Since epoch {since} it has said one class for everything, whichever it was."
    trial = run.try_seed()
    return Finding(
        "one_class",
        "note" if run.is_early else "alarm",
        f"Always says {said}",
        words,
        f"A run with {trial.what} that says several classes: then it was these initial weights.",
        since,
        {"share": float(most[-1] / total[-1])},
        trial,
    )


def confuses(run: RunLines, answers: Answers) -> Finding | None:
    """The pair of classes that are taken for each other far more often than their mistakes explain."""
    if not len(answers.epochs) or answers.epochs[-1] <= run.start:
        return None
    counts = answers.confusions[-1]
    pairs = counts + counts.T
    explained = expected(counts)
    explained += explained.T
    pictures = counts.sum(1)
    felt = pairs >= np.maximum(FELT * (pictures[:, None] + pictures), 1)
    beyond = pairs - explained
    passes = felt & (pairs >= CONFUSED * explained) & (beyond >= PAIR_SIGMAS * np.sqrt(explained))
    passes[np.tril_indices(len(counts))] = False
    if not passes.any():
        return None
    a, b = divmod(int(np.where(passes, beyond, -np.inf).argmax()), len(counts))
    if counts[b, a] > counts[a, b]:
        a, b = b, a
    one, other, last = answers.classes[a], answers.classes[b], int(answers.epochs[-1])
    trial = run.try_seed()
    return Finding(
        "confuses",
        "note",
        f"Confuses {one} with {other}",
        f"After epoch {last} it takes {one} for {other} {int(counts[a, b]):,} times and {other} for {one} "
        f"{int(counts[b, a]):,} times, {int(pairs[a, b]):,} together. If their mistakes fell on each other as "
        f"those of other classes do, it would be {explained[a, b]:.0f} (a pair counts from {CONFUSED:g} times that).",
        f"A run with {trial.what} that confuses them no more than other classes: then it is not the pictures.",
        last,
        {"count": float(pairs[a, b]), "explained": float(explained[a, b])},
        trial,
    )


def overconfident(run: RunLines, answers: Answers) -> Finding | None:
    """Surer than right, after Guo et al. 2017. One that was trained with MSE has no probabilities to judge."""
    epochs = np.asarray(answers.epochs)
    beyond = answers.confidence - answers.accuracies
    rows = (epochs > run.start) & np.isfinite(beyond)
    too_sure = pd.Series(beyond[rows] >= SURE, epochs[rows])
    if run.config.loss == "mse" or len(too_sure) < ENOUGH or not too_sure.iloc[-ENOUGH:].all():
        return None
    since, trial = holds_since(too_sure), regularised(run)
    sure, right = float(answers.confidence[rows][-1]), float(answers.accuracies[rows][-1])
    error = float(answers.calibration_error[rows][-1])
    return Finding(
        "overconfident",
        "note",
        f"Overconfident since epoch {since}",
        f"Its mean confidence is {accuracy(sure)}, yet {accuracy(right)} of the test pictures are right: "
        f"{100 * (sure - right):.1f} points too sure ({100 * SURE:.0f} count), since epoch {since}. The expected "
        f"calibration error is {accuracy(error)}. So the test loss may rise while the accuracy holds.",
        f"A run with {trial.what} that is as sure and no more often right: then it is not the size of the weights.",
        since,
        {"confidence": sure, "test_accuracy": right, "calibration_error": error},
        trial,
    )


def expected(confusion: np.ndarray) -> np.ndarray:
    """[a, b]: how often class a would be taken for b if its mistakes fell on b as those of the other classes do.

    The other classes are all but a and b. On the diagonal it means nothing.
    """
    mistakes = confusion * (1.0 - np.eye(len(confusion)))
    by_class, whole = mistakes.sum(1), mistakes.sum()
    others = whole - by_class[:, None] - by_class
    evenly = np.full(confusion.shape, 1 / (len(confusion) - 1))
    return by_class[:, None] * np.divide(mistakes.sum(0) - mistakes, others, where=others > 0, out=evenly)
