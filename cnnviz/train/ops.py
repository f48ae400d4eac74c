"""The arithmetic of activations, convolutions and pooling, forwards and backwards, on the tensors of a whole stack.

Written so that the compiler vectorises it and copies nothing: feature maps are (N, C, H, W) in channels-last memory.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

aten = torch.ops.aten

FLAT = 0.05  # a unit is saturated or inactive if its slope is under this share of the activation's steepest

_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
# (value, output, gradient of the output) → gradient of the value.
_ACTIVATION_GRADIENT: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda value, output, grad: aten.sigmoid_backward(grad, output),
    "tanh": lambda value, output, grad: aten.tanh_backward(grad, output),
    "relu": lambda value, output, grad: aten.threshold_backward(grad, output, 0),
    "leaky_relu": lambda value, output, grad: aten.leaky_relu_backward(grad, value, 0.01, False),
    "gelu": lambda value, output, grad: aten.gelu_backward(grad, value),
    "silu": lambda value, output, grad: aten.silu_backward(grad, value),
}
_STEEPEST = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0, "leaky_relu": 1.0, "gelu": 1.129, "silu": 1.0998}
# These never fall, so max pooling may come first: the same numbers, with a quarter of the activations to compute.
MONOTONE = ("sigmoid", "tanh", "relu", "leaky_relu")


def activate(name: str, value: Tensor) -> Tensor:
    return _ACTIVATE[name](value)


def activation_gradient(name: str, value: Tensor, output: Tensor, grad: Tensor) -> Tensor:
    """Gradient of an activation's output → gradient of its value."""
    return _ACTIVATION_GRADIENT[name](value, output, grad)


def is_flat(name: str, value: Tensor, output: Tensor) -> Tensor:
    """1 where the activation's slope is under FLAT of its steepest, else 0."""
    slope = activation_gradient(name, value, output, torch.ones_like(value))
    return (slope.abs() < FLAT * _STEEPEST[name]).float()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, groups: int) -> Tensor:
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, padding: int, groups: int) -> Tensor:
    only_weights = [False, True, False]
    return aten.convolution_backward(
        grad, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, only_weights
    )[1]


def input_gradient(weight: Tensor, grad: Tensor, padding: int, groups: int) -> Tensor:
    """The convolution of the gradient with the kernels turned by 180° and their in- and outputs exchanged."""
    turned = weight.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    around = weight.shape[2] - 1 - padding
    if around < 0:  # more padding than a kernel reaches over: the outermost cells saw padding alone
        grad, around = F.pad(grad, [around] * 4), 0
    return convolve(grad, turned, None, around, groups)


def pool(x: Tensor, stride: int, kind: str) -> Tensor:
    """2×2 pooling of (N, C, H, W) written as elementwise operations: they vectorise, and fuse with their neighbours."""
    a, b, c, d = _corners(x, stride)
    if kind == "max":
        return torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
    return (a + b + c + d) * 0.25


def pool_backward(x: Tensor, pooled: Tensor, grad: Tensor, stride: int, kind: str) -> Tensor:
    """Gradient of pool() with respect to x, (N, C, H, W).

    Equal maxima share it, whereas PyTorch gives it to the first. They occur in a picture's plain areas; there the
    patches that they see are equal too, and so are the weights' gradients.
    """
    if kind == "avg" and stride == 1:
        return pool(F.pad(grad, (1, 1, 1, 1)), 1, "avg")
    if kind == "avg":
        share, corners = grad * 0.25, []
    else:
        corners = [corner == pooled for corner in _corners(x, stride)]
        share = grad / sum(corner.float() for corner in corners)
    if stride == 1:
        places = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))
        shares = [torch.where(corner, share, 0.0) for corner in corners]
        spread = [F.pad(each, place) for each, place in zip(shares, places, strict=True)]
        return spread[0] + spread[1] + spread[2] + spread[3]
    height, width = 2 * pooled.shape[2], 2 * pooled.shape[3]
    blocks = _spread(share)
    if kind == "max":
        cells = x[:, :, :height, :width].permute(0, 2, 3, 1).unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        blocks = torch.where(cells == _spread(pooled), blocks, 0.0)
    whole = blocks.expand(-1, -1, 2, -1, 2, -1).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    return F.pad(whole, (0, x.shape[3] - width, 0, x.shape[2] - height))


def _spread(values: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H, 1, W, 1, C)."""
    return values.permute(0, 2, 3, 1)[:, :, None, :, None]


def _corners(x: Tensor, stride: int) -> list[Tensor]:
    height, width = ((size - 2) // stride * stride + 1 for size in x.shape[2:])
    return [x[:, :, i : i + height : stride, j : j + width : stride] for i in (0, 1) for j in (0, 1)]
