"""Pictures that show nothing: for tests of what is done with them."""

import torch

from cnnviz.data import CLASSES, Dataset


def noise(train: int, test: int, seed: int = 0) -> Dataset:
    """So many pictures to train and to test on, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (train + test, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (train + test,), generator=generator)
    return Dataset("synthetic", "Noise", CLASSES, images[:train], labels[:train], images[train:], labels[train:])
