"""What is written on a heat map can be read."""

import numpy as np
import pytest

from cnnviz.render import heat


def contrast(first: str, second: str) -> float:
    light, dark = sorted(heat.luminance(np.array(list(bytes.fromhex(each[1:])))) for each in (first, second))[::-1]
    return (light + 0.05) / (dark + 0.05)


def test_ink_is_read_on_every_shade() -> None:
    for paper, ink in heat.shades(np.linspace(0.1, 0.6, 200).tolist(), 0.1, 0.6):
        assert contrast(paper, ink) >= 4.5


def test_luminance_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known near miss of 4.5


def test_shades_go_from_low_to_high_and_the_bar_shows_them() -> None:
    (low, _), (high, _) = heat.shades([0.1, 0.6], 0.1, 0.6)
    assert (low, high) == ("#440154", "#fde725")
    bar = heat.bar(0.1, 0.6)
    assert bar.startswith("linear-gradient(to right, #440154, ")
    assert bar.endswith("#fde725)")
