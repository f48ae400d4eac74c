"""Levels, slopes and noise, and whether a line rises, against SciPy's likelihoods and estimators."""

import itertools
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import toeplitz
from scipy.stats import multivariate_normal

from benchmarks.findings import correlated
from cnnviz.analysis import trends


def line(values: object, first: int = 1) -> pd.Series:
    numbers = np.asarray(values, dtype=float)
    return pd.Series(numbers, index=np.arange(first, first + len(numbers)))


def noisy(count: int, deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, count)


def test_one_spike_moves_neither_level_nor_noise_nor_slope() -> None:
    plain = np.linspace(2, 1, 20) + noisy(20, 0.01)
    for epoch in (3, 12, 19):
        spiked = plain.copy()
        spiked[epoch] += 50
        assert trends.level(line(spiked)) == pytest.approx(trends.level(line(plain)), abs=0.05)
        assert trends.noise(line(spiked)) < 0.03
        assert trends.slope(line(spiked)) == pytest.approx(-1 / 19, rel=0.1)
        assert trends.smooth(line(spiked)).max() < 2.1


def test_a_spike_is_left_out_and_noise_is_not() -> None:
    plain = 1 + noisy(40, 0.01)
    spiked = plain.copy()
    spiked[20] = 3
    assert trends.without_spikes(line(plain)) == pytest.approx(plain)
    cleaned = trends.without_spikes(line(spiked))
    assert cleaned[20] == pytest.approx((plain[19] + plain[21]) / 2)
    assert np.delete(cleaned, 20) == pytest.approx(np.delete(plain, 20))
    risen = np.where(np.arange(40) < 20, 1.0, 2.0) + noisy(40, 0.01)
    assert trends.without_spikes(line(risen)) == pytest.approx(risen), "a step is no spike"


def test_noise_is_the_deviation_and_leaves_the_trend_out() -> None:
    assert trends.noise(line(np.linspace(9, 1, 400) + noisy(400, 0.1))) == pytest.approx(0.1, rel=0.15)
    assert trends.noise(line(np.linspace(9, 1, 400))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [2, 3, 10, 41])
def test_the_slope_is_theils_and_sens(count: int) -> None:
    values = line(0.02 * np.arange(count) + noisy(count, 0.3)).drop(index=[4], errors="ignore")
    slopes = [(b - a) / (later - sooner) for (sooner, a), (later, b) in itertools.combinations(values.items(), 2)]
    assert trends.slope(values) == pytest.approx(statistics.median(slopes))


