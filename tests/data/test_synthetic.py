"""The drawn set: the same bytes everywhere, nothing but form tells the kinds apart, and form does."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnviz import data, paths
from cnnviz.data import shapes, synthetic


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return shapes.draw("test", 2000)


def test_bytes_never_change() -> None:
    """Where this fails, either the recipe has changed (raise VERSION) or a platform draws other pictures (a fault)."""
    digest = hashlib.sha256()
    for split in ("train", "test"):
        for array in shapes.draw(split, 150):
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest() == "2cddfa5ad22b5fef718ee12418b246c0bec102de3f48d2b551e2748ac363500d"


def test_shapes_and_balance(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = drawn
    assert images.shape == (2000, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [200] * 10
    assert len(np.unique(images.reshape(2000, -1), axis=0)) == 2000


def test_classes_are_not_cifar10s() -> None:
    assert len(set(synthetic.CLASSES)) == 10
    assert not set(synthetic.CLASSES) & set(data.CLASSES)


def test_fewer_pictures_are_the_first_of_more(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = shapes.draw("test", 130)
    assert np.array_equal(images, drawn[0][:130])
    assert np.array_equal(labels, drawn[1][:130])


def test_splits_differ(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert not (shapes.draw("train", 100)[0] == drawn[0][:100]).all(axis=(1, 2, 3)).any()


def test_progress_runs_to_one() -> None:
    reported: list[float] = []
    shapes.draw("train", 250, lambda message, fraction: reported.append(fraction))
    assert reported == [0.4, 0.8, 1.0]


def test_a_share_of_the_training_labels_is_mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = shapes.draw("train", 4000)
    monkeypatch.setattr(shapes, "MISTAKEN", 0.0)
    same_images, kinds = shapes.draw("train", 4000)
    assert np.array_equal(images, same_images)
    assert np.mean(labels != kinds) == pytest.approx(0.15, abs=0.02)  # 3.5 standard errors
    assert np.bincount(kinds).tolist() == [400] * 10


def _ridge_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on the second half of a linear classifier fitted to the first."""
    features = np.column_stack([features, np.ones(len(features))])
    half, onehot = len(features) // 2, np.eye(10)[labels]
    train = features[:half]
    weights = np.linalg.solve(train.T @ train + 10 * np.eye(train.shape[1]), train.T @ onehot[:half])
    return float(np.mean((features[half:] @ weights).argmax(1) == labels[half:]))


def test_colour_tells_nothing_and_form_does(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = shapes.draw("test", 6000)
    scaled = images / 127.5 - 1
    colour = np.column_stack([scaled.mean(axis=(1, 2)), scaled.std(axis=(1, 2))])
    grey = scaled.mean(axis=3)
    form = (grey - grey.mean(axis=(1, 2), keepdims=True)).reshape(6000, 16, 2, 16, 2).mean(axis=(2, 4))
    assert _ridge_accuracy(colour, labels) < 0.14
    assert _ridge_accuracy(form.reshape(6000, -1), labels) > 0.25


@pytest.mark.parametrize("kind", synthetic.CLASSES)
def test_kinds_cover_alike(kind: str) -> None:
    """Each covers a like share of the picture, so that brightness does not give it away; none reaches far beyond."""
    u, v = np.meshgrid(*[np.linspace(-1.5, 1.5, 301, dtype=np.float32)] * 2)
    inside = shapes.KINDS[kind](u, v) < 0
    assert 1.2 < inside.mean() * 9 < 2.5  # area, in units squared
    assert np.hypot(u, v)[inside].max() < 1.45


# -- kept on disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_draw(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twenty pictures instead of 60,000; the splits drawn so far."""
    drawn: list[str] = []
    draw = shapes.draw

    def small(split: str, count: int, on_progress: synthetic.Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(f"{split} {count}")
        return draw(split, 10, on_progress)

    monkeypatch.setattr(synthetic, "draw", small)
    return drawn


def test_synthetic_is_drawn_once_and_kept(small_draw: list[str]) -> None:
    assert data.available("synthetic")
    first = data.load("synthetic")
    assert small_draw == ["train 50000", "test 10000"]
    again = data.load("synthetic")
    assert len(small_draw) == 2
    assert first.synthetic
    assert "not CIFAR-10" in first.title
    assert first.classes == synthetic.CLASSES
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert "whole" in data.check("synthetic")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_synthetic_cache_is_drawn_again(small_draw: list[str], damage: str) -> None:
    first = data.load("synthetic")
    (path,) = paths.data_root().glob("synthetic-*.npz")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content[: {"flip": len(content), "cut": 5000, "empty": 0}[damage]])
    again = data.load("synthetic")
    assert len(small_draw) == 4
    assert torch.equal(first.train_images, again.train_images)
    data.load("synthetic")
    assert len(small_draw) == 4


def test_synthetic_needs_no_folder(small_draw: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "file"))
    assert len(data.load("synthetic").train_images) == 10
