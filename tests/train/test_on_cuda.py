"""What a GPU would be asked to do, walked without one: nothing lies on another device, and nothing waits for it.

PyTorch's fake tensors have shapes and devices and no numbers. They know what an operation would do with tensors of two
devices, and cannot be read: what reads one within a step, an evaluation or an epoch's statistics fails here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cnnviz.config import RunConfig
from cnnviz.train import single
from cnnviz.train.loop import fresh_start
from cnnviz.train.single import Single
from cnnviz.train.stack import Stack

TINY = RunConfig(model="c4k5-s2-f12", batch_size=4, limit_train=40, epochs=1)
STACKS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "weight decay": {"weight_decay": 0.01},
    "adam": {"optimizer": "adam"},
    "average pooling": {"pooling": "avg"},
    "overlapping pooling": {"model": "c8k3p1-s1-c6k3-s2-f64"},
    "no convolution": {"model": "f16"},
    "a large layer": {"model": "c4k5-s2-f400-f700"},
    "not monotone": {"activation": "gelu"},
}
SINGLES: dict[str, dict[str, Any]] = {
    "batch norm": {"batch_norm": "on"},
    "dropout": {"dropout": 0.5},
    "augmentation": {"augment": "flip+shift+cutout"},
    "standardised": {"normalise": "standard"},
    "raw": {"normalise": "raw"},
    "label smoothing": {"label_smoothing": 0.1},
    "squares": {"label_smoothing": 0.1, "loss": "mse"},
    "a schedule": {"schedule": "cosine", "warmup": 1, "epochs": 3},
    "momentum": {"momentum": 0.9, "dropout": 0.1},
    "weight decay": {"weight_decay": 0.01, "dropout": 0.1},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.9},
    "adamw": {"optimizer": "adamw", "dropout": 0.1},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5},
    "adam": {"optimizer": "adam", "dropout": 0.1},
    "gradients that pile up": {"mistake": "no-zero-grad"},
    "softmax twice": {"mistake": "softmax-twice"},
    "never in evaluation mode": {"mistake": "no-eval", "dropout": 0.5},
}
READS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.is_nonzero.default", "aten.equal.default"}
PLACES = {"aten.select.int", "aten.slice.Tensor"}  # a place in a tensor, which differs from step to step
HOSTS_OWN = (torch.tensor, torch.as_tensor)  # what makes a tensor of the host's numbers


class OnDevice(TorchDispatchMode):
    """Fails at an operation with a tensor of another device, or one whose result the host would wait for.

    numbers are those that the operations are given, and a graph would repeat. For a graph (is_whole) nothing at all may
    lie elsewhere; else one number may, as an optimizer counts its steps.
    """

    def __init__(self, device: str, is_whole: bool = False) -> None:
        super().__init__()
        self.device, self.is_whole, self.many = device, is_whole, 0
        self.numbers: list[tuple[str, list[float]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.many += 1
        assert str(function) not in READS, f"{function} waits for the device"
        result = function(*args, **(kwargs or {}))
        devices = {each.device.type for each in tree_leaves((args, result)) if isinstance(each, torch.Tensor)}
        assert len(devices) < 2 or "copy" not in str(function), f"{function} between {devices}"
        for each in tree_leaves((args, kwargs or {}, result)):
            if isinstance(each, torch.Tensor) and (each.dim() or self.is_whole):
                assert each.device.type == self.device, f"{function} with a tensor on {each.device}: {each.shape}"
        if str(function) not in PLACES:
            given = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, int | float)]
            self.numbers.append((str(function), given))
        return result


class NothingNew(TorchFunctionMode):
    """Fails where numbers of the host are made a tensor: to bring them to the device, the host waits."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        comes = function in HOSTS_OWN and torch.device((kwargs or {}).get("device", "cpu")).type != "cpu"
        assert not comes, f"{function.__name__} of {args}"
        return function(*args, **(kwargs or {}))


class Reads:
    """Counts figures that leave the device: fake ones have no numbers."""

    many = 0

    def tolist(self, tensor: torch.Tensor) -> Any:
        self.many += 1
        return np.ones(tuple(tensor.shape)).tolist()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    found = Reads()
    for kind in (FakeTensor, torch.Tensor):
        monkeypatch.setattr(kind, "tolist", lambda tensor: found.tolist(tensor))
    monkeypatch.setattr(single, "torch", Torch())
    fused = [*torch.utils._foreach_utils._get_fused_kernels_supported_devices(), "meta"]
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: fused)
    graphs_on = [*sys.modules["torch.optim.optimizer"]._get_capturable_supported_devices(), "meta"]
    monkeypatch.setattr(sys.modules["torch.optim.rmsprop"], "_get_capturable_supported_devices", lambda: graphs_on)
    with torch.library._scoped_library("aten", "IMPL") as library:  # those that know no tensors without numbers
        for name in ("_fused_sgd_", "_fused_sgd_.tensor_lr", "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr"):
            library.impl(name, lambda *_, **__: None, "Meta")
        yield found