def test_moved_is_the_change_over_the_last_third() -> None:
    assert trends.moved(line([9.0] * 20 + list(np.linspace(9, 8, 10)))) == pytest.approx(-1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_short_lines_are_no_trouble(count: int) -> None:
    short = line(range(count))
    assert len(trends.smooth(short)) == len(trends.last_third(short)) + max(0, count - 3) == count
    assert trends.noise(short) == 0
    assert trends.level(short) == short.iloc[-3:].median()
    assert trends.moved(short) == pytest.approx(min(count, 3) - 1)
    assert not trends.turn(short).likely
    assert not trends.falls(-short)
    assert trends.latest(short)[1] == np.inf


# -- whether it rises ------------------------------------------------------------------------------


def likelihood(values: np.ndarray, columns: list[np.ndarray], correlation: float) -> tuple[float, float]:
    """SciPy's log-likelihood of the best line with AR(1) noise, and the last coefficient of that line."""
    shape = toeplitz(correlation ** np.arange(len(values), dtype=float)) / (1 - correlation**2)
    design, inverse = np.stack(columns, 1), np.linalg.inv(shape)
    cross = np.linalg.inv(design.T @ inverse @ design)
    fit = cross @ design.T @ inverse @ values
    rest = values - design @ fit
    size = float(rest @ inverse @ rest) / len(values)
    found = multivariate_normal.logpdf(values, design @ fit, size * shape)
    return float(found), float(fit[-1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("epochs", [12, 20, 33])
def test_the_ratio_is_that_of_likelihoods(epochs: int, seed: int) -> None:
    rise = 0.02 * np.clip(np.arange(epochs) - epochs // 2, 0, None)
    whole = line(1 + rise + noisy(epochs, 0.03, seed), first=5)
    judged = whole.iloc[-int(np.ceil(epochs * 3 / 4)) :]
    time, models = np.arange(len(judged), dtype=float), []
    for share in (1 / 3, 1 / 2, 2 / 3):
        hinge = len(judged) - 1 - max(4, round(epochs * share))
        hinge = hinge if hinge > 1 else 0
        before = [np.ones(len(judged)), *([np.minimum(time - hinge, 0)] if hinge else [])]
        for correlation in trends.CORRELATIONS:
            level, _ = likelihood(judged.to_numpy(), before, correlation)
            moving, slope = likelihood(judged.to_numpy(), [*before, np.maximum(time - hinge, 0)], correlation)
            models.append((moving if slope > 0 else level, level, slope, judged.index[hinge]))
    best = max(models)
    found = trends.turn(whole)
    assert found.ratio == pytest.approx(2 * (best[0] - max(model[1] for model in models)), rel=1e-4, abs=1e-6)
    if best[0] > best[1]:
        assert found.slope == pytest.approx(best[2], rel=1e-4)
        assert found.epoch == best[3]


def test_the_change_of_level_has_the_error_that_repetitions_have() -> None:
    found = [trends.latest(line(np.r_[np.ones(20), np.full(10, 1.3)] + noisy(30, 0.05, seed))) for seed in range(200)]
    changes, errors = np.array(found).T
    assert changes.mean() == pytest.approx(0.3, abs=0.01)
    assert np.median(errors) == pytest.approx(changes.std(), rel=0.25)


def test_lines_without_noise_are_told_apart() -> None:
    rises = np.r_[np.linspace(2, 1, 10), np.linspace(1, 1.5, 11)[1:]]
    assert trends.turn(line(rises)).proven
    assert not trends.falls(line(rises))
    assert trends.falls(line(3 - rises))
    assert not trends.turn(line(np.ones(20))).likely
    assert not trends.falls(line(np.ones(20)))
    assert not trends.turn(line(np.linspace(2, 1, 20))).likely
    assert not trends.turn(line(np.exp(-np.arange(20.0)))).likely, "flattens, but does not rise"


def test_a_slope_in_wandering_noise_is_none() -> None:
    """By three binomial deviations above what the thresholds promise."""
    generator = np.random.default_rng(0)
    for epochs in (10, 20, 40):
        for rho in (0.0, 0.5, 0.8):
            lines = [line(1 + 0.03 * correlated(generator, epochs, rho)) for _ in range(400)]
            turns = [trends.turn(each) for each in lines]
            assert sum(turn.proven for turn in turns) <= 400 * 0.012 + 7
            assert sum(turn.likely for turn in turns) <= 400 * 0.027 + 10
            assert sum(trends.falls(each) for each in lines) <= 400 * 0.03 + 10


@pytest.mark.parametrize("epochs", [10, 20, 60])
def test_what_is_provable_is_proven_in_nine_of_ten_lines(epochs: int) -> None:
    noise = [noisy(epochs, 0.02, seed) for seed in range(100)]
    slope = np.median([trends.provable(line(1 + each)) for each in noise])
    rise = slope * np.clip(np.arange(epochs) - (epochs - 1 - round(epochs / 2)), 0, None)
    assert 75 <= sum(trends.turn(line(1 + rise + each)).proven for each in noise) <= 99


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.4, 0.8])
def test_a_level_line_has_not_risen_and_a_tall_step_has(correlation: float) -> None:
    risen = 0
    for seed in range(200):
        noise = correlated(np.random.default_rng(seed), 30, correlation)
        level = line(2 + 0.1 * noise)
        risen += trends.has_risen(level)
        step = line(2 + 0.1 * noise + 10 * (np.arange(30) >= 12))
        assert trends.has_risen(step)
    assert risen <= 1
