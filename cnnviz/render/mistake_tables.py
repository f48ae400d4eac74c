"""What a network gets wrong, as text for a terminal, as plain data for JSON, and as what findings are made from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from cnnviz.analysis.answers import Answers
from cnnviz.errors import CheckpointError
from cnnviz.inspection import gallery
from cnnviz.inspection.agreement import Pair, pair
from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.mistakes import Mistakes, answers, by_similarity, mistakes
from cnnviz.inspection.network import Prediction
from cnnviz.store.runs import Run
from cnnviz.wording import p_value

LIKELY = 0.05  # a smaller p is seldom luck
MOST_CONFUSED = 5  # pairs of classes that are named


@dataclass(frozen=True)
class Result:
    """A network after an epoch, on the test set."""

    run: Run
    epoch: int
    prediction: Prediction
    labels: Tensor
    classes: Sequence[str]
    mistakes: Mistakes
    calibration: Calibration


def result(run: Run, epoch: int, prediction: Prediction, labels: Tensor, classes: Sequence[str]) -> Result:
    """Raises CheckpointError for a network that has no predictions."""
    found = mistakes(answers(prediction), labels, len(classes))
    sure = calibration(prediction, labels)
    if found is None or sure is None:
        raise CheckpointError(
            f"{run.name} has no predictions after epoch {epoch}, its logits are not finite: choose an earlier --epoch"
        )
    return Result(run, epoch, prediction, labels, classes, found, sure)


def compared(a: Result, b: Result) -> Pair:
    """The two on the same pictures."""
    return pair(answers(a.prediction), answers(b.prediction), a.labels)


def evidence(
    classes: Sequence[str],
    epochs: Sequence[int],
    found: Sequence[Mistakes | None],
    sure: Sequence[Calibration | None],
) -> Answers:
    """What the findings on answers take, of a network after these epochs; None: it has no predictions."""
    nothing = np.zeros((len(classes), len(classes)), int)
    return Answers(
        classes=classes,
        epochs=epochs,
        confusions=np.stack([each.confusion if each else nothing for each in found]),
        confidence=np.array([each.mean_confidence if each else math.nan for each in sure]),
        calibration_error=np.array([each.error if each else math.nan for each in sure]),
    )


# -- JSON ----------------------------------------------------------------------------------------


def as_data(one: Result) -> dict[str, Any]:
    figures = zip(one.mistakes.precision, one.mistakes.recall, one.mistakes.f1, strict=True)
    return {
        "run": one.run.id,
        "epoch": one.epoch,
        "classes": list(one.classes),
        "confusion": one.mistakes.confusion.tolist(),
        "accuracy": one.mistakes.accuracy,
        "ece": one.calibration.error,
        "per_class": {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
            for name, (precision, recall, f1) in zip(one.classes, figures, strict=True)
        },
    }


def pair_as_data(a: Result, b: Result) -> dict[str, Any]:
    found = compared(a, b)
    return {"a": as_data(a), "b": as_data(b), **found.counts(), "p": found.p}


# -- text ----------------------------------------------------------------------------------------


def as_text(one: Result) -> str:
    """Title, confusion matrix with the figures by class beside it, and what is worth a line."""
    return "\n".join([_title(one), "", *_matrix(one), "", *_notes(one)])


def pair_as_text(a: Result, b: Result) -> str:
    """Both, and how they compare."""
    found = compared(a, b)
    one_alone = len(found.only_a) + len(found.only_b)
    counts = [
        f"both right   {len(found.both_right):6,}",
        f"only A right {len(found.only_a):6,}",
        f"only B right {len(found.only_b):6,}",
        f"both wrong   {len(found.both_wrong):6,}",
    ]
    return "\n".join([f"A: {as_text(a)}", "", f"B: {as_text(b)}", "", *counts, "", _verdict(found.p, one_alone)])


def _verdict(p: float, one_alone: int) -> str:
    if not one_alone:
        return "The same pictures are right: there is no difference to test."
    words = "more than luck would explain" if p < LIKELY else "luck may explain the difference"
    return f"McNemar's exact p over the {one_alone:,} pictures that one alone gets right {p_value(p)}: {words}."


def _title(one: Result) -> str:
    total = len(one.labels)
    right = round(one.mistakes.accuracy * total)
    return f"{one.run.name}, epoch {one.epoch}: {one.mistakes.accuracy:.2%}, {right:,} of {total:,} test pictures right"


def _matrix(one: Result) -> list[str]:
    """Rows true, columns predicted."""
    found, width = one.mistakes, max(map(len, one.classes))
    heads = [name[:6] for name in one.classes]
    lines = [f"{'true':{width}}  {' '.join(f'{head:>6}' for head in heads)}   precision  recall      F1"]
    for at, name in enumerate(one.classes):
        cells = " ".join(f"{count:6}" for count in found.confusion[at])
        precision = f"{found.precision[at]:.1%}" if found.predicted[at] else "–"
        lines.append(f"{name:{width}}  {cells}   {precision:>9}  {found.recall[at]:6.1%}  {found.f1[at]:6.1%}")
    return lines


def _notes(one: Result) -> list[str]:
    found, sure, names = one.mistakes, one.calibration, one.classes
    notes = []
    if found.unanswered:
        notes.append(f"{found.unanswered:,} pictures have no prediction: their logits are not finite.")
    if found.always is not None:
        count = found.predicted[found.always]
        notes.append(f"It says {names[found.always]} for everything: {count:,} of {found.predicted.sum():,} answers.")
    else:
        pairs = gallery.confusions(one.prediction, one.labels)[:MOST_CONFUSED]
        if pairs:
            words = (f"{names[true]} → {names[taken_for]} {count:,}" for true, taken_for, count in pairs)
            notes.append(f"Most often confused: {', '.join(words)}.")
        order = (names[at] for at in by_similarity(found.confusion))
        notes.append(f"Classes by similarity, the most confused side by side: {', '.join(order)}.")
    wrong = "" if math.isnan(sure.confidence_wrong) else f", {sure.confidence_wrong:.1%} where it is wrong"
    right = "" if math.isnan(sure.confidence_right) else f": {sure.confidence_right:.1%} where it is right"
    notes.append(
        f"Expected calibration error {sure.error:.2%}; mean confidence {sure.mean_confidence:.1%}{right}{wrong}."
    )
    if one.run.config.loss == "mse":
        notes.append("Trained with MSE, its outputs are no probabilities: the calibration error says little.")
    return notes
