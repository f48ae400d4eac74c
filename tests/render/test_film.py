import numpy as np
import torch
from torch import Tensor

from cnnviz.inspection.film import Frame
from cnnviz.render import film
from cnnviz.render.colours import NOT_FINITE

PAPER = (1, 2, 3)


def a_frame(size: float, kernels: Tensor | None = None) -> Frame:
    maps = torch.linspace(-size, size, 6 * 28 * 28).view(6, 28, 28)
    return Frame(1, torch.full((6, 3, 5, 5), size) if kernels is None else kernels, maps, 0, 1.0)


def test_a_scale_covers_the_frames_and_seldom_changes() -> None:
    few, more = [a_frame(1.0), a_frame(1.05)], [a_frame(1.0), a_frame(1.05), a_frame(1.3)]
    scale = film.map_scale(few)
    assert scale.signed
    assert scale.high >= 1.05
    assert scale == film.map_scale(more)
    assert film.kernel_limit(few) == film.kernel_limit(more) >= 1.05


def test_one_frame_that_explodes_leaves_the_others_readable() -> None:
    usual = [a_frame(1.0)] * 4
    assert film.map_scale([*usual, a_frame(1e20)]).high < 20
    assert film.kernel_limit([*usual, a_frame(1e20)]) < 20
    assert film.map_scale([]).high == 1.0
    assert film.kernel_limit([a_frame(0.0)]) == 1.0


def test_kernels_are_the_colours_they_answer_to() -> None:
    weights = torch.zeros(2, 3, 5, 5)
    weights[0, 0] = 1.0  # red
    weights[1, :, 0, 0] = float("nan")
    drawn = np.asarray(film.kernels(a_frame(1.0, weights), 1.0, PAPER))
    assert drawn.shape == (5, 11, 3)
    assert tuple(drawn[2, 2]) == (255, 128, 128)
    assert tuple(drawn[2, 5]) == PAPER  # the gap
    assert tuple(drawn[0, 6]) == NOT_FINITE
    assert tuple(drawn[4, 10]) == (128, 128, 128)


def test_maps_stand_in_two_rows() -> None:
    frame = a_frame(1.0)
    assert film.maps(frame, film.map_scale([frame]), PAPER).size == (3 * 28 + 4, 2 * 28 + 2)
