"""Changed pictures against torchvision's, and what is drawn."""

import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from cnnviz import data
from cnnviz.config import AUGMENTATIONS
from cnnviz.data import augment

IMAGES = torch.randint(0, 256, (200, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DRAWN = augment.draws(3, 7, 200)


def test_what_is_drawn_is_even_and_follows_from_seed_and_epoch() -> None:
    many = augment.draws(0, 1, 20_000)
    for column, values in enumerate((2, 9, 9, 32, 32)):
        counts = many[:, column].bincount(minlength=values)
        assert len(counts) == values
        expected = 20_000 / values
        assert float(((counts - expected) ** 2 / expected).sum()) < 3 * values  # chi-squared
    assert torch.equal(augment.draws(0, 1, 20_000), many)
    assert not torch.equal(augment.draws(0, 2, 20_000), many)
    assert not torch.equal(augment.draws(1, 1, 20_000), many)


def test_nothing_drawn_changes_nothing() -> None:
    still = torch.tensor([[0, augment.SHIFT, augment.SHIFT, 0, 0]]).expand(200, -1)
    assert torch.equal(augment.augmented(IMAGES, still, "flip+shift"), data.normalise(IMAGES))


@pytest.mark.parametrize("kind", ["flip", "shift", "flip+shift"])
def test_flips_and_shifts_are_torchvisions(kind: str) -> None:
    found = augment.augmented(IMAGES, DRAWN, kind)
    for picture, (mirrored, down, right, _, _), changed in zip(IMAGES, DRAWN.tolist(), found, strict=True):
        expected = picture.permute(2, 0, 1)
        if mirrored and "flip" in kind:
            expected = transforms.horizontal_flip(expected)
        if "shift" in kind:
            expected = transforms.crop(transforms.pad(expected, [4]), down, right, 32, 32)
        assert torch.equal(changed, data.normalise(expected.permute(1, 2, 0)[None])[0])


def test_a_square_around_its_centre_is_covered() -> None:
    found, plain = augment.augmented(IMAGES, DRAWN, "cutout"), data.normalise(IMAGES)
    for (_, _, _, row, column), changed, before in zip(DRAWN.tolist(), found, plain, strict=True):
        expected = before.clone()
        expected[:, max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0
        assert torch.equal(changed, expected)


@pytest.mark.parametrize("kind", [each for each in AUGMENTATIONS if each != "none"])
def test_every_kind_is_made_of_these(kind: str) -> None:
    one = DRAWN[:1].clone()
    one[0] = torch.tensor([1, 0, 8, 16, 16])
    values, plain = augment.augmented(IMAGES[:1], one, kind)[0], data.normalise(IMAGES[:1])[0]
    assert bool((values[:, 8:24, 8:24] == 0).all()) == ("cutout" in kind)
    corner = plain.flip(2) if "flip" in kind else plain
    assert torch.equal(values[:, 4:8, 0:8], corner[:, 0:4, 4:12] if "shift" in kind else corner[:, 4:8, 0:8])
