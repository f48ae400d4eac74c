"""Kernels as pictures: every weight where it belongs, in the colour that its scale gives it."""

import math

import numpy as np
import pytest
import torch

from cnnviz.render import kernels
from cnnviz.render.colours import DARK, LIGHT, NOT_FINITE, Scale, Theme, colour
from tests.helpers.drawn import colours_of

RED = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 5, 5)


def test_full_colour_is_the_common_limit_or_each_kernels_own() -> None:
    weights = torch.stack([RED, 0.25 * RED, torch.zeros(3, 5, 5)])
    assert kernels.limits(weights, False, 2.0) == [2.0, 2.0, 2.0]
    assert kernels.limits(weights, True, 2.0) == [1.0, 0.25, 1.0]
    common, own = (kernels.as_colours(weights, kernels.limits(weights, how, 1.0)) for how in (False, True))
    assert common[:2, 0, 0].tolist() == [[255, 128, 128], [159, 128, 128]]
    assert own[:2, 0, 0].tolist() == [[255, 128, 128], [255, 128, 128]]
    assert common[2, 0, 0].tolist() == own[2, 0, 0].tolist() == [128, 128, 128]


def test_weights_that_explode_leave_the_others_readable() -> None:
    usual = [torch.ones(6, 3, 5, 5)] * 4
    assert kernels.common_limit(usual) == 1.0
    assert kernels.common_limit([*usual, torch.full((6, 3, 5, 5), 1e20)]) == 8.0
    assert kernels.common_limit([torch.full((1, 3, 5, 5), math.nan)]) == kernels.common_limit([]) == 1.0


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_sheet_shows_every_kernel_and_its_bias(theme: Theme) -> None:
    weights = torch.stack([RED, RED.flip(0), torch.full((3, 5, 5), math.nan)])
    drawn = kernels.sheet(weights, torch.tensor([0.5, -0.25, 0.0]), [1.0, 1.0, 1.0], theme)
    assert {(255, 128, 128), (128, 128, 255), NOT_FINITE, theme.paper} <= colours_of(drawn)
    other = kernels.sheet(weights, torch.tensor([0.5, -0.25, 7.0]), [1.0, 1.0, 1.0], theme)
    assert not np.array_equal(np.asarray(drawn), np.asarray(other))
    narrow = kernels.sheet(torch.stack([RED] * 7), torch.zeros(7), [1.0] * 7, theme, width=400)
    assert narrow.width <= 400
    assert narrow.height == 2 * drawn.height


def test_the_film_has_a_column_for_each_epoch() -> None:
    frames = [(epoch, epoch / 4 * torch.stack([RED, RED])) for epoch in range(5)]
    shown = kernels.film(frames, False, 1.0, 4)
    film = np.asarray(shown)
    middle = film[kernels.LINE + 4 + 22]  # of the first kernel
    reds = [pixel[0] for pixel in middle.tolist() if pixel[1:] == [128, 128]]
    assert sorted(set(reds)) == [128, 159, 191, 223, 255]
    assert reds == sorted(reds)
    assert np.array_equal(np.unique(reds, return_counts=True)[1], [43] * 5)  # 45 pixels with the lines of a frame
    assert kernels.film([(0, RED.expand(40, 3, 5, 5))], True, 1.0, 0).height < 33 * 50


def test_the_grid_has_a_kernel_for_each_map_in_and_out() -> None:
    weights = torch.zeros(4, 3, 2, 2)
    weights[2, 1] = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    bias = torch.tensor([0.0, 0.0, -1.0, 0.0])
    scale = Scale(-1.0, 1.0, True)
    drawn = np.asarray(kernels.grid(weights, bias, scale))
    zoom, gap = 8, 2
    left, top = kernels.MARGIN + 2 * (2 * zoom + gap), kernels.LINE + 2 * zoom + gap
    found = drawn[top : top + 2 * zoom, left : left + 2 * zoom][::zoom, ::zoom]
    assert np.array_equal(found, colour(weights[2, 1], scale))
    assert np.array_equal(drawn[-1, left], colour(bias, scale)[2])
    # conv5's last: 96 times 48 kernels
    large = kernels.grid(torch.rand(96, 48, 3, 3), torch.rand(96), scale)
    assert large.width <= kernels.WIDTH
