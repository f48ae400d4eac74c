"""Findings on training and evaluation mode, on drawn curves that must show them and near misses that must not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cnnviz.config import RunConfig
from tests.helpers.findings import BASE, LOG10, drawn, found, noise

EPOCHS = 20
DROPPED = replace(BASE, dropout=0.5, limit_train=5000)


def learned(train: float, test: float, exact: float = 0.0, deviation: float = 0.003) -> pd.DataFrame:
    """Accuracies that come to these levels in a few epochs."""
    share = 1 - np.exp(-np.arange(EPOCHS + 1) / 3)
    lines = {
        "train_accuracy": 0.1 + (train - 0.1) * share + noise(EPOCHS, deviation, 1),
        "test_accuracy": 0.1 + (test - 0.1) * share + noise(EPOCHS, deviation, 2),
        "train_loss": LOG10 - share,
        "test_loss": LOG10 - 1.1 * share,
    }
    return drawn(**lines, **({"train_accuracy_exact": [0.1] * EPOCHS + [exact]} if exact else {}))


@pytest.mark.parametrize(
    ("change", "title", "trial"),
    [
        ({"dropout": 0.5}, "Dropout makes train look worse than test", {"dropout": 0.0}),
        ({"augment": "flip+shift"}, "Augmentation makes train look worse than test", {"augment": "none"}),
        (
            {"dropout": 0.3, "augment": "flip"},
            "Dropout and augmentation make train look worse than test",
            {"dropout": 0.0},
        ),
    ],
)
def test_what_makes_training_harder_explains_the_negative_gap(
    change: dict[str, object], title: str, trial: dict[str, object]
) -> None:
    finding = found(replace(BASE, limit_train=5000, **change), learned(0.5, 0.6, 0.72))["harder_training"]  # type: ignore[arg-type]
    assert (finding.severity, finding.title) == ("note", title)
    assert "72.0 % of the training pictures are right" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == trial
    assert len(finding.more) == len(change) - 1


@pytest.mark.parametrize(
    ("config", "train", "test"),
    [
        (replace(BASE, limit_train=5000), 0.5, 0.6),  # nothing that would explain it
        (DROPPED, 0.6, 0.6),
        (DROPPED, 0.59, 0.6),  # within noise
        (DROPPED, 0.7, 0.6),
        (DROPPED, 0.05, 0.1),  # has learned nothing
        (replace(DROPPED, mistake="no-eval"), 0.5, 0.6),
    ],
)
def test_no_gap_or_none_to_explain_is_not_told(config: RunConfig, train: float, test: float) -> None:
    assert "harder_training" not in found(config, learned(train, test))


def test_the_lag_of_a_mean_over_an_epoch_is_no_gap() -> None:
    """Both learn fast, and the train figure is that of the middle of its epoch."""
    test = np.linspace(0.1, 0.7, EPOCHS + 1)
    train = np.r_[0.1, (test[:-1] + test[1:]) / 2]
    assert "harder_training" not in found(DROPPED, drawn(train_accuracy=train, test_accuracy=test))


def test_a_test_in_training_mode_is_told_from_the_settings_with_figures() -> None:
    config = replace(DROPPED, mistake="no-eval", batch_norm="on")
    finding = found(config, learned(0.5, 0.45, 0.52))["training_mode"]
    assert (finding.severity, finding.title) == ("alarm", "Evaluated in training mode")
    assert "Its settings say so" in finding.sentence
    assert "with 0.5 of the units switched off and batch norm by each test batch" in finding.sentence
    assert "52.0 % are right when tested with the last weights" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"mistake": "none"}
    assert "training_mode" not in found(DROPPED, learned(0.5, 0.45, 0.52))
