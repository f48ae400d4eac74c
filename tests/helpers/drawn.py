"""Networks and pictures to draw, and whether something was drawn."""

import numpy as np
import torch
from PIL import Image

from cnnviz.architectures import ARCHITECTURES, architecture, initial_weights
from cnnviz.inspection.network import LayerMaps, Network, load_network

IMAGES = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(model: str = "lenet5x5", activation: str = "tanh") -> Network:
    arch = architecture(model)
    return load_network(arch, activation, arch.pooling, initial_weights(arch, seed=0))


def has(picture: Image.Image, part: np.ndarray) -> bool:
    """Whether the part lies somewhere in the picture, pixel for pixel."""
    pixels, wanted = _numbers(np.asarray(picture)), _numbers(part)
    tall, wide = wanted.shape
    top, left = np.nonzero(pixels[: pixels.shape[0] - tall + 1, : pixels.shape[1] - wide + 1] == wanted[0, 0])
    for y, x in np.random.default_rng(0).integers(0, (tall, wide), (40, 2)):
        maybe = pixels[top + y, left + x] == wanted[y, x]
        top, left = top[maybe], left[maybe]
    return any(np.array_equal(pixels[y : y + tall, x : x + wide], wanted) for y, x in zip(top, left, strict=True))


def colours_of(picture: Image.Image) -> set[tuple[int, ...]]:
    """Red, green and blue of every colour in it."""
    numbers = np.unique(_numbers(np.asarray(picture)))
    return set(zip(*((numbers >> shift & 255).tolist() for shift in (16, 8, 0)), strict=True))


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """A number for each pixel's colour: (height, width)."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    numbers: np.ndarray = red << 16 | green << 8 | blue
    return numbers


def maps_of(values: torch.Tensor) -> LayerMaps:
    return LayerMaps("c1", ARCHITECTURES["lenet5x5"].layers[0], values)
