"""Matrices and figures by class against scikit-learn's on answers of plain PyTorch, and by counting."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import architecture, build, initial_weights
from cnnviz.inspection.mistakes import NO_ANSWER, answers, by_similarity, difference, mistakes, shares
from cnnviz.inspection.network import Prediction, load_network, predict


def drawn(answers_of: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right half of the time, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, answers_of)
    return np.where(random.random(answers_of) < 0.5, labels, random.integers(0, 10, answers_of)), labels


def test_real_pictures_through_plain_pytorch(cifar10_root: object) -> None:
    dataset = data.load_test("cifar10")
    images, labels = dataset.test_images[:1000], dataset.test_labels[:1000]
    arch = architecture("lenet5x5")
    weights = {name: 2 * each for name, each in initial_weights(arch, 3).items()}
    found = mistakes(answers(predict(load_network(arch, "tanh", "max", weights), images)), labels, 10)
    assert found is not None
    module = build(arch, "tanh", "max")
    module.load_state_dict(weights)
    with torch.no_grad():
        expected = module((images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5).argmax(1).numpy()
    assert np.array_equal(found.confusion, metrics.confusion_matrix(labels, expected, labels=range(10)))
    report = metrics.classification_report(labels, expected, output_dict=True, zero_division=0, labels=range(10))
    for name in range(10):
        row = (found.precision[name], found.recall[name], found.f1[name])
        assert row == tuple(report[str(name)][key] for key in ("precision", "recall", "f1-score"))
    assert found.accuracy == (labels.numpy() == expected).mean()


def test_figures_by_counting() -> None:
    given, labels = drawn(500)
    found = mistakes(given, torch.from_numpy(labels), 10)
    assert found is not None
    for true in range(10):
        for taken_for in range(10):
            count = sum(1 for one, label in zip(given, labels, strict=True) if (label, one) == (true, taken_for))
            assert found.confusion[true, taken_for] == count
            assert found.by("true")[true, taken_for] == count / sum(labels == true)
            assert found.by("predicted")[true, taken_for] == count / sum(given == taken_for)
    assert np.array_equal(found.by("count"), found.confusion)
    assert (found.unanswered, found.always) == (0, None)


def test_a_class_that_is_never_predicted_has_no_shares() -> None:
    found = mistakes(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert found is not None
    assert np.isnan(found.by("predicted")[:, 2]).all()
    assert (found.precision[2], found.recall[2], found.f1[2]) == (0, 0, 0)
    assert np.isnan(shares(np.diag([3, 0]), "true")[1]).all()


def test_what_is_not_finite_is_no_answer() -> None:
    logits = torch.zeros(4, 10)
    logits[0, 3] = logits[1, 4] = 1
    logits[2, 5], logits[3, 6] = math.inf, math.nan
    given = answers(Prediction(logits))
    assert given.tolist() == [3, 4, NO_ANSWER, NO_ANSWER]
    found = mistakes(given, torch.tensor([3, 3, 5, 6]), 10)
    assert found is not None
    assert (found.unanswered, found.accuracy, found.confusion.sum()) == (2, 0.25, 2)
    assert (found.recall[3], found.recall[5]) == (0.5, 0)
    assert mistakes(answers(Prediction(logits[2:])), torch.tensor([5, 6]), 10) is None


@pytest.mark.parametrize(("others", "says"), [(0, 7), (9, 7), (11, None)])
def test_one_class_for_everything_is_named(others: int, says: int | None) -> None:
    given, labels = np.full(1000, 7), np.arange(1000) % 10
    given[:others] = 2
    found = mistakes(given, labels, 10)
    assert found is not None
    assert found.always == says


def test_a_difference_is_the_second_less_the_first() -> None:
    first, second = (metrics.confusion_matrix(*drawn(300, seed)[::-1]) for seed in (1, 2))
    assert np.array_equal(difference(first, second), second - first)
    rows = difference(first, second, "true")
    assert rows[2, 3] == second[2, 3] / second[2].sum() - first[2, 3] / first[2].sum()


def test_classes_that_are_taken_for_one_another_stand_side_by_side() -> None:
    confusion = np.diag([100] * 6)
    for one, other in ((0, 3), (1, 5), (2, 4), (3, 5)):
        confusion[one, other] = 60 if (one, other) != (3, 5) else 10
    order = by_similarity(confusion)
    assert sorted(order) == list(range(6))
    for one, other in ((0, 3), (1, 5), (2, 4), (3, 5)):
        assert abs(order.index(one) - order.index(other)) == 1
    assert sorted(by_similarity(np.zeros((6, 6), int))) == list(range(6)), "of no pictures"


def test_labels_may_be_tensors_or_arrays() -> None:
    given, labels = drawn(50)
    kinds: list[Tensor | np.ndarray] = [labels, torch.from_numpy(labels)]
    one, other = (mistakes(given, each, 10) for each in kinds)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.confusion, other.confusion)
