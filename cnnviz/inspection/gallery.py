"""Which pictures of the test set to look at: at random, a network's mistakes, two networks' disagreements."""

import torch
from torch import Tensor

from cnnviz import data
from cnnviz.inspection.network import Prediction


def at_random(count: int, seed: int) -> Tensor:
    """Every index below count once, int64 (count,), in an order that depends on the seed alone."""
    return data.batch_order(seed, 0, count)


def mistakes(prediction: Prediction, labels: Tensor) -> Tensor:
    """Indices, int64, of the pictures that the network gets wrong, the most confident mistakes first.

    labels: (N,). Logits that are not finite predict no class: they are mistakes too, and come last.
    """
    wrong = (prediction.classes != labels) | _undecided(prediction)
    return _by_confidence(wrong, prediction)


def disagreements(first: Prediction, second: Prediction) -> Tensor:
    """Indices, int64, of the pictures that two networks classify differently, by the first one's confidence."""
    return _by_confidence((first.classes != second.classes) | (_undecided(first) ^ _undecided(second)), first)


def _undecided(prediction: Prediction) -> Tensor:
    return ~prediction.logits.isfinite().all(1)


def _by_confidence(chosen: Tensor, prediction: Prediction) -> Tensor:
    confidence = prediction.probabilities.amax(1).nan_to_num(-1)
    order = confidence.argsort(descending=True, stable=True)
    return torch.masked_select(order, chosen[order])
