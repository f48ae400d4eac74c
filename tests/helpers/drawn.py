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
    pixels, (tall, wide) = np.asarray(picture), part.shape[:2]
    rows, columns = pixels.shape[0] - tall + 1, pixels.shape[1] - wide + 1
    maybe = np.ones((rows, columns), bool)
    for y, x in np.random.default_rng(0).integers(0, (tall, wide), (40, 2)):
        maybe &= (pixels[y : y + rows, x : x + columns] == part[y, x]).all(-1)
    return any(np.array_equal(pixels[y : y + tall, x : x + wide], part) for y, x in np.argwhere(maybe))


def maps_of(values: torch.Tensor) -> LayerMaps:
    return LayerMaps("c1", ARCHITECTURES["lenet5x5"].layers[0], values)
