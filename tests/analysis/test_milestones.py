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
    forked,
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


@pytest.mark.parametrize("share", [0.35, 0.69])
def test_a_run_that_settled_with_few_training_pictures_right_underfits(share: float) -> None:
    loss = 1.8 + 0.5 * np.exp(-np.arange(31) / 2) + noise(30, 0.005)
    lines = {"train_loss": loss, "test_loss": loss, "test_accuracy": [0.1, *[share - 0.01] * 30]}
    findings = found(BASE, drawn(**lines, train_accuracy=[0.1, *[share] * 30]))
    assert list(findings) == ["underfitting"]
    finding = findings["underfitting"]
    assert finding.severity == "alarm"
    assert f"only {100 * share:.1f} % of the training pictures are right" in finding.sentence
    assert finding.test is not None
    assert finding.test.config(BASE).model == "c12k5-s2-c32k5-s2-f240-f168"
    decayed = found(replace(BASE, weight_decay=0.01), drawn(**lines, train_accuracy=[0.1, *[share] * 30]))
    assert decayed["underfitting"].test is not None
    assert decayed["underfitting"].test.changes == {"weight_decay": 0.0}
    large = found(replace(BASE, model="conv5"), drawn(**lines, train_accuracy=[0.1, *[share] * 30]))
    assert large["underfitting"].test is None


def test_dropout_that_keeps_the_train_figure_low_is_not_underfitting() -> None:
    """Of the training pictures fewer are right than of the test pictures: it fits what it is tested on."""
    loss = 1.2 + 1.1 * np.exp(-np.arange(31) / 2) + noise(30, 0.005)
    lines = {"train_loss": loss, "test_loss": loss, "train_accuracy": [0.1, *[0.6] * 30]}
    history = drawn(**lines, test_accuracy=[0.1, *[0.71] * 30])
    assert "underfitting" in found(BASE, history)
    dropped = found(replace(BASE, dropout=0.5), history)
    assert list(dropped) == ["converged", "harder_training"]
    weak = found(replace(BASE, dropout=0.5), drawn(**lines, test_accuracy=[0.1, *[0.62] * 30]))["underfitting"]
    assert weak.test is not None
    assert weak.test.changes == {"dropout": 0.0}


def test_a_run_that_fits_or_is_not_done_or_is_at_chance_does_not_underfit() -> None:
    loss = 1.2 + 1.1 * np.exp(-np.arange(31) / 2) + noise(30, 0.005)
    lines = {"train_loss": loss, "test_loss": loss, "test_accuracy": [0.1, *[0.6] * 30]}
    assert list(found(BASE, drawn(**lines, train_accuracy=[0.1, *[0.71] * 30]))) == ["converged"]
    assert list(found(BASE, drawn(**lines))) == ["converged"]
    going = np.linspace(LOG10, 1.8, 31) + noise(30, 0.005)
    lines = {"train_loss": going, "test_loss": going, "train_accuracy": np.linspace(0.1, 0.35, 31)}
    assert list(found(BASE, drawn(**lines, test_accuracy=lines["train_accuracy"]))) == ["still_improving"]
    losses = {"train_loss": [LOG10] * 31, "test_loss": [LOG10] * 31}
    assert list(found(BASE, drawn(**losses, train_accuracy=[0.1] * 31, test_accuracy=[0.1] * 31))) == ["chance_level"]


def test_noise_that_could_hide_a_change_leaves_open_whether_it_converged() -> None:
    told = {0.01: 0, 0.15: 0}
    for seed in range(20):
        for deviation in told:
            test = falling(15, end=1.1, speed=2) * (1 + noise(15, deviation, seed))
            told[deviation] += "converged" in found(BASE, drawn(train_loss=falling(15, speed=2), test_loss=test))
    assert told[0.01] >= 15
    assert told[0.15] <= 2


def test_a_train_loss_that_still_falls_has_not_converged() -> None:
    train = falling(30, end=1.0, speed=2) - np.linspace(0, 0.15, 31)
    findings = found(BASE, drawn(train_loss=train, test_loss=falling(30, end=1.1, speed=2) + noise(30, 0.003)))
    assert findings == {}


@pytest.mark.parametrize(("start", "trained"), [(0, 20), (100, 20), (9_990, 10)])
def test_more_epochs_are_as_many_as_the_run_itself_trained(start: int, trained: int) -> None:
    """A fork's numbers go on from its parent's, and no run has more than 10,000 epochs."""
    loss = np.linspace(LOG10, 0.9, trained + 1)
    history = forked(drawn(train_loss=loss, test_loss=loss, test_accuracy=accuracy_of(loss)), start)
    trial = found(BASE, history)["still_improving"].test
    if start + trained == 10_000:
        assert trial is None
    else:
        assert trial is not None
        assert (trial.epochs, trial.label) == (trained, f"Train {trained} more epochs")


def test_a_low_rate_is_not_raised_if_anything_speaks_for_long_steps() -> None:
    loss = np.linspace(LOG10, 2.0, 21)
    plain = {"train_loss": loss, "test_loss": loss, "test_accuracy": accuracy_of(loss)}
    faint = {"update_ratio__fc7": [0.0] + [3e-5] * 20}
    assert list(found(BASE, drawn(**plain, **faint))) == ["lr_too_low"]
    saturated = found(BASE, drawn(**plain, **faint, saturation__c1=[0.0] + [0.8] * 20))
    assert list(saturated) == ["saturated_units", "still_improving"] or set(saturated) == {
        "saturated_units",
        "still_improving",
    }
