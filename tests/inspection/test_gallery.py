"""The right pictures in the right order."""

import math

import torch

from cnnviz.inspection.gallery import at_random, confused, confusions, disagreements, mistakes, verdict
from cnnviz.inspection.network import Prediction


def logits(*rows: tuple[int, float]) -> Prediction:
    """One picture a row: its class and how sure the network is of it."""
    table = torch.zeros(len(rows), 10)
    for index, (chosen, sure) in enumerate(rows):
        table[index, chosen] = sure
    return Prediction(table)


def test_mistakes_come_the_surest_first() -> None:
    prediction = logits((1, 2.0), (2, 1.0), (3, 5.0), (4, 9.0), (5, math.nan))
    assert mistakes(prediction, torch.tensor([1, 0, 0, 4, 5])).tolist() == [2, 1, 4]


def test_confusions_are_counted_and_found_again() -> None:
    prediction = logits((1, 2.0), (2, 1.0), (1, 5.0), (1, 3.0), (4, 9.0), (1, math.nan))
    labels = torch.tensor([0, 0, 0, 3, 4, 0])
    assert confusions(prediction, labels) == [(0, 1, 2), (0, 2, 1), (3, 1, 1)]
    assert confused(prediction, labels, 0, 1).tolist() == [2, 0]
    assert confused(prediction, labels, 1, 0).tolist() == []
    assert confusions(logits((4, 9.0)), torch.tensor([4])) == []


def test_a_verdict_is_what_it_was_taken_for_and_what_it_is() -> None:
    classes = ["airplane", "cat", "frog", *"defghij"]
    prediction = logits((2, 2.25), (1, 9.0), (0, math.inf))
    assert verdict(prediction, 0, 1, classes) == "✗ frog 51 % (it is a cat)"
    assert verdict(prediction, 0, 0, classes) == "✗ frog 51 % (it is an airplane)"
    assert verdict(prediction, 1, 1, classes) == "✓ cat 100 %"
    assert verdict(prediction, 0, None, classes) == "frog 51 %"
    assert verdict(prediction, 2, 1, classes) == "✗ no class, the logits are not finite (it is a cat)"


def test_a_cell_of_the_matrix_the_surest_first() -> None:
    prediction = logits((1, 2.0), (1, 5.0), (1, 3.0), (1, 4.0), (1, math.nan))
    labels = torch.tensor([1, 1, 0, 0, 1])
    assert confused(prediction, labels, 1, 1).tolist() == [1, 0]
    assert confused(prediction, labels, 0, 1).tolist() == [3, 2]
    assert confused(prediction, labels, 1, 0).tolist() == []


def test_disagreements_need_two_opinions() -> None:
    first = logits((1, 2.0), (2, 1.0), (3, 5.0), (4, math.nan))
    second = logits((1, 9.0), (3, 1.0), (4, 1.0), (4, math.nan))
    assert disagreements(first, second).tolist() == [2, 1]
    assert disagreements(first, first).tolist() == []


def test_random_pictures_are_those_of_the_seed() -> None:
    assert at_random(50, 3).tolist() == at_random(50, 3).tolist() != at_random(50, 4).tolist()
    assert sorted(at_random(50, 3).tolist()) == list(range(50))
