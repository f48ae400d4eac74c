"""Large fully connected layers against plain formulas, in double precision."""

import torch
from torch import Tensor

from cnnviz.train import dense


def assert_plain(weight: Tensor, bias: Tensor, entering: Tensor, grad: Tensor, rates: Tensor) -> None:
    """Forwards, and backwards with a step: the weight changes in place."""
    wide, long, arriving = weight.double(), entering.double(), grad.double()
    values = dense.forward(weight, bias, entering)
    assert torch.allclose(values.double(), long @ wide + bias[:, None], atol=2e-5)
    before, norm = dense.back_and_learn(weight, entering, grad, rates)
    gradient = long.mT @ arriving
    assert torch.allclose(before.double(), arriving @ wide.mT, atol=1e-5)
    assert torch.allclose(weight.double(), wide - rates[:, None, None] * gradient, atol=1e-5)
    assert torch.allclose(norm.double(), gradient.flatten(1).norm(dim=1), rtol=1e-4)
