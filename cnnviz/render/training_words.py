"""Training mode beside evaluation mode, in sentences."""

from collections.abc import Sequence

from torch import Tensor

from cnnviz.inspection.network import Prediction
from cnnviz.inspection.training_mode import Spread, Statistics, Step
from cnnviz.wording import count, percent


def answer(step: Step, spread: Spread | None, true: int | None, classes: Sequence[str]) -> str:
    """The picture's prediction in both modes: "cat with 62 % in evaluation mode. Under 30 masks 31 to 78 %, 55 % on
    average; 24 of them say cat."."""
    evaluated = Prediction(next(reversed(step.evaluated.values()))[None])
    if not bool(evaluated.decided[0] and step.prediction.decided[0]):
        return "The logits are not finite: choose an earlier epoch"
    index = int(evaluated.classes[0])
    name = classes[index]
    mark = "" if true is None else ", right" if index == true else ", wrong"
    said = f"In evaluation mode: {name} with {percent(float(evaluated.confidence[0]), 0)}{mark}."
    if spread is not None:
        shares, masks = spread.shares(index), len(spread.masked.logits)
        low, high = 100 * float(shares.min()), 100 * float(shares.max())
        mean = percent(float(shares.mean()), 0)
        return (
            f"{said} Under {masks} dropout masks: {low:.0f} to {percent(high / 100, 0)}, {mean} on average; "
            f"{spread.agreeing} of them say {name}."
        )
    other, share = step.prediction.top(1)[0][0]
    same = float(step.prediction.probabilities[0, index])
    now = f"{name} with {percent(same, 0)}" if other == index else f"{classes[other]} with {percent(share, 0)}"
    return f"{said} Normalised by a batch of training: {now}."


def pair(kind: str) -> tuple[str, str]:
    """What stands above the maps of evaluation mode and those of training mode."""
    if kind == "dropout":
        return "evaluation mode, nothing dropped", "training mode, crossed out or grey: dropped"
    return "evaluation mode, by the running mean and deviation", "training mode, by the batch's mean and deviation"


def masking(mask: Tensor, share: float) -> str:
    """What a mask does: "58 of 120 units are set to zero (p = 0.5); the others are multiplied by 1 / (1 - p) = 2."."""
    zero, what = int((mask == 0).sum()), "units" if mask.ndim == 1 else "cells"
    return (
        f"{zero:,} of {mask.numel():,} {what} are set to zero (p = {share:g}); the others are multiplied by "
        f"1 / (1 − p) = {1 / (1 - share):.3g}, so that the sum stays the same on average."
    )


def dropped(mask: Tensor) -> str:
    """For a screen reader: "Set to zero: 0, 3, 4", or how many cells of each map."""
    if mask.ndim == 1:
        return f"Set to zero: {', '.join(map(str, (mask == 0).nonzero().flatten().tolist())) or 'none'}"
    return f"{int((mask == 0).sum()):,} of {mask.numel():,} cells set to zero"


def statistics(its: Statistics) -> str:
    """How far the batch's figures are from the running ones."""
    furthest = int(its.shift.abs().argmax())
    return (
        f"The batch's means lie up to {float(its.shift.abs().max()):.2g} running deviations from the running means "
        f"(channel {furthest}); its deviations are {float(its.ratio.min()):.2f} to {float(its.ratio.max()):.2f} times "
        f"the running ones, over {count(len(its.mean), 'channel')}."
    )
