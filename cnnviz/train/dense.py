"""Fully connected layers, and the backward pass of large ones.

conv5's first one has 8.4 million weights, 34 MB, and 10 pictures make 20 operations with each whenever it is read: what
takes the time is to fetch them. A library's products leave most of that to one core, and read the weights twice in the
backward pass. On a CPU all cores go through the rows once forwards and once backwards, in C++ of our own (dense.cpp).
"""

import ctypes
import functools
from typing import NamedTuple

import torch
from torch import Tensor

from cnnviz.errors import CnnvizError
from cnnviz.train import native

LARGE = 250_000  # weights of one network's layer, 1 MB: no longer in a core's own cache
FEW = 64  # pictures; with more, a library's products do enough with each weight they fetch


def is_large(weight: Tensor) -> bool:
    return weight.shape[1] * weight.shape[2] >= LARGE


class Outer(NamedTuple):
    """The gradient of a fully connected layer's weights as its two factors: written out it is as large as they are."""

    inputs: Tensor  # (K, N, inputs)
    grad: Tensor  # (K, N, units), with respect to the layer's values

    def written_out(self) -> Tensor:
        return self.inputs.mT @ self.grad

    def norm(self) -> Tensor:
        """L2 norm by run (K,): ‖XᵀG‖² is the sum of XXᵀ ∘ GGᵀ, N × N numbers."""
        products = (self.inputs @ self.inputs.mT) * (self.grad @ self.grad.mT)
        return products.sum((1, 2)).clamp(min=0).sqrt()


class Learned(NamedTuple):
    """The gradient of weights that have taken their step already."""

    l2: Tensor  # its norm by run (K,)

    def norm(self) -> Tensor:
        return self.l2


Gradient = Tensor | Outer | Learned  # of any layer's weights


def forward(weight: Tensor, bias: Tensor, inputs: Tensor) -> Tensor:
    """Values (K, N, units) of weight (K, inputs, units), bias (K, units) and inputs (K, N, inputs)."""
    is_ours = is_large(weight) and inputs.shape[1] <= FEW
    return (_forward if is_ours else _product)(weight, bias, inputs)


def _product(weight: Tensor, bias: Tensor, inputs: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight)


def _products(weight: Tensor, inputs: Tensor, grad: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the layer's inputs (K, N, inputs), from that of its values (K, N, units), and the L2 norm of its
    weights' gradient (K,); then a step of gradient descent on weight (K, inputs, units) in place, at these rates (K,).
    """
    before, norm = grad @ weight.mT, Outer(inputs, grad).norm()
    weight.baddbmm_(inputs.mT, -rates[:, None, None] * grad)
    return before, norm


_TAGS = (torch.Tag.flexible_layout,)  # else the compiler copies the inputs, once for each of the two
_forward = torch.library.custom_op("cnnviz::forward", _product, mutates_args=(), tags=_TAGS)
back_and_learn = torch.library.custom_op("cnnviz::back_and_learn", _products, mutates_args=("weight",), tags=_TAGS)


@_forward.register_fake
def _values_like(weight: Tensor, bias: Tensor, inputs: Tensor) -> Tensor:
    return inputs.new_empty(*inputs.shape[:2], weight.shape[2])


@back_and_learn.register_fake
def _before_like(weight: Tensor, inputs: Tensor, grad: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(inputs, memory_format=torch.contiguous_format), torch.empty_like(rates)


@_forward.register_kernel("cpu")
def _forward_on_cpu(weight: Tensor, bias: Tensor, inputs: Tensor) -> Tensor:
    library = _library(weight, len(inputs[0]))
    if library is None:
        return _product(weight, bias, inputs)
    values = inputs.new_empty(*inputs.shape[:2], weight.shape[2])
    for one in zip(weight, bias, inputs.contiguous(), values, strict=True):
        library.forward(*(each.data_ptr() for each in one), weight.shape[1])
    return values


@back_and_learn.register_kernel("cpu")
def _back_on_cpu(weight: Tensor, inputs: Tensor, grad: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    library = _library(weight, len(grad[0]))
    if library is None:
        return _products(weight, inputs, grad, rates)
    before = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    norms = [
        library.back_and_learn(*(each.data_ptr() for each in one), weight.shape[1], rate)
        for rate, *one in zip(rates.tolist(), weight, inputs.contiguous(), grad.contiguous(), before, strict=True)
    ]
    return before, torch.tensor(norms)


def _library(weight: Tensor, pictures: int) -> ctypes.CDLL | None:
    return _compiled(weight.shape[2], pictures) if weight.dtype == torch.float32 else None


@functools.cache
def _compiled(units: int, pictures: int) -> ctypes.CDLL | None:
    """dense.cpp for that many, compiled in a fraction of a second; None if there is no compiler or it fails."""
    if native.compiler() is None:
        return None
    try:
        library = native.library("dense.cpp", *native.openmp(), UNITS=units, PICTURES=pictures)
    except CnnvizError as error:
        native.note(f"{error}; PyTorch's products are used instead")
        return None
    library.forward.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_long]
    library.back_and_learn.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_long, ctypes.c_float]
    library.back_and_learn.restype = ctypes.c_float
    return library
