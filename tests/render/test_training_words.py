"""Training mode in sentences."""

import torch

from cnnviz.inspection.network import Prediction
from cnnviz.inspection.training_mode import Spread, Statistics, Step
from cnnviz.render import training_words

CLASSES = ("cat", "dog")


def step(evaluated: list[float], trained: list[float]) -> Step:
    """With these probabilities."""
    logits = [torch.tensor(each).log() for each in (trained, evaluated)]
    return Step(2, 1, 10, {"fc6": logits[0]}, {"fc6": logits[1]}, {}, ())


def test_the_answer_is_the_prediction_in_both_modes() -> None:
    masked = Prediction(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]).log())
    spread = Spread(Prediction(torch.tensor([[0.7, 0.3]]).log()), masked)
    assert training_words.answer(step([0.7, 0.3], [0.4, 0.6]), spread, 0, CLASSES) == (
        "In evaluation mode: cat with 70 %, right. Under 3 dropout masks: 40 to 90 %, 70 % on average; "
        "2 of them say cat."
    )
    assert training_words.answer(step([0.7, 0.3], [0.4, 0.6]), None, 1, CLASSES) == (
        "In evaluation mode: cat with 70 %, wrong. Normalised by a batch of training: dog with 60 %."
    )
    assert "cat with 70 %. Normalised by a batch of training: cat with 80 %." in training_words.answer(
        step([0.7, 0.3], [0.8, 0.2]), None, None, CLASSES
    )
    assert "not finite" in training_words.answer(step([float("nan"), 0.3], [0.4, 0.6]), None, 0, CLASSES)


def test_masks_and_statistics_are_counted() -> None:
    mask = torch.tensor([0.0, 2.0, 0.0, 2.0])
    assert training_words.masking(mask, 0.5).startswith("2 of 4 units are set to zero (p = 0.5)")
    assert training_words.dropped(mask) == "Set to zero: 0, 2"
    assert training_words.dropped(torch.ones(2)) == "Set to zero: none"
    assert training_words.dropped(mask.view(1, 2, 2)) == "2 of 4 cells set to zero"
    its = Statistics("c1", torch.tensor([1.0, 3.0]), torch.tensor([1.0, 4.0]), torch.ones(2), torch.tensor([2.0, 4.0]))
    assert training_words.statistics(its) == (
        "The batch's means lie up to 0.5 running deviations from the running means (channel 1); its deviations are "
        "0.50 to 1.00 times the running ones, over 2 channels."
    )
