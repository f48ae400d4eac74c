"""Findings on a run's progress, on recorded histories and on drawn ones."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.findings import (
    BASE,
    LOG10,
    accuracy_of,
    alarms,
    drawn,
    falling,
    found,
    noise,
    recorded,
)


@pytest.mark.parametrize(("name", "began"), [("cross_entropy-0.1", 3), ("mse-0.1", 11)])
def test_a_slow_start_is_at_chance_level_until_it_learns(name: str, began: int) -> None:
    for epochs in range(1, 21):
        seen = alarms(*recorded(f"sigmoid-{name}", epochs))
        assert ("chance_level" in seen) == (3 <= epochs < began), epochs
    finding = found(*recorded(f"sigmoid-{name}"))["slow_start"]
    assert finding.epoch == began
    assert "little gradient reached c1" in finding.sentence


def test_long_steps_that_still_get_somewhere_are_not_too_long() -> None:
    loss = np.linspace(LOG10, 0.9, 21)
    history = drawn(train_loss=loss, test_loss=loss, test_accuracy=accuracy_of(loss), update_ratio__c1=[0.03] * 21)
    assert list(found(BASE, history)) == ["still_improving"]


def test_slow_steady_improvement_under_faint_steps_is_a_low_rate() -> None:
    loss = np.linspace(LOG10, 2.0, 21)
    plain = {"train_loss": loss, "test_loss": loss, "test_accuracy": accuracy_of(loss)}
    faint = found(BASE, drawn(**plain, update_ratio__fc7=[0.0] + [3e-5] * 20))["lr_too_low"]
    assert faint.test is not None
    assert faint.test.changes == {"lr": 0.1}
    assert list(found(BASE, drawn(**plain, update_ratio__fc7=[0.0] + [3e-4] * 20))) == ["still_improving"]
    assert list(found(replace(BASE, lr=1.0), drawn(**plain, update_ratio__fc7=[0.0] + [3e-5] * 20))) == [
        "still_improving"
    ]


@pytest.mark.parametrize("epochs", [30, 500])
def test_a_run_that_arrived_has_converged(epochs: int) -> None:
    test = falling(epochs, end=1.1, speed=2) + noise(epochs, 0.005)
    finding = found(BASE, drawn(train_loss=falling(epochs, speed=2), test_loss=test, test_accuracy=accuracy_of(test)))
    assert list(finding) == ["converged"]
    assert finding["converged"].epoch == pytest.approx(9, abs=max(2, epochs // 100))


def test_a_single_epoch_at_chance_is_no_slow_start() -> None:
    assert found(BASE, drawn(test_accuracy=[0.1, 0.1, 0.3, 0.4, 0.5])) == {}
    assert list(found(BASE, drawn(test_accuracy=[0.1, 0.1, 0.1, 0.3, 0.4, 0.5]))) == ["slow_start"]
