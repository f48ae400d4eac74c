import numpy as np
import pandas as pd
import pytest

from cnnviz.analysis import trends


def line(values: object) -> pd.Series:
    numbers = np.asarray(values, dtype=float)
    return pd.Series(numbers, index=np.arange(1, len(numbers) + 1))


def noisy(count: int, deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, count)


def test_one_spike_moves_neither_level_nor_noise_nor_slope() -> None:
    plain = np.linspace(2, 1, 20) + noisy(20, 0.01)
    for epoch in (3, 12, 19):
        spiked = plain.copy()
        spiked[epoch] += 50
        assert trends.level(line(spiked)) == pytest.approx(trends.level(line(plain)), abs=0.05)
        assert trends.noise(line(spiked)) < 0.03
        assert trends.slope(line(spiked))[0] == pytest.approx(-1 / 19, rel=0.1)
        assert trends.smooth(line(spiked)).max() < 2.1


def test_noise_is_the_deviation_and_leaves_the_trend_out() -> None:
    assert trends.noise(line(np.linspace(9, 1, 400) + noisy(400, 0.1))) == pytest.approx(0.1, rel=0.15)
    assert trends.noise(line(np.linspace(9, 1, 400))) == pytest.approx(0, abs=1e-9)


def test_the_slope_and_its_error_are_those_of_least_squares_where_noise_is_normal() -> None:
    epochs = np.arange(1, 201)
    values = 0.02 * epochs + noisy(200, 0.3)
    (slope, _), covariance = np.polyfit(epochs, values, 1, cov=True)
    found, error = trends.slope(line(values))
    assert found == pytest.approx(slope, rel=0.05)
    assert error == pytest.approx(float(np.sqrt(covariance[0, 0])), rel=0.2)
    assert trends.slope(line(values), 0.6)[1] == pytest.approx(2 * trends.slope(line(values), 0.3)[1])


def test_moved_is_the_change_over_the_last_third() -> None:
    assert trends.moved(line([9.0] * 20 + list(np.linspace(9, 8, 10)))) == pytest.approx(-1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_lines_are_no_trouble(count: int) -> None:
    short = line(range(count))
    assert len(trends.smooth(short)) == len(trends.last_third(short)) + max(0, count - 3) == count
    assert trends.noise(short) == 0
    assert trends.level(short) == short.iloc[-3:].median()
    assert trends.moved(short) == pytest.approx(min(count, 3) - 1)
