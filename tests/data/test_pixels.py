"""What a network is shown of pixels, on each scale."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cnnviz import data
from cnnviz.config import DATASETS, NORMALISATIONS
from cnnviz.data import pixels, shapes

IMAGES = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES[0, 0, 0] = torch.tensor([0, 255, 128])


def test_unit_is_the_tutorials_transform() -> None:
    oracle = v2.Normalize([0.5] * 3, [0.5] * 3)(IMAGES.permute(0, 3, 1, 2) / 255)
    ours = data.normalise(IMAGES)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=2e-7)
    assert (ours.min(), ours.max()) == (-1, 1)
    assert torch.equal(ours, data.normalise(IMAGES, data.scale_of("unit", "cifar10")))


@pytest.mark.parametrize("dataset", DATASETS)
def test_standard_is_torchvisions_normalize(dataset: str) -> None:
    mean, deviation = pixels.STATISTICS[dataset]
    oracle = v2.Normalize(mean, deviation)(IMAGES.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(data.normalise(IMAGES, data.scale_of("standard", dataset)), oracle, rtol=0, atol=1e-6)


def test_raw_is_the_pixels_themselves() -> None:
    assert torch.equal(data.normalise(IMAGES, data.scale_of("raw", "cifar10")), IMAGES.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("how", NORMALISATIONS)
def test_every_scale_is_float32_in_channels_last_and_knows_its_grey(how: str, dataset: str) -> None:
    before, scale = IMAGES.clone(), data.scale_of(how, dataset)
    found = data.normalise(IMAGES, scale)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(IMAGES, before)
    grey = data.normalise(torch.full((1, 32, 32, 3), 128, dtype=torch.uint8), scale)
    torch.testing.assert_close(scale.grey(128), grey[0, :, 0, 0])
    assert scale.grey().abs().max() == 0 or how != "unit"


def test_the_synthetic_sets_statistics_are_those_of_its_pictures() -> None:
    images, _ = shapes.draw("train", 2000)
    values = images.reshape(-1, 3).astype(np.float64) / 255
    mean, deviation = pixels.STATISTICS["synthetic"]
    assert values.mean(0) == pytest.approx(mean, abs=0.01)
    assert values.std(0) == pytest.approx(deviation, abs=0.01)
