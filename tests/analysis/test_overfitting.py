"""Findings on overfitting, on the recorded run that overfits and on curves drawn to mislead."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cnnviz.config import RunConfig
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
    overfit,
    recorded,
)


def test_overfitting_begins_where_the_test_loss_turns() -> None:
    finding = found(*recorded("tanh-cross_entropy-0.01"))["overfitting"]
    assert finding.severity == "alarm"
    assert finding.epoch is not None
    assert 10 <= finding.epoch <= 13
    assert 0.03 < finding.evidence["rise"] < 0.08
    assert "a rise counts from 2 %, if noise alone makes it in fewer than 2 of 100 runs" in finding.sentence
    # the accuracy goes on rising while the loss does
    assert finding.evidence["test_accuracy"] > finding.evidence["test_accuracy_then"]
    assert "did not fall" in finding.sentence
    assert "more confident" in finding.sentence
    assert "78.4 % of the training pictures are right and 62.4 % of the test pictures" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"dropout": 0.5}
    assert [dict(trial.changes) for trial in finding.more[:2]] == [{"augment": "flip+shift"}, {"weight_decay": 0.001}]
    assert "A run with dropout 0.5 in which" in finding.refutes


@pytest.mark.parametrize(("epochs", "onset"), [(20, 10), (40, 15), (100, 30), (500, 100)])
def test_overfitting_is_found_near_its_onset(epochs: int, onset: int) -> None:
    finding = found(BASE, overfit(epochs, onset))["overfitting"]
    assert finding.epoch == pytest.approx(onset, abs=max(2, epochs // 15))


def test_a_run_stopped_at_the_turn_is_not_overfitting() -> None:
    history = overfit(20, 10)
    assert "overfitting" not in found(BASE, history[history.epoch <= 11])


def test_one_spike_is_not_overfitting_nor_a_rate_too_high() -> None:
    for epoch in (3, 10, 18, 20):
        test, train = falling(20), falling(20, end=0.9)
        test[epoch] *= 3
        train[epoch] *= 2
        assert alarms(BASE, drawn(train_loss=train, test_loss=test, test_accuracy=accuracy_of(falling(20)))) == set()


def test_without_a_falling_train_loss_it_is_not_overfitting() -> None:
    test = falling(30, end=1.1, speed=2) + 0.3 * np.clip((np.arange(31) - 12) / 18, 0, 1)
    assert "overfitting" not in found(BASE, drawn(train_loss=falling(30, end=1.2, speed=2), test_loss=test))


def test_accuracy_that_falls_as_well_is_said_to() -> None:
    config, history = BASE, overfit(40, 15, rise=0.6)
    falls = np.concatenate([np.linspace(0.1, 0.6, 16), np.linspace(0.6, 0.3, 25)])
    history = pd.concat([history[history.metric != "test_accuracy"], drawn(test_accuracy=falls)])
    assert "gets more pictures wrong, too" in found(config, history)["overfitting"].sentence


def test_what_the_accuracy_did_meanwhile_is_told() -> None:
    history = overfit(40, 15, rise=0.6)
    for last, words in (
        (0.6, "so it rose: mistakes are fewer, but more confident"),
        (0.485, "did not fall: mistakes are no more frequent but more confident"),
        (0.47, "hardly fell: mistakes are hardly more frequent but more confident"),
        (0.44, "fell less than the loss rose: mistakes are more frequent, and more confident"),
    ):
        share = np.concatenate([np.linspace(0.1, 0.5, 16), np.linspace(0.5, last, 25)])
        reported = pd.concat([history[history.metric != "test_accuracy"], drawn(test_accuracy=share)])
        assert words in found(BASE, reported)["overfitting"].sentence


def remedies(config: RunConfig, history: pd.DataFrame) -> list[dict[str, object]]:
    finding = found(config, history)["overfitting"]
    assert finding.test is not None
    return [dict(trial.changes) for trial in (finding.test, *finding.more)]


def test_remedies_are_those_that_a_run_has_not_had() -> None:
    few, changed, every = {"limit_train": 0}, {"augment": "flip+shift"}, {"dropout": 0.5}
    assert remedies(replace(BASE, limit_train=5000), overfit(40, 15))[:3] == [every, changed, few]
    dropped = replace(BASE, dropout=0.2, weight_decay=0.001)
    stopped = {"patience": 5, "validation": 5000}
    assert remedies(dropped, overfit(40, 15)) == [changed, {"weight_decay": 0.01}, stopped]
    assert remedies(replace(dropped, augment="flip"), overfit(40, 15)) == [{"weight_decay": 0.01}, stopped]
    assert remedies(replace(BASE, model="c4k5"), overfit(40, 15))[0] == changed  # no hidden layer to drop units of


def test_a_line_without_noise_is_certain_in_words_too() -> None:
    test = np.r_[2.25 - 0.125 * np.arange(11), 1 + 0.0625 * np.arange(1, 11)]
    finding = found(BASE, drawn(train_loss=np.linspace(LOG10, 0.4, 21), test_loss=test))["overfitting"]
    assert "inf" not in finding.sentence
    assert finding.epoch in (9, 10, 11)


@pytest.mark.parametrize("fall", [12, 20, 30])
def test_a_test_loss_that_rose_and_falls_again_is_a_second_descent(fall: int) -> None:
    """Double descent: the lowest loss lies behind, and the present one is still above it."""
    test = np.r_[np.linspace(LOG10, 1.0, 16), np.linspace(1.0, 1.8, 26)[1:], np.linspace(1.8, 1.2, fall + 1)[1:]]
    test += noise(len(test) - 1, 0.01)
    train = np.linspace(LOG10, 0.2, len(test))
    while_rising = drawn(train_loss=train[:41], test_loss=test[:41])
    assert list(found(BASE, while_rising)) == ["overfitting"]
    findings = found(BASE, drawn(train_loss=train, test_loss=test, test_accuracy=accuracy_of(test)))
    assert list(findings) == ["still_improving"]
    assert "had risen before, from 1" in findings["still_improving"].sentence
    assert "second descent" in findings["still_improving"].sentence


def test_a_steady_fall_is_no_second_descent() -> None:
    loss = np.linspace(LOG10, 0.9, 41) + noise(40, 0.01)
    findings = found(BASE, drawn(train_loss=loss, test_loss=loss, test_accuracy=accuracy_of(loss)))
    assert "second descent" not in findings["still_improving"].sentence


# Of a LeNet that learned 2,000 pictures of CIFAR-10 by heart: it rises in waves.
WAVES = [
    *(2.30, 2.30, 2.27, 2.06, 2.05, 1.92, 1.85, 1.83, 1.72, 1.76, 1.72, 1.68, 1.67, 1.66, 1.67, 1.68, 1.73, 1.92, 1.80),
    *(2.00, 2.00, 2.24, 2.67, 2.91, 2.86, 2.88, 3.07, 3.68, 3.66, 3.80, 3.87, 4.11, 4.23, 4.27, 4.51, 4.63, 5.07, 5.29),
    *(5.48, 5.41, 5.31, 5.08, 4.49, 4.62, 4.91, 5.28, 5.22, 5.40, 4.89, 5.19, 5.46, 5.91, 5.89, 5.67, 5.54, 6.00, 6.09),
    *(6.13, 6.21, 6.26, 6.32),
]


def test_a_loss_that_rises_far_in_waves_is_overfitting() -> None:
    train, right = np.linspace(LOG10, 0.001, 61), np.linspace(0.1, 0.42, 61)
    findings = found(BASE, drawn(train_loss=train, test_loss=np.array(WAVES), test_accuracy=right))
    assert findings["overfitting"].title == "Overfitting since epoch 12"


def test_a_rise_that_noise_could_be_is_left_undecided() -> None:
    """A loss that rises by 1.2 % an epoch for ten epochs, with noise of 1.5 %: more is not to be had from it."""
    told: dict[str, int] = {"overfitting": 0, "maybe_overfitting": 0}
    for seed in range(60):
        test = 1.1 + 1.1 * 0.012 * np.clip(np.arange(16) - 5, 0, None) + noise(15, 0.0165, seed)
        findings = found(BASE, drawn(train_loss=np.linspace(LOG10, 0.5, 16), test_loss=test))
        for kind in told.keys() & findings.keys():
            told[kind] += 1
        if "maybe_overfitting" in findings:
            finding = findings["maybe_overfitting"]
            assert finding.severity == "note"
            assert finding.title.endswith("? Undecided")
            assert finding.test is not None
            assert finding.test.epochs == 15
            (rise,) = re.findall(
                r"a rise of about ([\d.]+) % an epoch would show in nine of ten runs of 15", finding.sentence
            )
            assert 0.8 < float(rise) < 10  # white noise of 1.5 %: 2.7
    assert told["maybe_overfitting"] >= 6
    assert told["overfitting"] + told["maybe_overfitting"] >= 15


def test_weight_decay_is_felt_over_the_whole_run_that_is_launched() -> None:
    """Of a fork as well: its trial is a new run, from epoch 0 to the fork's last."""
    config = replace(BASE, epochs=40)
    whole, fork = overfit(40, 15), forked(overfit(20, 8), 20)
    assert [remedies(config, history)[2] for history in (whole, fork)] == [{"weight_decay": 0.0005}] * 2
    assert pytest.approx(1 / (config.lr * 5000 * 40)) == 0.0005


def test_a_fork_overfits_from_an_epoch_of_its_own() -> None:
    plain, fork = overfit(20, 10), forked(overfit(20, 10), 100)
    before, after = found(BASE, plain)["overfitting"], found(BASE, fork)["overfitting"]
    assert before.epoch is not None
    assert after.epoch == before.epoch + 100
