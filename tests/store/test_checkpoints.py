"""Checkpoints: what is saved comes back, what is damaged is refused, what is half written never shows."""

import itertools
import os
import random
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from cnnviz.architectures import ARCHITECTURES, initial_weights
from cnnviz.errors import CheckpointError
from cnnviz.store import checkpoints

ARCH = ARCHITECTURES["lenet5x5"]


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return initial_weights(ARCH, seed=3)


@pytest.fixture
def saved(tmp_path: Path, weights: dict[str, Tensor]) -> Path:
    path = tmp_path / "run" / checkpoints.file_name(7)
    checkpoints.save(path, weights, {"epoch": "7"})
    return path


def test_what_is_saved_comes_back_bit_for_bit(saved: Path, weights: dict[str, Tensor]) -> None:
    loaded = checkpoints.load(saved, ARCH.weight_shapes)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert checkpoints.metadata(saved) == {"epoch": "7"}
    assert [path.name for path in saved.parent.iterdir()] == ["epoch-0007.safetensors"]


def test_slices_of_a_stack_and_other_layouts(tmp_path: Path) -> None:
    stack = torch.arange(48.0).reshape(2, 2, 3, 2, 2)
    tensors = {
        "slice": stack[1],
        "same memory": stack[1, 0],
        "channels last": stack[0].contiguous(memory_format=torch.channels_last),
        "diverged": torch.tensor([float("nan"), float("inf")]),
        "steps": torch.tensor(5),
        "none": torch.empty(0, 3),
        "trained": torch.ones(2, requires_grad=True),
    }
    checkpoints.save(tmp_path / "x.safetensors", tensors)
    loaded = checkpoints.load(tmp_path / "x.safetensors")
    for name, tensor in tensors.items():
        torch.testing.assert_close(loaded[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    checkpoints.save(path, {"c1.weight": torch.tensor([1.0, -2.0, 3.0]), "c1.bias": torch.zeros(1)}, {"epoch": "7"})
    good = path.read_bytes()
    text = good[8:-16].rstrip(b" ")
    for position in range(8 * len(good)):
        if 8 + len(text) <= position // 8 < len(good) - 16:
            continue  # the header's padding carries nothing
        flipped = bytearray(good)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="is damaged") as caught:
            checkpoints.load(path)
        assert "\n" not in str(caught.value)


def test_truncated_and_foreign_files_are_refused(saved: Path, weights: dict[str, Tensor]) -> None:
    good, draw = saved.read_bytes(), random.Random(0)
    foreign = safetensors.torch.save(weights)
    for content in [
        b"",
        b"\x80\x04pickle",
        foreign,
        good + b"x",
        *(good[: draw.randrange(len(good))] for _ in range(40)),
    ]:
        saved.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"epoch-0007\.safetensors is damaged .*choose another epoch"):
            checkpoints.load(saved, ARCH.weight_shapes)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"epoch-0001\.safetensors cannot be read .*choose another epoch"):
        checkpoints.load(tmp_path / checkpoints.file_name(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c1.weight": torch.zeros(6, 3, 3, 3)}, r"c1\.weight is \(6, 3, 3, 3\) float32 instead of \(6, 3, 5, 5\)"),
        ({"c1.bias": torch.zeros(6, dtype=torch.float64)}, r"c1\.bias is \(6,\) float64 instead of \(6,\) float32"),
        ({"fc9.bias": torch.zeros(1)}, r"fc9\.bias does not belong to it"),
        ({"c1.bias": None}, r"c1\.bias is missing"),
        ({"c1.bias": None, "c3.bias": None}, r"c1\.bias is missing and 1 more"),
    ],
)
def test_another_networks_weights_are_refused(
    tmp_path: Path, weights: dict[str, Tensor], change: dict[str, Tensor | None], message: str
) -> None:
    path = tmp_path / checkpoints.file_name(0)
    checkpoints.save(path, {name: x for name, x in {**weights, **change}.items() if x is not None})
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path, ARCH.weight_shapes)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    saved: Path, weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\): free some space"):
        checkpoints.save(saved, {"other": torch.zeros(1)})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_in_the_way_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoints.save(tmp_path / "file" / checkpoints.file_name(0), {"x": torch.zeros(1)})


def test_file_names_and_epochs() -> None:
    for epoch in (0, 7, 9999, 10_000):
        assert checkpoints.epoch_of(Path("a") / checkpoints.file_name(epoch)) == epoch
    for name in ("epoch-7.safetensors", "epoch-0007.pt", "epoch-0007.safetensors.0f.tmp", "best.safetensors"):
        assert checkpoints.epoch_of(Path(name)) is None


def test_small_networks_keep_every_epoch() -> None:
    assert checkpoints.which_to_keep(range(41), best=17, size_bytes=326_000) == set(range(41))


@pytest.mark.parametrize("last", [0, 1, 5, 20, 40, 200, 1000])
def test_large_networks_keep_first_last_best_and_a_spread(last: int) -> None:
    best = last * 2 // 3
    kept = sorted(checkpoints.which_to_keep(range(last + 1), best, size_bytes=34_000_000))
    assert {0, best, last} <= set(kept)
    assert len(kept) <= 3 + checkpoints.MOST_BETWEEN
    gaps = [later - earlier for earlier, later in itertools.pairwise(kept)]
    assert max(gaps, default=0) <= max(1, last / 4)


def test_thinning_each_epoch_ends_where_thinning_once_does() -> None:
    folder: set[int] = set()
    for epoch in range(101):
        folder.add(epoch)
        folder = checkpoints.which_to_keep(folder, best=0, size_bytes=34_000_000)
    assert folder == checkpoints.which_to_keep(range(101), best=0, size_bytes=34_000_000)


def test_a_fingerprint_tells_files_apart_without_reading_them(saved: Path, weights: dict[str, Tensor]) -> None:
    other, again = saved.with_name("other.safetensors"), saved.with_name("again.safetensors")
    checkpoints.save(other, {**weights, "c1.bias": weights["c1.bias"] + 1}, {"epoch": "7"})
    checkpoints.save(again, weights, {"epoch": "7"})
    assert checkpoints.fingerprint(saved) == checkpoints.fingerprint(again) != checkpoints.fingerprint(other)
    assert len(checkpoints.fingerprint(saved)) == 64
    for content in (b"", b"\xff" * 9, b"\x02" + b"\0" * 7 + b"{}", b"\x02" + b"\0" * 7 + b"[]"):
        other.write_bytes(content)
        assert checkpoints.fingerprint(other) == ""
    assert checkpoints.fingerprint(saved.with_name("none")) == ""
