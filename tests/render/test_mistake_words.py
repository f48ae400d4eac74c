"""What a network gets wrong, in sentences."""

from dataclasses import replace

import numpy as np
import torch

from cnnviz.inspection.calibration import Calibration, calibration
from cnnviz.inspection.mistakes import NO_ANSWER, mistakes
from cnnviz.inspection.network import Prediction
from cnnviz.render.mistake_words import drift, headline, sureness

CLASSES = ("cat", "dog", "frog")
LABELS = np.repeat([0, 1, 2], 100)


def said(given: np.ndarray, epoch: int = 20) -> str:
    return headline(mistakes(given, LABELS, 3), epoch, CLASSES)


def test_the_most_frequent_mistake_is_named() -> None:
    given = LABELS.copy()
    given[:31] = 1
    given[100:120] = 2
    assert said(given) == "83.0 % right after epoch 20. Most often it takes cat for dog: 31 of 100."
    assert said(LABELS, 0) == "100.0 % right before training. It makes no mistakes."


def test_one_class_for_everything_and_no_answer_are_said() -> None:
    given = np.full(300, 2)
    given[0] = 1
    assert said(given, 3) == "Says frog for 299 of 300 pictures after epoch 3: 33.3 % right."
    assert said(np.full(300, NO_ANSWER), 3).startswith("No predictions after epoch 3: its logits are not finite.")
    given = LABELS.copy()
    given[:10] = NO_ANSWER
    assert said(given).endswith("10 pictures have no prediction.")


def made(sure: float, right: float) -> Calibration:
    """A thousand pictures, all of that confidence, so many of them right."""
    logits = torch.tensor([[np.log(sure / (1 - sure)), 0.0]]).repeat(1000, 1)
    found = calibration(Prediction(logits), (torch.arange(1000) >= round(1000 * right)).long())
    assert found is not None
    return found


def test_sureness_has_the_figures_and_the_verdict() -> None:
    words = sureness(made(0.9, 0.6))
    assert "mean confidence is 90.0 % and 60.0 % are right: 30.0 points too sure." in words
    assert "(Guo et al. 2017): 30.0 %" in words
    assert "about as sure as it should be" in sureness(made(0.62, 0.6))
    assert "8.0 points not sure enough" in sureness(made(0.6, 0.68))
    every = replace(made(0.9, 1.0), confidence_wrong=float("nan"))
    assert "90.0 % sure where it is right. Expected" in sureness(every)


def test_why_the_loss_rises_is_said_of_rising_confidence_alone() -> None:
    untrained, before, after = made(0.51, 0.1), made(0.63, 0.61), made(0.81, 0.62)
    words = drift([0, 1, 2, 3], [untrained, made(0.55, 0.5), before, after])
    assert "From epoch 2 to 3 accuracy held (61.0 %, then 62.0 %)" in words
    assert "rose from 63.0 % to 81.0 %" in words
    assert "they are 2.0 points apart" in drift([0, 1, 2], [untrained, made(0.55, 0.5), before])
    assert "less sure than right" in drift([1, 2], [before, made(0.6, 0.7)])
    assert "19.0 points surer than right" in drift([1, 2], [after, after])
    assert "One epoch was kept" in drift([0, 5], [untrained, after])
    assert "One epoch was kept" in drift([4, 5], [before, None])
