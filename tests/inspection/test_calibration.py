"""The expected calibration error against loops, scikit-learn's calibration curve and cases that are known."""

import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from cnnviz.inspection.calibration import BINS, calibration
from cnnviz.inspection.network import Prediction


def naive(prediction: Prediction, labels: torch.Tensor) -> float:
    """Guo et al.'s formula, picture by picture."""
    total, pairs = 0.0, []
    for row, label in zip(prediction.probabilities.tolist(), labels.tolist(), strict=True):
        pairs.append((max(row), row.index(max(row)) == label))
    for index in range(BINS):
        inside = [pair for pair in pairs if index / BINS < pair[0] <= (index + 1) / BINS]
        if inside:
            gap = sum(right for _, right in inside) / len(inside) - sum(sure for sure, _ in inside) / len(inside)
            total += len(inside) / len(pairs) * abs(gap)
    return total


@pytest.mark.parametrize("scale", [0.3, 2.0, 20.0])
def test_it_is_guos(scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    prediction = Prediction(scale * torch.randn(2000, 10, generator=generator))
    labels = torch.where(torch.arange(2000) % 3 > 0, prediction.classes, (prediction.classes + 1) % 10)
    found = calibration(prediction, labels)
    assert found is not None
    assert found.error == pytest.approx(naive(prediction, labels), abs=1e-12)
    right = (prediction.classes == labels).numpy()
    best = prediction.probabilities.max(1).values.double().numpy()
    accuracies, confidences = calibration_curve(right, best, n_bins=BINS)
    full = found.counts > 0
    np.testing.assert_allclose(found.accuracies[full], accuracies)
    np.testing.assert_allclose(found.confidence[full], confidences)
    assert np.isnan(found.accuracies[~full]).all()
    assert np.isnan(found.confidence[~full]).all()
    assert (found.right.sum(), found.wrong.sum()) == (right.sum(), (~right).sum())
    assert found.overconfidence == pytest.approx(best.mean() - right.mean())
    assert found.confidence_right == pytest.approx(best[right].mean())
    assert found.confidence_wrong == pytest.approx(best[~right].mean())


def test_sure_and_right_or_wrong() -> None:
    prediction = Prediction(1000 * torch.eye(10))
    right, wrong = (calibration(prediction, (torch.arange(10) + shift) % 10) for shift in (0, 1))
    assert right is not None
    assert wrong is not None
    assert (right.error, right.overconfidence, wrong.error, wrong.overconfidence) == (0, 0, 1, 1)
    assert right.right[-1] == wrong.wrong[-1] == 10
    assert math.isnan(right.confidence_wrong)
    assert math.isnan(wrong.confidence_right)


def test_what_has_no_answer_is_left_out() -> None:
    logits = torch.zeros(3, 10)
    logits[0, 4], logits[2] = 1000.0, math.nan
    found = calibration(Prediction(logits), torch.tensor([4, 1, 0]))
    assert found is not None
    assert found.counts.sum() == 2
    assert found.mean_confidence == pytest.approx(0.55)
    assert found.error == pytest.approx(0.05), "0.1 sure, and wrong, and 1, and right"
    assert calibration(Prediction(logits[2:]), torch.tensor([0])) is None
