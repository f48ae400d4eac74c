"""Predictions of the whole test set: the same as computed anew, computed once, and of the weights that are there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cnnviz import paths
from cnnviz.architectures import architecture, build, initial_weights
from cnnviz.data import Dataset
from cnnviz.errors import CheckpointError
from cnnviz.inspection import outputs, recorded
from cnnviz.store import artifacts, checkpoints
from cnnviz.store import outputs as store
from cnnviz.store.runs import Run
from tests.helpers.noise import noise
from tests.helpers.runs import run as made_up

MODEL = "c2k5-s2-f6"


@pytest.fixture
def dataset() -> Dataset:
    return noise(0, 600)


@pytest.fixture
def run() -> Run:
    """In no store, which would take seconds to make: its checkpoints alone are there."""
    for epoch in range(4):
        save("drawn", epoch, seed=epoch)
    return made_up("drawn", model=MODEL, dataset="synthetic")


def save(run_id: str, epoch: int, seed: int) -> None:
    weights = {name: 3 * each for name, each in initial_weights(architecture(MODEL), seed).items()}
    checkpoints.save(artifacts.folder_of(run_id) / "checkpoints" / checkpoints.file_name(epoch), weights)


def plain(run: Run, epoch: int, images: Tensor) -> Tensor:
    """The logits by PyTorch alone."""
    module = build(run.architecture, run.config.activation, run.config.pooling)
    module.load_state_dict(artifacts.load_checkpoint(run, epoch))
    with torch.no_grad():
        return module((images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The epochs that were computed."""
    asked: list[int] = []
    load = recorded.load

    def noted(run: Run, epoch: int) -> recorded.Network:
        asked.append(epoch)
        return load(run, epoch)

    monkeypatch.setattr(recorded, "load", noted)
    return iter([asked])


def test_they_are_plain_pytorchs_and_computed_once(run: Run, dataset: Dataset, computed: Iterator[list[int]]) -> None:
    asked = next(computed)
    assert outputs.kept(run, 2, dataset) is None
    for _ in range(2):
        found = outputs.of(run, 2, dataset)
        logits = plain(run, 2, dataset.test_images)
        assert torch.equal(found.classes, logits.argmax(1))
        torch.testing.assert_close(found.probabilities, logits.softmax(1), atol=2e-4, rtol=0)
        torch.testing.assert_close(found.confidence, logits.softmax(1).amax(1), atol=1e-6, rtol=0)
        assert bool(found.decided.all())
    again = outputs.kept(run, 2, dataset)
    assert again is not None
    assert torch.equal(again.logits, found.logits)
    assert torch.equal(again.first(7).confidence, found.confidence[:7])
    assert torch.equal(again.first(7).classes, found.classes[:7])
    assert asked == [2]


def test_every_epoch_in_order_with_its_progress(run: Run, dataset: Dataset, computed: Iterator[list[int]]) -> None:
    asked, said = next(computed), []
    outputs.of(run, 1, dataset)
    found = list(outputs.each_epoch(run, [0, 1, 3], dataset, lambda *each: said.append(each)))
    assert [epoch for epoch, _ in found] == [0, 1, 3]
    for epoch, prediction in found:
        assert torch.equal(prediction.classes, plain(run, epoch, dataset.test_images).argmax(1))
    assert said == [("1 of 3 epochs", 1 / 3), ("2 of 3 epochs", 2 / 3), ("3 of 3 epochs", 1.0)]
    assert sorted(asked) == [0, 1, 3]
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 9"):
        list(outputs.each_epoch(run, [0, 9], dataset))


def test_one_epochs_progress_ends_at_one(run: Run, dataset: Dataset) -> None:
    said: list[tuple[str, float]] = []
    outputs.of(run, 0, dataset, lambda *each: said.append(each))
    assert said[-1] == ("epoch 0: 600 of 600 pictures", 1.0)
    assert [fraction for _, fraction in said] == sorted(fraction for _, fraction in said)


