"""Robust statistics of one line: levels by medians, slopes by Theil and Sen, and whether it rises or only wanders.

A line is a series of finite values by epoch, in order. One spike moves none of these figures far.

The noise of neighbouring epochs is correlated, so that a level line wanders, and a slope's usual standard error would
take that for a trend. turn() compares two models by their likelihoods: level since a hinge, or sloping since, both with
the hinge and the correlation that suit the line best (an AR(1) process: Prais and Winsten, 1954). What their ratio must
exceed was found by simulation, since the hinge is chosen after the fact (Andrews, 1993) and short lines tell little of
their correlation.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

WINDOW = 3  # epochs that make a level: the fewest whose median passes over a spike
WINDOW_SHARE = 0.05  # of a long line: 25 of 500 epochs
NOISE_FROM = 5  # epochs, the fewest that noise is estimated from
_SIGMA = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
SPIKE = 6.0  # times the noise that one epoch stands out from both neighbours: normal noise hardly ever does

# Times the noise that a line stands above its lowest point: of 100 level lines of 6 to 60 epochs, whose neighbours
# correlate by -0.6 to 0.8, 0.1 at most look so.
CLEAR = 20.0
JUDGED = 3 / 4  # of the line, to tell whether it rises: what came before, the fast descent, is another story
FALL_JUDGED = 2 / 3  # to tell whether it still falls: a curve that flattens is no straight line for longer
HINGES = (1 / 3, 1 / 2, 2 / 3)  # of the line, from its end: where it may have turned
LATEST = 4  # epochs since the latest hinge
CORRELATIONS = (-0.6, -0.3, 0.0, 0.4, 0.8)  # of neighbouring epochs' noise; the study's lines have -0.6 to 0.3
_FEWEST = 7  # epochs: of shorter lines all is judged
_ROUNDING = 1e-6  # of a line's largest value: smaller differences are rounding
# By the line's epochs, what a ratio must exceed: so many level lines get there whose noise correlates by that of 0 to
# 0.8 which suits them best (40,000 lines each or more; benchmarks/trends.py). Between them by the epochs' logarithm.
EPOCHS = (10, 12, 15, 20, 25, 30, 40, 60, 100, 200)
PROVEN = np.array([20.2, 19.2, 17.4, 16.2, 15.1, 14.3, 12.8, 11.8, 9.7, 8.6])  # 1.2 %
LIKELY = np.array([17.0, 16.2, 14.5, 13.3, 12.3, 11.5, 10.3, 9.2, 7.2, 6.2])  # 2.7 %
FALLING = np.array([18.2, 17.7, 15.7, 14.0, 12.9, 12.4, 10.9, 9.8, 7.6, 6.9])  # 3 % pass this or the next
FALLING_ALONE = np.array([13.9, 13.9, 13.6, 13.6, 12.4, 12.2, 10.6, 9.6, 8.4, 7.2])
# What is proven in nine of ten lines that rise since their middle: a slope per epoch, in the deviation of white noise.
PROVABLE = np.array([3.3, 2.9, 1.8, 1.15, 0.8, 0.5, 0.28, 0.13, 0.053, 0.018])


@dataclass(frozen=True)
class Turn:
    """How a line goes on since a hinge, by the likeliest of the models."""

    epoch: int  # the hinge
    slope: float  # per epoch since then
    ratio: float  # 2 log of the likelihood ratio against the likeliest model that is level since its hinge
    epochs: int  # of the line

    @property
    def likely(self) -> bool:
        """Noise takes about 2.7 % of level lines so far, or fewer."""
        return self.ratio > _critical(LIKELY, self.epochs)

    @property
    def proven(self) -> bool:
        """Noise takes about 1.2 % of level lines so far, or fewer."""
        return self.ratio > _critical(PROVEN, self.epochs)


def smooth(line: pd.Series, width: int = 0) -> pd.Series:
    """Median over `width` neighbouring epochs, at the ends over those there are; 0: a width that suits the line."""
    width = width or max(WINDOW, int(len(line) * WINDOW_SHARE) // 2 * 2 + 1)
    # The median of two is their mean, which a spike would move: an end takes its neighbour's value.
    return line.rolling(width, center=True, min_periods=min(WINDOW, len(line))).median().bfill().ffill()


def level(line: pd.Series) -> float:
    """Where the line stands now: the median of its last WINDOW epochs."""
    return float(statistics.median(line.to_numpy()[-WINDOW:].tolist()))  # numpy's takes ten times as long over so few


def noise(line: pd.Series) -> float:
    """Standard deviation of one epoch about its neighbours' trend; 0 for fewer than NOISE_FROM epochs.

    Where neighbours correlate it is smaller than that of the line about its trend.
    """
    return _scatter(line.to_numpy()) if len(line) >= NOISE_FROM else 0.0


def _aside(values: np.ndarray) -> np.ndarray:
    """How far each value but the first and the last is from the mean of its neighbours."""
    aside: np.ndarray = values[1:-1] - (values[:-2] + values[2:]) / 2
    return aside


def _scatter(values: np.ndarray) -> float:
    # A middle and half of two: variance 1.5.
    return float(_SIGMA * np.median(np.abs(_aside(values))) / np.sqrt(1.5))


def without_spikes(line: pd.Series) -> np.ndarray:
    """Its values; one that stands out from both neighbours by SPIKE times the noise is replaced by their mean."""
    values = line.to_numpy().copy()
    if len(values) < NOISE_FROM:
        return values
    aside, steps = _aside(values), np.diff(values)
    spikes = (np.abs(aside) > SPIKE * np.sqrt(1.5) * _scatter(values)) & (steps[:-1] * steps[1:] < 0)
    # The neighbours of a spike stand out too, to the other side and by half.
    spikes[1:] &= np.abs(aside[1:]) > np.abs(aside[:-1])
    spikes[:-1] &= np.abs(aside[:-1]) > np.abs(aside[1:])
    values[1:-1] -= np.where(spikes, aside, 0)
    return values


def slope(line: pd.Series) -> float:
    """Change per epoch, as the median of the slopes between all pairs (Theil, 1950; Sen, 1968)."""
    if len(line) < 2:
        return 0.0
    return float(theilslopes(line.to_numpy(), line.index.to_numpy(dtype=float)).slope)


def last_third(line: pd.Series) -> pd.Series:
    """Its latest third, at least WINDOW epochs."""
    return line.iloc[-max(WINDOW, len(line) // 3) :]


def moved(line: pd.Series) -> float:
    """What the last third gained or lost along its slope."""
    third = last_third(line)
    return slope(third) * float(third.index[-1] - third.index[0]) if len(third) else 0.0


def turn(line: pd.Series, sign: int = 1, hinges: Sequence[float] = HINGES, judged: float = JUDGED) -> Turn:
    """Whether the line rises (sign 1) or falls (-1) since one of the hinges, rather than being level since.

    hinges, judged: as shares of the line from its end. Gaps between epochs are passed over. Of a line of fewer than 6
    epochs nothing is known.
    """
    if len(line) < LATEST + 2:
        return Turn(int(line.index[0]) if len(line) else 0, 0.0, 0.0, len(line))
    models = _models(len(line), tuple(hinges), judged)
    values = without_spikes(line)[-models.judged :]
    rest, along = models.fit(sign * values)
    level_since = models.likelihood(rest + along**2)
    moving = models.likelihood(rest + np.where(along > 0, 0, along**2))
    best = int(moving.argmax())
    return Turn(
        epoch=int(line.index[len(line) - models.judged + models.hinge[best]]),
        slope=float(sign * along[best] / models.scale[best]),
        ratio=max(0.0, 2 * float(moving.max() - level_since.max())),
        epochs=len(line),
    )


def has_risen(line: pd.Series) -> bool:
    """Whether all that came late after its lowest epoch stands so far above that one that no test is needed.

    A rise in waves is nothing that turn() proves: it takes waves for noise.
    """
    smoothed, size = smooth(line), noise(line)
    lowest, after = float(smoothed.min()), line.loc[smoothed.idxmin() :]
    late = last_third(after)
    enough = len(after) > WINDOW and size > 0
    return enough and late.median() - lowest > CLEAR * size and late.min() - lowest > CLEAR / 2 * size


def provable(line: pd.Series) -> float:
    """The rise per epoch that would be proven in nine of ten lines of this length and white noise."""
    if len(line) < NOISE_FROM:
        return math.inf
    # noise(line) would do, but hardly feels a spike at the price of half the epochs; here spikes are out.
    deviation = float(np.sqrt((_aside(without_spikes(line)) ** 2).mean() / 1.5))
    return deviation * _critical(PROVABLE, len(line))


def falls(line: pd.Series) -> bool:
    """Whether the line still falls over its last third; noise takes about 3 % of level lines for falling.

    That third is judged together with what comes before it, whose noise is known better, or alone, if what comes before
    it is no straight line.
    """
    third = line.iloc[-max(_FEWEST, math.ceil(len(line) / 3)) :]
    together, alone = turn(line, -1, HINGES[:1], FALL_JUDGED), turn(third, -1, (1.0,), judged=1.0)
    return together.ratio > _critical(FALLING, len(line)) or alone.ratio > _critical(FALLING_ALONE, len(line))


def latest(line: pd.Series) -> tuple[float, float]:
    """What the last third of the line lies above (or below, negative) the third before it, and the standard error.

    Two levels with correlated noise, as in turn(). A line that flattens changed less than that within its last third.
    """
    if len(line) < LATEST + 2:
        return 0.0, math.inf
    models = _models(len(line), HINGES[:1], FALL_JUDGED, step=True)
    rest, along = models.fit(without_spikes(line)[-models.judged :])
    best = int(models.likelihood(rest).argmax())
    error = np.sqrt(rest[best] / (models.judged - 2)) / models.scale[best]
    return float(along[best] / models.scale[best]), float(error)


class _Models:
    """Every hinge with every correlation, for lines of one length: what a line is projected on.

    The values before the hinge are a line of their own, as steep as they like; behind it they are level, or not. With
    step they are one level before the hinge, and another behind it.
    """

    def __init__(self, epochs: int, hinges: Sequence[float], judged: float, step: bool = False) -> None:
        self.judged = min(epochs, max(_FEWEST, math.ceil(epochs * judged)))
        time = np.arange(self.judged, dtype=float)
        rows = []
        for hinge in sorted({self._hinge(epochs, share) for share in hinges}):
            columns = [np.ones_like(time)]
            if step:
                columns.append((time > hinge).astype(float))
            else:
                columns += [np.minimum(time - hinge, 0)] if hinge else []
                columns.append(np.maximum(time - hinge, 0))
            design = np.stack(columns, 1)
            for correlation in CORRELATIONS:
                basis, triangle = np.linalg.qr(_whiten(design, correlation))
                wide = np.zeros((self.judged, 3))
                wide[:, -basis.shape[1] :] = basis * np.sign(triangle[-1, -1])
                rows.append((hinge, correlation, wide, abs(triangle[-1, -1])))
        self.hinge, self.scale = [row[0] for row in rows], np.array([row[3] for row in rows])
        self.bases, self.correlation = np.stack([row[2] for row in rows]), np.array([row[1] for row in rows])

    def _hinge(self, epochs: int, share: float) -> int:
        hinge = self.judged - 1 - max(LATEST, round(epochs * share))
        return hinge if hinge > 1 else 0

    def fit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By model: the sum of squared residuals, with a slope since the hinge, and how far the line goes along it."""
        white = np.stack([_whiten(values, each) for each in CORRELATIONS])
        white = np.tile(white, (len(self.bases) // len(CORRELATIONS), 1))
        parts = np.einsum("mt,mtc->mc", white, self.bases)
        floor = self.judged * (_ROUNDING * np.abs(values).max()) ** 2
        return np.maximum((white**2).sum(1) - (parts**2).sum(1), 0) + floor, parts[:, -1]

    def likelihood(self, squares: np.ndarray) -> np.ndarray:
        """By model, the logarithm of the likelihood, with the noise that suits the residuals."""
        with np.errstate(divide="ignore"):
            likelihood: np.ndarray = np.log1p(-(self.correlation**2)) / 2 - self.judged / 2 * np.log(squares)
        return likelihood


_models = lru_cache(maxsize=64)(_Models)


def _whiten(values: np.ndarray, correlation: float) -> np.ndarray:
    """What is new in each epoch: values by epoch, less what follows from the one before (Prais and Winsten, 1954)."""
    white = values.copy()
    white[1:] -= correlation * values[:-1]
    white[0] *= np.sqrt(1 - correlation**2)
    return white


def _critical(table: np.ndarray, epochs: int) -> float:
    return float(np.interp(math.log(epochs), np.log(EPOCHS), table)) if epochs else math.inf
