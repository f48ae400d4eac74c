"""Findings on the recorded histories of the study's runs, and on curves drawn to mislead."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.findings import CLEAN, Kind, correlated, said, there
from cnnviz.analysis.findings import ANSWER_KINDS, EXCLUSIVE, KINDS, diagnose, metric_names
from cnnviz.architectures import ACTIVATIONS
from cnnviz.config import LOSSES, SCHEDULES, RunConfig
from tests.helpers.findings import (
    BASE,
    HISTORIES,
    LOG10,
    Line,
    accuracy_of,
    alarms,
    drawn,
    forked,
    found,
    frame,
    overfit,
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
            "underfitting",  # of what stalled under long steps, if their length is not known
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


# -- what is said together, and how often it is wrong ----------------------------------------------


def test_every_finding_that_excludes_another_is_a_kind() -> None:
    assert {kind for group in EXCLUSIVE for kind in group} <= {*KINDS, *ANSWER_KINDS}
    assert len(set(KINDS)) == len(KINDS)


def path(generator: np.random.Generator, epochs: int, low: float, high: float) -> np.ndarray:
    """From epoch 0 on: straight between a few levels, on a log scale, with correlated noise; seldom not finite."""
    knots = generator.uniform(np.log(low), np.log(high), generator.integers(1, 5))
    noise, rho = generator.choice([0, 0.003, 0.02, 0.1]), generator.choice([-0.3, 0.0, 0.8])
    values: np.ndarray = np.exp(np.interp(np.linspace(0, len(knots) - 1, epochs + 1), np.arange(len(knots)), knots))
    values *= 1 + noise * correlated(generator, epochs + 1, rho)
    if generator.random() < 0.1:
        place = generator.integers(1, epochs + 1)
        values[place : place + generator.integers(1, 60)] = generator.choice([np.nan, np.inf])
    return values


def anything(generator: np.random.Generator) -> tuple[RunConfig, pd.DataFrame]:
    """A run whose losses are those of a kind or go their ways, and whose other lines have no regard to them."""
    epochs, start = int(generator.integers(1, 60)), int(generator.choice([0, 0, 0, 100, 9_950]))
    share = np.arange(epochs + 1) / epochs
    kinds, noise = [*CLEAN, *there(epochs)], generator.choice([0.0, 0.005, 0.03])
    if generator.random() < 0.3:
        test, train = path(generator, epochs, 0.3, 6.0), path(generator, epochs, 0.001, 6.0)
    else:
        kind = kinds[generator.integers(len(kinds))]
        test, train = (
            shape(share) * (1 + noise * correlated(generator, epochs + 1, 0.3)) for shape in (kind.test, kind.train)
        )
    steps = generator.choice([1e-5, 0.002, 0.002, 0.05])
    made: dict[str, Line] = {
        "test_loss": test,
        "train_loss": train,
        "test_accuracy": accuracy_of(np.nan_to_num(test)),
        "train_accuracy": path(generator, epochs, 0.2, 0.99),
        "saturation__c3": np.clip(path(generator, epochs, 0.1, 1.2), 0, 1),
    }
    if generator.random() < 0.3:
        made["test_accuracy"] = path(generator, epochs, 0.03, 0.9)
    for layer in ("c1", "fc7"):
        made[f"update_ratio__{layer}"] = path(generator, epochs, steps / 3, steps * 3)
        made[f"grad_norm__{layer}"] = path(generator, epochs, 1e-4, 10.0)
    config = RunConfig(
        activation=str(generator.choice(ACTIVATIONS)),
        loss=str(generator.choice(LOSSES)),
        lr=float(generator.choice([1e-6, 0.001, 0.1, 0.5])),
        batch_size=int(generator.choice([1, 10, 2500])),
        limit_train=int(generator.choice([0, 0, 5000])),
        dropout=float(generator.choice([0.0, 0.5])),
        augment=str(generator.choice(["none", "none", "flip"])),
        schedule=str(generator.choice(SCHEDULES)),
        normalise=str(generator.choice(["unit", "unit", "raw"])),
    )
    if config.dropout and generator.random() < 0.2:
        config = replace(config, mistake="no-eval")
    if generator.random() < 0.2:
        config = replace(config, validation=5000, patience=2, epochs=10_000)
        made["val_loss"] = made["test_loss"]
    made["learning_rate"] = config.lr * np.where(share > 0.5, 0.1, 1.0)
    kept = {name: line for name, line in made.items() if generator.random() < 0.9}
    return config, forked(drawn(**kept), start)


def test_no_two_findings_of_a_run_contradict_each_other() -> None:
    """found() asserts it: agree() in tests/helpers/findings.py."""
    seen: Counter[str] = Counter()
    for seed in range(1000):
        seen.update(list(found(*anything(np.random.default_rng(seed)))))
    assert seen.keys() == set(KINDS), "what was not found could not contradict"


def test_the_first_remedy_of_a_mistake_is_not_to_make_it() -> None:
    config = replace(BASE, mistake="no-shuffle")
    finding = found(config, drawn(test_accuracy=[0.1] * 12, test_loss=[LOG10] * 12))["chance_level"]
    assert finding.test is not None
    assert finding.test.config(config) == BASE
    assert "no-shuffle, is not why" in finding.refutes
    assert [dict(trial.changes) for trial in finding.more][:1] == [{"lr": 0.1}]
    noted = found(config, overfit(20, 10, rise=0.0))
    assert all(each.test is None or "mistake" not in each.test.changes for each in noted.values())


def test_a_schedule_that_has_ended_is_made_longer_and_not_continued() -> None:
    loss = np.linspace(LOG10, 0.9, 21)
    history = drawn(train_loss=loss, test_loss=loss, test_accuracy=accuracy_of(loss))
    config = replace(BASE, schedule="cosine", epochs=20)
    finding = found(config, history)["still_improving"]
    assert finding.test is not None
    assert finding.test.epochs == 0
    assert finding.test.config(config) == replace(BASE, schedule="cosine", epochs=40, schedule_epochs=40)
    going_on = found(replace(config, epochs=40, schedule_epochs=40), history)["still_improving"].test
    assert going_on is not None
    assert going_on.epochs == 20


QUICK = 120  # runs of a kind; the whole table: python -m benchmarks.findings


@pytest.mark.parametrize("rho", [0.0, 0.8])
@pytest.mark.parametrize("kind", CLEAN, ids=lambda kind: kind.name)
def test_what_is_not_there_is_seldom_found(kind: Kind, rho: float) -> None:
    """Under 2 % alarms and 5 % notes in the long run: the bounds are four binomial deviations above."""
    alarm, note = np.mean([said(kind, epochs, rho, QUICK // 3) for epochs in (10, 20, 40)], axis=0)
    assert alarm <= 0.02 + 4 * np.sqrt(0.02 * 0.98 / QUICK)
    assert note <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / QUICK)


@pytest.mark.parametrize("kind", there(40), ids=lambda kind: kind.name)
def test_what_is_there_is_found_in_40_epochs(kind: Kind) -> None:
    assert sum(said(kind, 40, 0.0, 40)) >= 0.75
