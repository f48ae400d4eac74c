"""Colours of a heat map whose cells are written on: viridis, with the ink that is read best on each."""

from collections.abc import Sequence

import numpy as np
import torch

from cnnviz.render.colours import Scale, colour

DARK_INK, LIGHT_INK = "#000000", "#ffffff"
_STOPS = 9  # of the colour bar


def shades(values: Sequence[float], low: float, high: float) -> list[tuple[str, str]]:
    """For each value its colour, from low to high, and the ink on it, whose contrast is 4.5:1 or more."""
    found = colour(torch.tensor(list(values), dtype=torch.float64), Scale(low, high, signed=False))
    return [("#" + bytes(rgb).hex(), ink(rgb)) for rgb in found]


def bar(low: float, high: float) -> str:
    """The colour bar, as CSS, from left to right."""
    stops = shades([low + (high - low) * step / (_STOPS - 1) for step in range(_STOPS)], low, high)
    return f"linear-gradient(to right, {', '.join(paper for paper, _ in stops)})"


def ink(rgb: np.ndarray) -> str:
    return DARK_INK if luminance(rgb) > 0.179 else LIGHT_INK  # there black and white have the same contrast


def luminance(rgb: np.ndarray) -> float:
    """Relative luminance of a colour (WCAG 2.2), 0 to 1."""
    share = np.asarray(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
