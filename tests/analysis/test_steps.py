"""Findings on steps that are too long, on recorded runs and on drawn ones."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cnnviz.analysis.findings import diagnose
from cnnviz.config import RunConfig
from tests.helpers.findings import (
    BASE,
    LOG10,
    Line,
    accuracy_of,
    alarms,
    drawn,
    falling,
    forked,
    found,
    noise,
    recorded,
)


def test_a_rate_too_high_is_known_by_its_steps_and_its_stalled_loss() -> None:
    finding = found(*recorded("tanh-cross_entropy-0.1"))["lr_too_high"]
    assert "fc7 by 4.3 % of its weights" in finding.sentence
    assert "stalled at 1.25" in finding.sentence
    assert finding.test is not None
    assert finding.test.config(RunConfig(lr=0.1)) == RunConfig(lr=0.01)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_run_has_that_finding_alone(value: float) -> None:
    loss = [LOG10, 2.4, 9.0, value, value, value]
    history = drawn(train_loss=loss, test_loss=loss, test_accuracy=[0.1] * 6, update_ratio__c1=[0, 0.2, 4, *loss[3:]])
    (finding,) = diagnose(BASE, history)
    assert (finding.kind, finding.epoch, finding.severity) == ("diverged", 2, "alarm")
    assert "from epoch 3 on, having left 2.4, its value at epoch 1, for 9:" in finding.sentence
    assert ("not a number" in finding.sentence) == math.isnan(value)
    assert finding.test is not None
    assert finding.test.changes == {"lr": 0.001}


def test_a_loss_that_exploded_has_diverged_though_it_is_finite() -> None:
    finding = found(BASE, drawn(train_loss=[LOG10, 2.0, 300.0, 1e9, 1e20, 1e30]))["diverged"]
    assert finding.epoch == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("metric", ["train_loss", "test_loss"])
def test_a_loss_that_overflowed_and_is_finite_again_is_noted(metric: str, value: float) -> None:
    lines = {"train_loss": falling(12, end=0.9), "test_loss": falling(12)}
    lines[metric][2] = value
    findings = found(BASE, drawn(**lines))
    gap = findings["gap"]
    assert (gap.severity, gap.epoch) == ("note", 2)
    assert {finding.severity for finding in findings.values()} == {"note"}
    name = metric.replace("_", " ")
    assert gap.title == f"The {name} was {'not a number' if math.isnan(value) else 'infinite'} at epoch 2"
    assert f"is {lines[metric][3]:.3g} at epoch 3" in gap.sentence
    lines[metric][3:5] = value
    assert "at 3 epochs, 2 to 4" in found(BASE, drawn(**lines))["gap"].title


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_train_loss_that_just_overflowed_while_the_test_loss_is_finite_has_not_diverged(value: float) -> None:
    """The test loss is of the weights at the end of the epoch, so that they are finite. Not the other way about."""
    lines = {"train_loss": falling(12, end=0.9), "test_loss": falling(12)}
    lines["train_loss"][12] = value
    findings = found(BASE, drawn(**lines))
    assert "diverged" not in findings
    assert f"and the test loss is {lines['test_loss'][12]:.3g} at epoch 12." in findings["gap"].sentence
    lines["test_loss"][12] = value
    assert list(found(BASE, drawn(**lines))) == ["diverged"]
    lines["train_loss"][12] = 1.0
    assert list(found(BASE, drawn(**lines))) == ["diverged"]


def test_bouncing_is_a_rate_too_high_even_without_update_ratios() -> None:
    loss = falling(20, end=1.2)
    loss[4::2] *= 1.3
    finding = found(BASE, drawn(train_loss=loss, test_loss=loss))["lr_too_high"]
    assert "rose by more than 12 % in" in finding.sentence
    assert finding.epoch == 4


def test_a_noisy_plateau_is_too_high_only_with_long_steps() -> None:
    train, test = falling(30, end=1.2, speed=2) + noise(30, 0.005), falling(30, end=1.3, speed=2) + noise(30, 0.02, 1)
    plain = {"train_loss": train, "test_loss": test, "test_accuracy": accuracy_of(test)}
    assert list(found(BASE, drawn(**plain, update_ratio__fc7=[0.0] + [0.001] * 30))) == ["converged"]
    assert list(found(BASE, drawn(**plain, update_ratio__fc7=[0.0] + [0.03] * 30))) == ["lr_too_high"]


def test_a_loss_that_arrived_near_0_has_not_stalled() -> None:
    lines: dict[str, Line] = {"train_loss": falling(30, end=0.02, speed=2), "update_ratio__c1": [0.03] * 31}
    assert alarms(BASE, drawn(**lines, train_accuracy=np.linspace(0.9, 0.99, 31))) == set()
    assert alarms(BASE, drawn(**lines, train_accuracy=np.linspace(0.3, 0.6, 31))) == {"lr_too_high"}


@pytest.mark.parametrize("end", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("climb", "epoch"),
    [
        ([], 7),  # lost at once
        ([8.0, 60.0], 7),
        ([8.0, 60.0, 55.0], 7),  # not without a break
        ([2.4, 8.0, 60.0], 7),
        ([1.4, 1.6, 8.0, 60.0], 9),  # these two are noise yet
        ([9.0, 1.5, 1.4, 8.0, 60.0], 10),  # a spike that was got over
    ],
)
def test_a_divergence_is_dated_where_the_loss_left(climb: list[float], epoch: int, end: float) -> None:
    loss = [LOG10, 2.0, 1.8, 1.7, 1.6, 1.55, 1.5, *climb, end, end]
    finding = found(BASE, drawn(train_loss=loss, test_loss=loss))["diverged"]
    lost = len(loss) - 2
    assert finding.epoch == epoch
    assert finding.title == f"Diverged at epoch {epoch}"
    assert finding.evidence["lost"] == lost
    assert f"from epoch {lost} on" in finding.sentence


def test_a_fork_that_diverges_is_measured_by_its_own_start() -> None:
    loss = [0.5, 0.45, 3.0, 40.0, math.nan]
    finding = found(BASE, forked(drawn(train_loss=loss, test_loss=loss), 100))["diverged"]
    assert finding.epoch == 102
    wild = [200.0, 90.0, 60.0, 40.0, 30.0]  # of a parent that measured another loss: it comes down
    assert "diverged" not in found(BASE, forked(drawn(train_loss=wild), 100))


@pytest.mark.parametrize("rate", [0.01, 1e-7])
def test_the_refuting_run_is_the_one_of_the_button(rate: float) -> None:
    loss = falling(20, end=1.2)
    loss[4::2] *= 1.3
    finding = found(replace(BASE, lr=rate), drawn(train_loss=loss, test_loss=loss))["lr_too_high"]
    assert finding.refutes.startswith("A run at lr 0.001" if rate == 0.01 else "A run with a cosine schedule")
    assert [trial.what for trial in finding.more][-2:] == ["a cosine schedule", "a warm-up"][-1 - (rate == 0.01) :]


@pytest.mark.parametrize("update", [0.0093, 0.0099, 0.01, 0.0101])
def test_a_step_is_evidence_only_from_where_it_counts(update: float) -> None:
    loss = falling(20, end=1.2)
    loss[4::2] *= 1.3
    history = drawn(train_loss=loss, test_loss=loss, update_ratio__fc7=[update] * 21)
    sentence = found(BASE, history)["lr_too_high"].sentence
    assert ("of its weights (from 1 % it counts as large" in sentence) == (update >= 0.01)
    assert ("fc7" in sentence) == (update >= 0.01)


@pytest.mark.parametrize("with_accuracy", [True, False])
@pytest.mark.parametrize("update", [0.001, 0.03])
def test_a_memorised_training_set_does_not_bounce(update: float, with_accuracy: bool) -> None:
    for seed in range(20):
        train = falling(30, end=0.001, speed=2) * (1 + noise(30, 0.15, seed))
        lines = {"train_loss": train, "test_loss": falling(30, speed=2), "update_ratio__c1": [update] * 31}
        if with_accuracy:
            lines["train_accuracy"] = [0.1, *[0.9999] * 30]
        assert alarms(BASE, drawn(**lines)) == set()


def test_a_train_loss_with_noise_of_5_percent_is_not_yet_bouncing() -> None:
    told = 0
    for seed in range(100):
        train = falling(20, end=1.0, speed=2) * (1 + noise(20, 0.05, seed))
        told += "lr_too_high" in alarms(BASE, drawn(train_loss=train, test_loss=falling(20, speed=2)))
    assert told <= 3


def test_long_steps_that_still_get_somewhere_have_not_stalled() -> None:
    for seed in range(100):
        train = np.linspace(LOG10, 0.9, 16) * (1 + noise(15, 0.05, seed))
        history = drawn(train_loss=train, test_loss=train, update_ratio__c1=[0.03] * 16)
        assert "lr_too_high" not in found(BASE, history)
