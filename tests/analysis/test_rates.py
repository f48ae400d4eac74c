"""Findings on what a schedule does, on drawn curves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cnnviz.config import RunConfig
from tests.helpers.findings import BASE, LOG10, drawn, found, noise

STEP = replace(BASE, schedule="step", epochs=20)


def dropping(config: RunConfig, drop: float, deviation: float = 0.01, middle: bool = False) -> pd.DataFrame:
    """A train loss that falls more and more slowly, and by that much where the rate is divided by ten, at epoch 11."""
    epochs = np.arange(21)
    loss = 1.2 + (LOG10 - 1.2) * np.exp(-epochs / 2.5) - drop * (epochs >= 11) + noise(20, deviation)
    rates = config.lr * np.where(epochs <= 10, 1.0, np.where(epochs <= 15, 0.1, 0.01))
    if middle:
        rates[11] = config.lr * 0.55
    return drawn(train_loss=loss, learning_rate=rates)


@pytest.mark.parametrize("middle", [False, True])
def test_a_loss_that_drops_where_the_rate_falls_is_told(middle: bool) -> None:
    finding = found(STEP, dropping(STEP, 0.3, middle=middle))["rate_drop"]
    assert (finding.severity, finding.epoch) == ("note", 11)
    assert finding.title == "The schedule's step at epoch 11 lowers the loss"
    assert "falls from 0.01 to 0.001" in finding.sentence
    assert finding.test is not None
    assert finding.test.config(STEP).schedule == "constant"


@pytest.mark.parametrize("deviation", [0.0, 0.01, 0.05])
def test_no_drop_is_told_of_none(deviation: float) -> None:
    assert "rate_drop" not in found(STEP, dropping(STEP, 0.0, deviation))
    steady = np.linspace(LOG10, 0.5, 21) + noise(20, deviation)
    rates = STEP.lr * np.where(np.arange(21) <= 10, 1.0, 0.1)
    assert "rate_drop" not in found(STEP, drawn(train_loss=steady, learning_rate=rates))


def test_without_steps_nothing_is_told_of_them() -> None:
    for schedule in ("constant", "cosine", "one-cycle"):
        assert "rate_drop" not in found(replace(BASE, schedule=schedule), dropping(STEP, 0.3))


def test_a_run_that_patience_ended_says_when_and_why() -> None:
    config = replace(BASE, validation=5000, patience=3, epochs=20)
    losses = [LOG10, 2.0, 1.5, 1.4, 1.45, 1.5, 1.6]
    finding = found(config, drawn(val_loss=losses, train_loss=losses, test_loss=losses))["stopped_early"]
    assert (finding.title, finding.epoch) == ("Stopped early at epoch 6", 6)
    assert "lowest at epoch 3, 1.4, and in none of the 3 epochs after it" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"patience": 0}
    for other, line in (
        (config, losses[:-1]),
        (replace(config, epochs=6), losses),
        (replace(config, patience=0), losses),
    ):
        assert "stopped_early" not in found(other, drawn(val_loss=line, train_loss=line, test_loss=line))
