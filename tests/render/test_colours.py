"""Values as colours: zero white, low to high, one scale for what is compared."""

import math

import numpy as np
import pytest
import torch
from PIL import ImageColor

from cnnviz.render.colours import DARK, LIGHT, PALETTE, Scale, Theme, by_channel, colour
from cnnviz.render.colours import NOT_FINITE as MAGENTA
from cnnviz.render.maps import legend
from tests.helpers.drawn import maps_of

WHITE = (247, 247, 247)


def test_signed_values_are_white_at_zero_and_symmetric() -> None:
    scale = Scale.of([maps_of(torch.tensor([-1.0, 0.5])), maps_of(torch.tensor([0.0, 3.0]))])
    assert scale == Scale(-3.0, 3.0, signed=True)
    assert Scale.of([maps_of(torch.tensor([-3.0, 1.0]))]) == scale
    low, zero, high = colour(torch.tensor([-3.0, 0.0, 3.0]), scale).tolist()
    assert low[2] > low[0] + 50
    assert np.abs(np.subtract(zero, WHITE)).max() <= 1
    assert high[0] > high[2] + 50


def test_values_that_are_not_negative_go_from_dark_to_light() -> None:
    scale = Scale.of([maps_of(torch.tensor([0.2, 0.8]))])
    assert (scale.low, scale.high) == pytest.approx((0.2, 0.8))
    assert (scale.signed, scale.finite) == (False, True)
    ramp = colour(torch.linspace(0.2, 0.8, 100), scale)
    assert ramp[0].tolist() == [0x44, 0x01, 0x54]
    assert ramp[-1].tolist() == [0xFD, 0xE7, 0x25]
    lightness = ramp @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert colour(torch.tensor([-9.0, 9.0]), scale).tolist() == [ramp[0].tolist(), ramp[-1].tolist()]


def test_zero_is_white_even_where_there_is_nothing_else() -> None:
    assert np.abs(colour(torch.zeros(1), Scale(0.0, 0.0, signed=True))[0].astype(int) - WHITE).max() <= 1
    assert colour(torch.zeros(1), Scale(0.0, 0.0, signed=False))[0].tolist() == [0x44, 0x01, 0x54]


def test_what_is_not_finite_has_its_own_colour() -> None:
    maps = maps_of(torch.tensor([math.nan, math.inf, -math.inf, 1.0, 2.0]))
    scale = Scale.of([maps])
    assert scale == Scale(1.0, 2.0, signed=False, finite=False)
    colours = [tuple(c) for c in colour(maps.values, scale).tolist()]
    assert colours[:3] == [MAGENTA] * 3
    assert MAGENTA not in colours[3:]


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.5, 0.5 + 6e-8], [-3e38, 3e38], [math.nan, math.nan]])
def test_scales_at_the_edge_of_arithmetic(values: list[float]) -> None:
    maps = maps_of(torch.tensor(values))
    scale = Scale.of([maps])
    first, second = colour(maps.values, scale).tolist()
    assert (first == second) == (values[0] != -3e38)
    assert np.asarray(legend(scale)).std() > 0


def test_a_locked_scale_spans_every_range() -> None:
    assert Scale.spanning([(0.1, 0.4), (0.2, 0.9)]) == Scale(0.1, 0.9, signed=False)
    assert Scale.spanning([(0.1, 0.4), (-0.2, 0.3)], finite=False) == Scale(-0.4, 0.4, signed=True, finite=False)


def test_scales_by_channel_are_of_one_kind() -> None:
    values = torch.tensor([[[0.0, 2.0]], [[-1.0, 0.5]], [[math.nan, math.nan]]])
    assert by_channel(values[:1]) == [Scale(0.0, 2.0, signed=False)]
    assert by_channel(values) == [Scale(-2, 2, True), Scale(-1, 1, True), Scale(0, 0, True, finite=False)]
    assert by_channel(torch.tensor([0.5, 3.0])) == [Scale(0.5, 3.0, signed=False)]


def _luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


EYES = {  # what linear RGB becomes: Machado, Oliveira, Fernandes (2009), severity 1
    "normal": np.eye(3),
    "deuteranopic": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopic": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
TO_XYZ = np.array([[0.412456, 0.357576, 0.180438], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]])


def _lab(hue: str, eyes: str) -> np.ndarray:
    """CIELAB of a colour, under D65, as those eyes see it."""
    share = np.array(ImageColor.getrgb(hue)) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ (EYES[eyes] @ linear).clip(0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", EYES)
def test_colour_blind_eyes_tell_the_colours_of_lines_apart(eyes: str) -> None:
    seen = [_lab(hue, eyes) for hue in PALETTE]
    apart = [
        (float(np.linalg.norm(one - other)), max(place, at))
        for place, one in enumerate(seen)
        for at, other in enumerate(seen[:place])
    ]
    assert min(distance for distance, last in apart if last < 4) > 20
    assert min(distance for distance, _ in apart) > 9


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("hue", PALETTE)
def test_every_line_stands_out_from_the_paper(hue: str, theme: Theme) -> None:
    line, paper = (_luminance(tuple(part / 255 for part in each)) for each in (ImageColor.getrgb(hue), theme.paper))
    high, low = max(line, paper), min(line, paper)
    assert (high + 0.05) / (low + 0.05) >= 3
