"""Findings on the recorded histories of the study's runs, and on curves drawn to mislead."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnnviz.analysis.findings import RISING, diagnose, metric_names
from cnnviz.config import RunConfig
from tests.helpers.findings import (
    BASE,
    HISTORIES,
    LOG10,
    Line,
    accuracy_of,
    alarms,
    drawn,
    falling,
    found,
    frame,
    noise,
    recorded,
)

# -- the study's runs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("tanh-cross_entropy-0.1", ["lr_too_high", "saturated_units"]),
        ("tanh-cross_entropy-0.01", ["overfitting"]),
        ("tanh-cross_entropy-0.001", ["still_improving"]),
        ("tanh-mse-0.1", ["still_improving"]),
        ("tanh-mse-0.01", ["still_improving"]),
        ("tanh-mse-0.001", ["lr_too_low"]),
        ("sigmoid-cross_entropy-0.1", ["slow_start", "still_improving"]),
        ("sigmoid-cross_entropy-0.01", ["chance_level", "vanishing_gradients"]),
        ("sigmoid-cross_entropy-0.001", ["chance_level", "vanishing_gradients"]),
        ("sigmoid-mse-0.1", ["slow_start", "still_improving"]),
        ("sigmoid-mse-0.01", ["chance_level", "vanishing_gradients"]),
        ("sigmoid-mse-0.001", ["chance_level", "vanishing_gradients"]),
    ],
)
def test_each_run_of_the_study_is_told_what_it_is(name: str, kinds: list[str]) -> None:
    assert list(found(*recorded(name))) == kinds


def test_all_histories_are_tested_and_small() -> None:
    assert len(HISTORIES) == 12
    assert sum(path.stat().st_size for path in HISTORIES) < 100_000


def test_overfitting_begins_where_the_test_loss_turns() -> None:
    finding = found(*recorded("tanh-cross_entropy-0.01"))["overfitting"]
    assert finding.severity == "alarm"
    assert finding.epoch is not None
    assert 10 <= finding.epoch <= 13
    assert 0.03 < finding.evidence["rise"] < 0.08
    assert finding.evidence["certainty"] > 1.2 * RISING  # not a close call
    # the accuracy goes on rising while the loss does
    assert finding.evidence["test_accuracy"] > finding.evidence["test_accuracy_then"]
    assert "did not fall" in finding.sentence
    assert "more confident" in finding.sentence
    assert "78.4 % of the training pictures are right and 62.4 % of the test pictures" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"weight_decay": 0.001}


def test_a_rate_too_high_is_known_by_its_steps_and_its_stalled_loss() -> None:
    finding = found(*recorded("tanh-cross_entropy-0.1"))["lr_too_high"]
    assert "fc7 by 4.3 % of its weights" in finding.sentence
    assert "stalled at 1.25" in finding.sentence
    assert finding.test is not None
    assert finding.test.config(RunConfig(lr=0.1)) == RunConfig(lr=0.01)


@pytest.mark.parametrize("name", ["cross_entropy-0.01", "cross_entropy-0.001", "mse-0.01", "mse-0.001"])
def test_stalled_sigmoids_are_at_chance_with_the_gradient_as_evidence(name: str) -> None:
    findings = found(*recorded(f"sigmoid-{name}"))
    assert {finding.severity for finding in findings.values()} == {"alarm"}
    stalled, vanishing = findings["chance_level"], findings["vanishing_gradients"]
    assert stalled.title == "Never left chance level"
    assert "that of giving every class the same share" in stalled.sentence
    assert "times smaller than fc7's" in stalled.sentence
    assert vanishing.evidence["fold"] > 300
    assert "1/256 or less" in vanishing.sentence
    assert "Saturation is not the reason" in vanishing.sentence
    assert vanishing.test is not None
    assert vanishing.test.changes == {"activation": "tanh"}


def test_what_to_try_at_chance_level_depends_on_whether_anything_moves() -> None:
    moving = found(*recorded("sigmoid-cross_entropy-0.01"))["chance_level"].test
    still = found(*recorded("sigmoid-mse-0.01"))["chance_level"].test
    assert moving is not None
    assert still is not None
    assert (moving.epochs, dict(moving.changes)) == (20, {})
    assert (still.epochs, dict(still.changes)) == (0, {"lr": 0.1})


@pytest.mark.parametrize("name", ["tanh-mse-0.1", "tanh-mse-0.01", "tanh-mse-0.001", "tanh-cross_entropy-0.001"])
def test_clean_runs_get_no_alarm_however_early_one_looks(name: str) -> None:
    for epochs in range(41):
        assert alarms(*recorded(name, epochs)) == set(), epochs


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_any_part_of_a_history_will_do(path: Path) -> None:
    config, history = recorded(path.stem)
    whole = set(found(config, history))
    for metric in ("grad_norm", "update_ratio", "saturation", "train_", "test_loss", "test_accuracy", "train_loss"):
        assert set(found(config, history[~history.metric.str.startswith(metric)])) <= whole | {
            "still_improving",
            "converged",
        }
    for epochs in (0, 1, 2, 4, 7):
        found(*recorded(path.stem, epochs))
    shuffled = history.sample(frac=1, random_state=0)
    assert diagnose(config, shuffled) == diagnose(config, history)


def test_metric_names_are_what_it_reads() -> None:
    config, history = recorded("sigmoid-mse-0.1")
    names = metric_names(config)
    assert {"train_loss", "test_accuracy", "grad_norm/c1", "update_ratio/fc7", "saturation/fc6"} <= set(names)
    assert diagnose(config, history[history.metric.isin(names)]) == diagnose(config, history)
    assert "grad_norm/fc13" in metric_names(RunConfig(model="conv5"))


# -- overfitting -----------------------------------------------------------------------------------


def overfit(epochs: int, onset: int, rise: float = 0.3, deviation: float = 0.01) -> pd.DataFrame:
    test = falling(epochs, end=1.1, speed=onset / 4) + noise(epochs, deviation)
    test += rise * np.clip((np.arange(epochs + 1) - onset) / (epochs - onset), 0, 1)
    train = np.linspace(LOG10, 0.4, epochs + 1)
    return drawn(train_loss=train, test_loss=test, test_accuracy=accuracy_of(np.minimum(test, 1.1)))


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


def test_flat_noise_is_seldom_taken_for_overfitting() -> None:
    train = np.linspace(LOG10, 0.5, 21)  # it goes on falling, so that the test loss alone decides
    wrong = sum(
        "overfitting" in found(BASE, drawn(train_loss=train, test_loss=1.1 + noise(20, 0.015, seed)))
        for seed in range(100)
    )
    assert wrong <= 4


def test_without_a_falling_train_loss_it_is_not_overfitting() -> None:
    test = falling(30, end=1.1, speed=2) + 0.3 * np.clip((np.arange(31) - 12) / 18, 0, 1)
    assert "overfitting" not in found(BASE, drawn(train_loss=falling(30, end=1.2, speed=2), test_loss=test))


def test_accuracy_that_falls_as_well_is_said_to() -> None:
    config, history = BASE, overfit(40, 15, rise=0.6)
    falls = np.concatenate([np.linspace(0.1, 0.6, 16), np.linspace(0.6, 0.3, 25)])
    history = pd.concat([history[history.metric != "test_accuracy"], drawn(test_accuracy=falls)])
    assert "gets more pictures wrong, too" in found(config, history)["overfitting"].sentence


def test_accuracy_that_falls_less_than_the_loss_rises_is_told_from_one_that_holds() -> None:
    history = overfit(40, 15, rise=0.6)
    for last, words in ((0.5, "did not fall"), (0.45, "fell less than the loss rose")):
        share = np.concatenate([np.linspace(0.1, 0.5, 16), np.linspace(0.5, last, 25)])
        reported = pd.concat([history[history.metric != "test_accuracy"], drawn(test_accuracy=share)])
        assert words in found(BASE, reported)["overfitting"].sentence


def test_few_training_pictures_are_the_first_suspects() -> None:
    finding = found(replace(BASE, limit_train=5000), overfit(40, 15))["overfitting"]
    assert finding.test is not None
    assert finding.test.changes == {"limit_train": 0}
    stronger = found(replace(BASE, weight_decay=0.001), overfit(40, 15))["overfitting"]
    assert stronger.test is not None
    assert stronger.test.changes == {"weight_decay": 0.01}


# -- the learning rate -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_run_has_that_finding_alone(value: float) -> None:
    loss = [LOG10, 2.4, 9.0, value, value, value]
    history = drawn(train_loss=loss, test_loss=loss, test_accuracy=[0.1] * 6, update_ratio__c1=[0, 0.2, 4, *loss[3:]])
    (finding,) = diagnose(BASE, history)
    assert (finding.kind, finding.epoch, finding.severity) == ("diverged", 3, "alarm")
    assert "after 9 at epoch 2" in finding.sentence
    assert ("not a number" in finding.sentence) == math.isnan(value)
    assert finding.test is not None
    assert finding.test.changes == {"lr": 0.001}


def test_a_loss_that_exploded_has_diverged_though_it_is_finite() -> None:
    finding = found(BASE, drawn(train_loss=[LOG10, 2.0, 300.0, 1e9, 1e20, 1e30]))["diverged"]
    assert finding.epoch == 2 or finding.epoch == 3


def test_infinity_that_is_got_over_is_no_death() -> None:
    test = falling(12)
    test[2] = math.inf
    assert alarms(BASE, drawn(train_loss=falling(12, end=0.9), test_loss=test)) == set()


def test_bouncing_is_a_rate_too_high_even_without_update_ratios() -> None:
    loss = falling(20, end=1.2)
    loss[4::2] *= 1.3
    finding = found(BASE, drawn(train_loss=loss, test_loss=loss))["lr_too_high"]
    assert "rose by more than 5 % in" in finding.sentence
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


# -- chance level and dead units -------------------------------------------------------------------


def test_a_constant_run_is_at_chance() -> None:
    loss = [LOG10] * 21
    findings = found(BASE, drawn(train_loss=loss, test_loss=loss, test_accuracy=[0.1] * 21))
    assert list(findings) == ["chance_level"]
    assert findings["chance_level"].severity == "alarm"


def test_at_first_a_network_at_chance_is_only_noted() -> None:
    for config, epochs in ((BASE, 1), (BASE, 2), (replace(BASE, batch_size=500), 20)):
        finding = found(config, drawn(test_accuracy=[0.1] * (epochs + 1)))["chance_level"]
        assert finding.severity == "note"
        assert finding.test is not None
        assert finding.test.epochs == epochs


def test_a_run_that_fell_back_to_chance_is_told_when() -> None:
    accuracy = [0.1, 0.3, 0.4, 0.45, 0.5, 0.1, 0.1, 0.1, 0.1]
    finding = found(BASE, drawn(test_accuracy=accuracy))["chance_level"]
    assert finding.title == "Fell back to chance level at epoch 5"
    assert finding.test is not None
    assert finding.test.changes == {"lr": 0.001}


def test_dying_relus_are_found_in_their_layer() -> None:
    silent = np.concatenate([np.full(5, 0.5), np.linspace(0.6, 1.0, 5), np.ones(6)])
    config = replace(BASE, activation="relu")
    lines: dict[str, Line] = {
        "saturation__c3": silent,
        "saturation__c1": np.full(16, 0.5),
        "test_accuracy": [0.1, *[0.3] * 6, *[0.1] * 9],
    }
    findings = found(config, drawn(**lines, grad_norm__c1=[0.1] * 10 + [0.0] * 6, grad_norm__fc7=[0.1] * 16))
    assert list(findings) == ["chance_level", "dead_relus"]
    assert findings["dead_relus"].title == "Dead ReLUs in c3 since epoch 8"
    assert "No gradient reaches c1" in findings["dead_relus"].sentence


def test_half_silent_relus_are_as_they_should_be() -> None:
    assert found(replace(BASE, activation="relu"), drawn(saturation__c3=[0.7] * 20)) == {}
    sparse = found(replace(BASE, activation="relu"), drawn(saturation__c3=[0.93] * 20))["dead_relus"]
    assert sparse.severity == "note"
    assert found(replace(BASE, activation="gelu"), drawn(saturation__c3=[0.99] * 20)) == {}


def test_a_saturated_tanh_makes_the_gradient_vanish() -> None:
    lines = {f"saturation__{layer}": [0.0] + [0.8] * 9 for layer in ("c1", "c3", "fc5", "fc6")}
    norms = {"grad_norm__c1": [0.001] * 10, "grad_norm__fc7": [1.0] * 10}
    finding = found(BASE, drawn(test_accuracy=[0.1] * 10, **lines, **norms))["vanishing_gradients"]
    assert finding.severity == "alarm"
    assert "80 % of c1's units are saturated" in finding.sentence
    learning = found(BASE, drawn(test_accuracy=[0.5] * 10, **norms))["vanishing_gradients"]
    assert learning.severity == "note"


# -- odd histories ---------------------------------------------------------------------------------


def test_nothing_recorded_finds_nothing() -> None:
    assert diagnose(BASE, frame({})) == []
    assert diagnose(BASE, drawn(train_loss=[LOG10], test_loss=[LOG10], test_accuracy=[0.1])) == []


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("epochs", [1, 2, 6, 60])
def test_constants_of_any_kind_draw_no_exception(value: float, epochs: int) -> None:
    config, history = recorded("tanh-mse-0.1")
    for activation in ("tanh", "relu"):
        lines = {metric: dict.fromkeys(range(epochs + 1), value) for metric in history.metric.unique()}
        found(replace(config, activation=activation), frame(lines))


def test_a_run_of_one_or_500_epochs_is_like_any_other() -> None:
    one = drawn(train_loss=[LOG10, 1.8], test_loss=[LOG10, 1.6], test_accuracy=[0.1, 0.42])
    assert found(BASE, one) == {}
    long = overfit(500, 100)
    assert list(found(replace(BASE, epochs=500), long)) == ["overfitting"]
