"""Which pictures of the test set to look at: by class, at random, a network's mistakes, two networks' disagreements."""

import torch
from torch import Tensor

from cnnviz import data
from cnnviz.inspection.network import Prediction


def at_random(count: int, seed: int) -> Tensor:
    """Every index below count once, int64 (count,), in an order that the seed alone decides."""
    return data.batch_order(seed, 0, count)


def mistakes(prediction: Prediction, labels: Tensor) -> Tensor:
    """Indices of the pictures the network gets wrong, those it is surest of first. Of logits that are not finite the
    class is no class, so those are mistakes too, and come last."""
    wrong = (prediction.classes != labels) | _undecided(prediction)
    return _surest_first(wrong, prediction)


def disagreements(first: Prediction, second: Prediction) -> Tensor:
    """Indices of the pictures two networks call differently, those the first is surest of first."""
    return _surest_first((first.classes != second.classes) | (_undecided(first) ^ _undecided(second)), first)


def _undecided(prediction: Prediction) -> Tensor:
    return ~prediction.logits.isfinite().all(1)


def _surest_first(chosen: Tensor, prediction: Prediction) -> Tensor:
    sureness = prediction.probabilities.amax(1).nan_to_num(-1)
    order = sureness.argsort(descending=True, stable=True)
    return torch.masked_select(order, chosen[order])
