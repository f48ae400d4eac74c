"""Robust statistics of one line: levels by medians, noise by absolute deviations, slopes by Theil and Sen.

A line is a series of finite values by epoch, in order. One spike moves none of these figures far.
"""

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

WINDOW = 3  # epochs that make a level: the fewest whose median passes over a spike
WINDOW_SHARE = 0.05  # of a long line: 25 of 500 epochs
NOISE_FROM = 5  # epochs, the fewest that noise is estimated from
_SIGMA = 1.4826  # a normal distribution's standard deviation, in median absolute deviations


def smooth(line: pd.Series, width: int = 0) -> pd.Series:
    """Median over `width` neighbouring epochs, at the ends over those there are; 0: a width that suits the line."""
    width = width or max(WINDOW, int(len(line) * WINDOW_SHARE) // 2 * 2 + 1)
    # The median of two is their mean, which a spike would move: an end takes its neighbour's value.
    return line.rolling(width, center=True, min_periods=min(WINDOW, len(line))).median().bfill().ffill()


def level(line: pd.Series) -> float:
    """Where the line stands now: the median of its last WINDOW epochs."""
    return float(np.median(line.to_numpy()[-WINDOW:]))


def noise(line: pd.Series) -> float:
    """Standard deviation of one epoch about its neighbours' trend; 0 for fewer than NOISE_FROM epochs."""
    if len(line) < NOISE_FROM:
        return 0.0
    values = line.to_numpy()
    aside = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(_SIGMA * np.median(np.abs(aside)) / np.sqrt(1.5))  # a middle and half of two: variance 1.5


def slope(line: pd.Series, spread: float | None = None) -> tuple[float, float]:
    """Change per epoch, as the median of the slopes between all pairs (Theil, 1950; Sen, 1968), and its standard error.

    The error is that of a least-squares slope with this much noise. spread: the standard deviation of one epoch; by
    default, that about the slope itself, which a curved line overstates.
    """
    if len(line) < 2:
        return 0.0, 0.0
    epochs, values = line.index.to_numpy(dtype=float), line.to_numpy()
    middle = float(theilslopes(values, epochs).slope)
    if spread is None:
        rest = values - middle * epochs
        spread = _SIGMA * float(np.median(np.abs(rest - np.median(rest))))
    return middle, spread / float(np.sqrt(((epochs - epochs.mean()) ** 2).sum()))


def last_third(line: pd.Series) -> pd.Series:
    """Its latest third, at least WINDOW epochs."""
    return line.iloc[-max(WINDOW, len(line) // 3) :]


def moved(line: pd.Series) -> float:
    """What the last third gained or lost along its slope."""
    third = last_third(line)
    return slope(third)[0] * float(third.index[-1] - third.index[0]) if len(third) else 0.0
