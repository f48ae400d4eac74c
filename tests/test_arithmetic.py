"""The pieces of a step against autograd's and plain formulas; whole steps are checked in test_stack."""

import pytest
import torch

from cnnviz import arithmetic
from cnnviz.arithmetic import Outer


def test_a_long_layer_is_the_same_cut_in_pieces() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 5, 9216), (2, 9216, 7), (2, 7))
    )
    assert arithmetic.pieces(weight) > 1
    assert arithmetic.pieces(weight[:, :400]) == 1
    assert torch.allclose(arithmetic.dense(x, weight, bias), x @ weight + bias[:, None])


def test_a_prime_number_of_inputs_cannot_be_cut() -> None:
    assert arithmetic.pieces(torch.zeros(1, 10007, 2)) == 1


@pytest.mark.parametrize("scale", [1.0, 1e-12, 0.0])
def test_a_products_norm_without_writing_it_out(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    product = Outer(torch.randn(3, 10, 400, generator=generator), torch.randn(3, 10, 120, generator=generator) * scale)
    written = product.entering.transpose(1, 2) @ product.grad
    assert torch.equal(product.written_out(), written)
    assert torch.allclose(product.norm(), written.flatten(1).norm(dim=1), rtol=1e-5)


def test_a_diverged_products_norm_is_not_finite() -> None:
    grad = torch.zeros(1, 10, 4)
    grad[0, 0, 0] = float("nan")
    assert not Outer(torch.ones(1, 10, 5), grad).norm().isfinite()


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_pooling_is_pytorchs(kind: str, stride: int, size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pool = torch.nn.functional.max_pool2d if kind == "max" else torch.nn.functional.avg_pool2d
    expected = pool(x, 2, stride)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (theirs,) = torch.autograd.grad(expected, x, grad)
    ours = arithmetic.pool(x.detach(), stride, kind)
    assert torch.allclose(ours, expected)
    assert torch.allclose(arithmetic.pool_backward(x.detach(), ours, grad, stride, kind), theirs, atol=1e-6)
    assert torch.allclose(theirs.sum((0, 2, 3)), grad.sum((0, 2, 3)), atol=1e-5)  # handed on whole, for the bias
