"""Which pictures of the test set to look at: at random, a network's mistakes, two networks' disagreements."""

from collections.abc import Sequence

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
    wrong = (prediction.classes != labels) | ~prediction.decided
    return _by_confidence(wrong, prediction)


def disagreements(first: Prediction, second: Prediction) -> Tensor:
    """Indices, int64, of the pictures that two networks classify differently, by the first one's confidence."""
    return _by_confidence((first.classes != second.classes) | (first.decided ^ second.decided), first)


def confusions(prediction: Prediction, labels: Tensor) -> list[tuple[int, int, int]]:
    """(class, what it is taken for, how many times) of every pair of classes confused at all, the most frequent first.

    Pictures for which no class is predicted are left out.
    """
    wrong = mistakes(prediction, labels)
    wrong = wrong[prediction.decided[wrong]]
    pairs, counts = torch.stack([labels[wrong], prediction.classes[wrong]], 1).unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return [(*pair, count) for pair, count in zip(pairs[order].tolist(), counts[order].tolist(), strict=True)]


def confused(prediction: Prediction, labels: Tensor, true: int, taken_for: int) -> Tensor:
    """Indices, int64, of the pictures of one class that are taken for another, the most confident first.

    A cell of the confusion matrix: with the same class twice, those that the network gets right.
    """
    cell = (labels == true) & (prediction.classes == taken_for) & prediction.decided
    return _by_confidence(cell, prediction)


def verdict(prediction: Prediction, index: int, label: int | None, classes: Sequence[str]) -> str:
    """What a picture is taken for: "✗ frog 51 % (it is a cat)", "✓ cat 71 %", without a label "cat 71 %"."""
    what = "" if label is None else f" ({truth(label, classes)})"
    if not bool(prediction.decided[index]):
        return f"✗ no class, the logits are not finite{what}"
    best = int(prediction.classes[index])
    words = f"{classes[best]} {100 * float(prediction.probabilities[index, best]):.0f} %"
    if label is None:
        return words
    return f"✓ {words}" if best == label else f"✗ {words}{what}"


def truth(label: int, classes: Sequence[str]) -> str:
    """
    >>> truth(0, ["airplane"])
    'it is an airplane'
    """
    return f"it is {'an' if classes[label][0] in 'aeiou' else 'a'} {classes[label]}"


def _by_confidence(chosen: Tensor, prediction: Prediction) -> Tensor:
    confidence = prediction.confidence.nan_to_num(-1)
    order = confidence.argsort(descending=True, stable=True)
    return torch.masked_select(order, chosen[order])
