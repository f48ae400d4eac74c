"""The pieces of a step against autograd's and plain formulas; whole steps are checked in test_stack."""

import pytest
import torch

from cnnviz.train import ops


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_pooling_is_pytorchs(kind: str, stride: int, size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pool = torch.nn.functional.max_pool2d if kind == "max" else torch.nn.functional.avg_pool2d
    expected = pool(x, 2, stride)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (theirs,) = torch.autograd.grad(expected, x, grad)
    ours = ops.pool(x.detach(), stride, kind)
    assert torch.allclose(ours, expected)
    assert torch.allclose(ops.pool_backward(x.detach(), ours, grad, stride, kind), theirs, atol=1e-6)
    assert torch.allclose(theirs.sum((0, 2, 3)), grad.sum((0, 2, 3)), atol=1e-5)  # handed on whole, for the bias
