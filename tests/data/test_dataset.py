"""A data set's tensors: limited, moved, in the order of the batches."""

import torch

from cnnviz import data


def _dataset(n: int = 12) -> data.Dataset:
    images, labels = torch.arange(n * 3072).remainder(256).to(torch.uint8).view(n, 32, 32, 3), torch.arange(n)
    return data.Dataset("cifar10", "CIFAR-10", data.CLASSES, images, labels, images.clone(), labels.clone())


def test_limited_takes_the_first() -> None:
    dataset = _dataset()
    assert torch.equal(dataset.limited(5).train_images, dataset.train_images[:5])
    assert dataset.limited(5).train_labels.tolist() == [0, 1, 2, 3, 4]
    assert len(dataset.limited(5).test_images) == 12
    assert dataset.limited(0) is dataset


def test_the_last_are_held_out_whatever_the_limit() -> None:
    dataset = _dataset()
    for n, kept in ((0, 9), (4, 4)):
        parts = dataset.limited(n, held_out=3)
        assert parts.train_labels.tolist() == list(range(kept))
        assert parts.validation_labels is not None
        assert parts.validation_images is not None
        assert parts.validation_labels.tolist() == [9, 10, 11]
        assert torch.equal(parts.validation_images, dataset.train_images[9:])
        assert len(parts.train_images) == kept
        assert parts.to("meta").validation_images.device.type == "meta"  # type: ignore[union-attr]


def test_to_moves_every_tensor() -> None:
    moved = _dataset().to("meta")
    assert {moved.train_images.device.type, moved.train_labels.device.type} == {"meta"}
    assert {moved.test_images.device.type, moved.test_labels.device.type} == {"meta"}


def test_batch_order_is_a_permutation_of_seed_and_epoch() -> None:
    order = data.batch_order(3, 4, 1000)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(1000))
    assert torch.equal(order, data.batch_order(3, 4, 1000))
    others = [data.batch_order(3, 5, 1000), data.batch_order(4, 4, 1000), data.batch_order(4, 3, 1000)]
    assert not any(torch.equal(order, other) for other in others)
    assert abs(float(torch.corrcoef(torch.stack([order, others[0]]).double())[0, 1])) < 0.1


def test_batch_order_never_changes() -> None:
    """A run resumed on another machine, or after an update, goes on with the batches it would have had."""
    assert data.batch_order(0, 1, 10).tolist() == [7, 4, 5, 1, 9, 8, 6, 2, 0, 3]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(data.batch_order(2**31 - 1, 10_000, 50_000), data.batch_order(2**31 - 1, 10_000, 50_000))
