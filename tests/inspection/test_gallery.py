"""The right pictures in the right order."""

import math

import torch

from cnnviz.inspection.gallery import at_random, disagreements, mistakes
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


def test_disagreements_need_two_opinions() -> None:
    first = logits((1, 2.0), (2, 1.0), (3, 5.0), (4, math.nan))
    second = logits((1, 9.0), (3, 1.0), (4, 1.0), (4, math.nan))
    assert disagreements(first, second).tolist() == [2, 1]
    assert disagreements(first, first).tolist() == []


def test_random_pictures_are_those_of_the_seed() -> None:
    assert at_random(50, 3).tolist() == at_random(50, 3).tolist() != at_random(50, 4).tolist()
    assert sorted(at_random(50, 3).tolist()) == list(range(50))
