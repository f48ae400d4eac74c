"""Large fully connected layers against plain formulas, in double precision."""

import pytest
import torch
from torch import Tensor

from cnnviz.train import dense, native
from cnnviz.train.dense import Outer
from tests.helpers.large_layers import assert_plain

SHAPES = [  # networks, pictures, inputs, units
    (1, 10, 6000, 120),
    (3, 4, 9001, 50),  # rows that end within a vector, and do not divide among the cores
    (2, 13, 130_000, 2),  # less than a vector; a block of pictures that is not full
    (1, 64, 1024, 257),
    (1, 1, 7, 40_000),  # fewer rows than chunks
]
needs_a_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")


def layer(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Weight, bias, what enters, the gradient of the values, and rates."""
    networks, pictures, inputs, units = shape
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(networks, inputs, units, generator=generator) * 0.01
    bias = torch.randn(networks, units, generator=generator)
    entering = torch.randn(pictures, networks, inputs, generator=generator).transpose(0, 1)  # not contiguous
    grad = torch.randn(networks, pictures, units, generator=generator)
    return weight, bias, entering, grad, torch.linspace(0.01, 0.02, networks)


@pytest.mark.parametrize("compiles", [pytest.param(True, marks=needs_a_compiler), False])
@pytest.mark.parametrize("shape", SHAPES)
def test_forwards_and_backwards(
    shape: tuple[int, int, int, int], compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiles:
        monkeypatch.setattr(dense, "_compiled", lambda *_: None)
    weight, bias, entering, grad, rates = layer(shape)
    assert dense.is_large(weight)
    assert_plain(weight, bias, entering, grad, rates)


def test_small_layers_and_other_digits_are_left_to_pytorch() -> None:
    weight, bias, entering, _, _ = layer((2, 5, 400, 120))
    assert not dense.is_large(weight)
    assert torch.equal(dense.forward(weight, bias, entering), torch.baddbmm(bias[:, None], entering, weight))
    weight, bias, entering, grad, rates = (each.double() for each in layer((1, 5, 6000, 60)))
    expected = entering @ weight + bias[:, None], grad @ weight.mT
    assert torch.allclose(dense.forward(weight, bias, entering), expected[0])
    assert torch.allclose(dense.back_and_learn(weight, entering, grad, rates)[0], expected[1])


@needs_a_compiler
def test_the_same_bits_on_any_number_of_threads() -> None:
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        weight, bias, entering, grad, rates = layer(SHAPES[1])
        values = dense.forward(weight, bias, entering)
        found.append((values, *dense.back_and_learn(weight, entering, grad, rates), weight))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for each in found[1:] for one, other in zip(found[0], each, strict=True))


@needs_a_compiler
def test_a_diverged_network_stays_alone() -> None:
    found = []
    for value in (0.0, float("nan")):
        weight, bias, entering, grad, rates = layer(SHAPES[1])
        weight[1], entering[1], grad[1] = value, value, value
        values = dense.forward(weight, bias, entering)
        found.append((values, *dense.back_and_learn(weight, entering, grad, rates), weight))
    assert found[1][3][1].isnan().all()
    assert all(torch.equal(one[run], other[run]) for one, other in zip(*found, strict=True) for run in (0, 2))


def test_what_the_compiler_assumes_of_them_is_true() -> None:
    weight, bias, entering, grad, rates = layer((2, 4, 5003, 50))
    torch.library.opcheck(dense._forward, (weight, bias, entering))
    torch.library.opcheck(dense.back_and_learn, (weight, entering, grad, rates))


@needs_a_compiler
def test_a_compiler_that_cannot_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    native.library.cache_clear()
    dense._compiled.cache_clear()
    weight, bias, entering, _, _ = layer((1, 3, 5000, 51))
    for _ in range(2):
        assert torch.allclose(dense.forward(weight, bias, entering), entering @ weight + bias[:, None], atol=1e-4)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dense.cpp cannot be compiled: ")
    assert line.endswith("PyTorch's products are used instead")
    dense._compiled.cache_clear()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 0.0])
def test_a_products_norm_without_writing_it_out(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    product = Outer(torch.randn(3, 10, 400, generator=generator), torch.randn(3, 10, 120, generator=generator) * scale)
    written = product.inputs.transpose(1, 2) @ product.grad
    assert torch.equal(product.written_out(), written)
    assert torch.allclose(product.norm(), written.flatten(1).norm(dim=1), rtol=1e-5)


def test_a_diverged_products_norm_is_not_finite() -> None:
    grad = torch.zeros(1, 10, 4)
    grad[0, 0, 0] = float("nan")
    assert not Outer(torch.ones(1, 10, 5), grad).norm().isfinite()