def test_who_stops_asking_leaves_the_rest_undone(run: Run, dataset: Dataset, computed: Iterator[list[int]]) -> None:
    asked = next(computed)
    epochs = outputs.each_epoch(run, [0, 1, 2, 3] * 50, dataset)
    next(epochs)
    epochs.close()  # type: ignore[attr-defined]
    assert len(asked) < 4 * len(os.sched_getaffinity(0)) + 2


def test_other_weights_and_other_pictures_are_computed_anew(run: Run, dataset: Dataset) -> None:
    before = outputs.of(run, 1, dataset)
    other = Dataset(**{**vars(dataset), "test_images": dataset.test_images.flip(0)})
    assert outputs.kept(run, 1, other) is None
    assert torch.equal(outputs.of(run, 1, other).classes, before.classes.flip(0))
    outputs.of(run, 1, dataset)
    save(run.id, 1, seed=7)
    assert outputs.kept(run, 1, dataset) is None


def test_without_the_weights_what_was_kept_still_counts(run: Run, dataset: Dataset) -> None:
    """As of an MLflow server's run, whose downloaded weights have been evicted."""
    before = outputs.of(run, 1, dataset)
    next(artifacts.folder_of(run.id).glob("checkpoints/*1.safetensors")).unlink()
    assert torch.equal(outputs.of(run, 1, dataset).logits, before.logits)


def test_a_damaged_file_is_made_again_and_a_full_disk_is_no_error(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outputs.of(run, 1, dataset)
    (file,) = files()
    file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    assert outputs.kept(run, 1, dataset) is None
    assert torch.equal(outputs.of(run, 1, dataset).logits, before.logits)
    assert outputs.kept(run, 1, dataset) is not None
    file.unlink()
    file.parent.rmdir()
    file.parent.touch()  # no folder can be made here
    assert torch.equal(outputs.of(run, 1, dataset).logits, before.logits)
    assert outputs.kept(run, 1, dataset) is None


def test_the_least_recently_used_go_first(run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs.of(run, 0, dataset)
    (one,) = files()
    monkeypatch.setattr(store, "MOST_BYTES", int(2.5 * one.stat().st_size))
    outputs.of(run, 1, dataset)
    os.utime(one, (0, 0))
    outputs.kept(run, 0, dataset)  # used now
    os.utime(one.with_name("epoch-0001.safetensors"), (0, 0))
    outputs.of(run, 2, dataset)
    assert [path.name for path in files()] == ["epoch-0000.safetensors", "epoch-0002.safetensors"]


def files() -> list[Path]:
    return sorted((paths.home() / "outputs").rglob("*.safetensors"))


ROWS = st.lists(st.floats(width=32), min_size=10, max_size=10)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_halved_keeps_the_class_of_whatever_is_finite(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows, dtype=torch.float32)
    halved = outputs.halved(logits)
    assert halved.dtype == torch.float16
    finite = logits.isfinite().all(1)
    assert torch.equal(halved.isfinite().all(1), finite)
    assert bool(halved[~finite].isnan().all())
    assert torch.equal(halved.float()[finite].argmax(1), logits[finite].argmax(1))
    # A row's range may overflow a float32: its softmax then holds nothing but 0 and 1.
    torch.testing.assert_close(
        halved.float()[finite].softmax(1), logits[finite].double().softmax(1).float(), atol=2e-4, rtol=0
    )


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 30.0, 1e6])
def test_halved_keeps_near_ties_and_confidence(scale: float) -> None:
    """Ties that bare half floats would turn into other classes."""
    generator = torch.Generator().manual_seed(1)
    logits = 5 + scale * torch.randn(20_000, 10, generator=generator)
    found = outputs.halved(logits).float()
    assert torch.equal(found.argmax(1), logits.argmax(1))
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), atol=2e-4, rtol=0)
    if scale == 1e-3:
        assert not torch.equal(logits.half().argmax(1), logits.argmax(1))
