"""What a network gets wrong, in sentences."""

import math
from collections.abc import Sequence

import numpy as np

from cnnviz.analysis.evidence import accuracy
from cnnviz.inspection.calibration import Calibration
from cnnviz.inspection.mistakes import Mistakes

HOLDS = 0.02  # of the pictures: an accuracy within it of its last value holds
APART = 0.05  # confidence and accuracy that differ by less agree, as the finding "overconfident" has it


def headline(found: Mistakes | None, epoch: int, classes: Sequence[str]) -> str:
    """The answer in a sentence or two: how much is right, and the most frequent mistake."""
    when = f"after epoch {epoch}" if epoch else "before training"
    if found is None:
        return f"No predictions {when}: its logits are not finite. Choose an earlier epoch."
    said = int(found.predicted.sum())
    if found.always is not None:
        count = int(found.predicted[found.always])
        words = (
            f"Says {classes[found.always]} for {count:,} of {said:,} pictures {when}: {accuracy(found.accuracy)} right."
        )
    else:
        words = f"{accuracy(found.accuracy)} right {when}. {_most_frequent(found, classes)}"
    return words + (f" {found.unanswered:,} pictures have no prediction." if found.unanswered else "")


def _most_frequent(found: Mistakes, classes: Sequence[str]) -> str:
    wrong = found.confusion * (1 - np.eye(len(classes), dtype=int))
    true, taken = divmod(int(wrong.argmax()), len(classes))
    count, total = int(wrong[true, taken]), int(found.confusion[true].sum())
    if not count:
        return "It makes no mistakes."
    return f"Most often it takes {classes[true]} for {classes[taken]}: {count:,} of {total:,}."


def sureness(found: Calibration) -> str:
    """How sure it is and how often right, where it is right and where it is wrong."""
    parts = [
        f"{accuracy(share)} sure where it is {name}"
        for name, share in (("right", found.confidence_right), ("wrong", found.confidence_wrong))
        if not math.isnan(share)
    ]
    return (
        f"Its mean confidence is {accuracy(found.mean_confidence)} and {accuracy(found.accuracy)} are right: "
        f"{_verdict(found.overconfidence)}. It is on average {' and '.join(parts)}. Expected calibration error "
        f"(Guo et al. 2017): {accuracy(found.error)}, the mean distance of confidence and accuracy."
    )


def _verdict(beyond: float) -> str:
    if abs(beyond) < APART:
        return "about as sure as it should be"
    return f"{100 * abs(beyond):.1f} points {'too sure' if beyond > 0 else 'not sure enough'}"


def drift(epochs: Sequence[int], found: Sequence[Calibration | None]) -> str:
    """What confidence did over the epochs while accuracy held, in a sentence."""
    known = [(epoch, each) for epoch, each in zip(epochs, found, strict=True) if epoch and each is not None]
    if len(known) < 2:
        return "One epoch was kept: how confidence changed cannot be seen."
    last, end = known[-1]
    broken = [place for place, (_, each) in enumerate(known) if abs(each.accuracy - end.accuracy) > HOLDS]
    since, start = known[broken[-1] + 1 if broken else 0]
    if end.overconfidence < -APART:
        return (
            f"After epoch {last} it is still {100 * -end.overconfidence:.1f} points less sure than right: more "
            "training lowers the loss even where no answer changes."
        )
    if end.overconfidence < APART:
        return f"Confidence keeps to accuracy: after epoch {last} they are {_points(end.overconfidence)} apart."
    if since < last and end.mean_confidence > start.mean_confidence + HOLDS:
        return (
            f"From epoch {since} to {last} accuracy held ({accuracy(start.accuracy)}, then {accuracy(end.accuracy)}) "
            f"while mean confidence rose from {accuracy(start.mean_confidence)} to {accuracy(end.mean_confidence)}: "
            "wrong answers are given with more confidence, which is how a test loss rises while accuracy holds."
        )
    return f"After epoch {last} it is {_points(end.overconfidence)} surer than right."


def _points(share: float) -> str:
    return f"{100 * abs(share):.1f} points"
