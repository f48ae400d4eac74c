"""Modules that torch.nn lacks, against arithmetic written out."""

import itertools
from collections import OrderedDict

import pytest
import torch
from torch import nn

from cnnviz.modules import Addition, GlobalAverage, Shortcuts, walk

MAPS = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("stride", "more", "side"), [(1, 0, 7), (2, 0, 4), (1, 2, 7), (2, 5, 4)])
def test_a_sum_adds_what_the_shortcut_has_and_zeros_where_it_has_nothing(stride: int, more: int, side: int) -> None:
    x = torch.rand(2, 3 + more, side, side)
    found = Addition("c1", stride, more)(x, MAPS)
    for channel in range(3 + more):
        for row, column in ((0, 0), (1, side - 1)):
            brought = MAPS[:, channel, row * stride, column * stride] if channel < 3 else 0
            assert torch.equal(found[:, channel, row, column], x[:, channel, row, column] + brought)


def test_an_input_may_be_added_twice() -> None:
    children = OrderedDict[str, nn.Module](a=nn.ReLU(), b=nn.Tanh(), c=Addition("a", 1, 0), d=Addition("a", 1, 0))
    module = Shortcuts(children)
    x = (MAPS - 0.5).relu()
    torch.testing.assert_close(module(MAPS - 0.5), x.tanh() + 2 * x)
    steps = list(walk(module, MAPS - 0.5))
    assert [name for name, _, _ in steps] == ["a", "b", "c", "d"]
    for (_, _, left), (_, entered, _) in itertools.pairwise(steps):
        assert left is entered


def test_a_global_average_is_the_mean_of_each_map() -> None:
    torch.testing.assert_close(GlobalAverage()(MAPS), MAPS.flatten(2).mean(2))