class Torch:
    """PyTorch, with a generator that draws on the CPU: a device's own cannot be made without it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def Generator(self, device: str) -> torch.Generator:  # noqa: N802
        assert device == "meta"
        return torch.Generator()


def walk(trained: Any, reads: Reads, device: str) -> None:
    images = torch.zeros(500, 32, 32, 3, dtype=torch.uint8, device=device)
    labels, order = (torch.zeros(many, dtype=torch.int64, device=device) for many in (500, 10))
    for epoch in (1, 2):
        trained.begin_epoch(epoch, len(order))
        trained.step(images, labels, order[:4])  # once: constants come to the device
        with OnDevice(device) as seen, NothingNew():
            trained.step(images, labels, order[4:8])
            trained.step(images, labels, order[8:])  # not full
        trained.begin_epoch(epoch, len(order))
        with OnDevice(device), NothingNew():
            trained.probe(images, labels, order[:4])
        assert seen.many > 20
        assert reads.many == 0
        trained.epoch_figures(10, 3)
        assert 0 < reads.many <= 3
        reads.many = 0
    few = 0
    for many in (100, 500):  # a batch or three
        with OnDevice(device), NothingNew():
            trained.evaluate(images[:many], labels[:many])
        assert 0 < reads.many <= 2
        assert reads.many == (few or reads.many)
        few, reads.many = reads.many, 0


@pytest.mark.parametrize("kind", STACKS)
def test_a_stack_stays_on_the_device(kind: str, reads: Reads) -> None:
    config = replace(TINY, **STACKS[kind])
    configs = [config, replace(config, loss="mse"), replace(config, activation="relu")]
    starts = [fresh_start(each).weights for each in configs]
    with FakeTensorMode(allow_non_fake_inputs=True):
        walk(Stack(config.architecture, configs, starts, device="cuda"), reads, "cuda")


@pytest.mark.parametrize("graphs_on", [(), ("meta",)], ids=["without graphs", "with graphs"])
@pytest.mark.parametrize("kind", SINGLES)
def test_a_single_network_stays_on_the_device(
    kind: str, graphs_on: tuple[str, ...], reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "GRAPHS_ON", graphs_on)
    config = replace(TINY, **SINGLES[kind])
    weights = fresh_start(config).weights
    walk(Single(config, weights, device="meta"), reads, "meta")


@pytest.mark.usefixtures("reads")
@pytest.mark.parametrize("kind", SINGLES)
def test_a_step_of_a_single_network_may_be_part_of_a_graph(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lies elsewhere, and no step has numbers of its own: a graph repeats those it was captured with."""
    monkeypatch.setattr(single, "GRAPHS_ON", ("meta",))
    config = replace(TINY, **SINGLES[kind])
    trained = Single(config, fresh_start(config).weights, device="meta")
    images = torch.zeros(500, 32, 32, 3, dtype=torch.uint8, device="meta")
    labels, order = (torch.zeros(many, dtype=torch.int64, device="meta") for many in (500, 12))
    trained.begin_epoch(3, len(order))
    first, *others = order.split(4)
    trained.step(images, labels, first)  # constants come to the device
    second, third = (OnDevice("meta", is_whole=True) for _ in others)
    for rows, seen in zip(others, (second, third), strict=True):
        with seen, NothingNew():
            trained.step(images, labels, rows)
    assert len(second.numbers) > 20
    assert second.numbers == third.numbers


def test_numbers_of_a_step_s_own_are_seen(monkeypatch: pytest.MonkeyPatch, reads: Reads) -> None:
    del reads
    monkeypatch.setattr(single, "GRAPHS_ON", ())  # rates are the host's
    config = replace(TINY, **SINGLES["a schedule"])
    trained = Single(config, fresh_start(config).weights, device="meta")
    images = torch.zeros(500, 32, 32, 3, dtype=torch.uint8, device="meta")
    labels, order = (torch.zeros(many, dtype=torch.int64, device="meta") for many in (500, 12))
    trained.begin_epoch(3, len(order))
    seen = [OnDevice("meta") for _ in range(3)]
    for rows, each in zip(order.split(4), seen, strict=True):
        with each:
            trained.step(images, labels, rows)
    assert seen[1].numbers != seen[2].numbers


@pytest.mark.parametrize(
    "mistake",
    [
        lambda there: there.sum().item(),
        lambda there: bool(there.sum() > 0),
        lambda there: there.cpu(),
        lambda there: there.sum().cpu(),
        lambda there: there.copy_(torch.ones(3)),
        lambda there: there + torch.ones(3),
        lambda there: there[there > 0],
        lambda there: torch.tensor([1.0], device=there.device),
    ],
)
@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_what_waits_for_the_device_is_seen(mistake: Callable[[torch.Tensor], Any], device: str) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True) if device == "cuda" else nullcontext():
        there = torch.zeros(3, device=device)
        with pytest.raises((AssertionError, RuntimeError)), OnDevice(device), NothingNew():
            mistake(there)
