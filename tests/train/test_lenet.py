"""Our own kernel against plain PyTorch loops, and against the stack it stands in for."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import LOSSES, RunConfig
from cnnviz.data import Dataset
from cnnviz.errors import CnnvizError
from cnnviz.train import lenet, loop, native, ways
from cnnviz.train.stack import Stack
from tests.helpers.plain_torch import furthest, order, pictures, plain_loop
from tests.helpers.training import together

LENET = RunConfig(lr=0.01)
STEPS, NEAR = 30, 5e-6  # rounding takes a weight a third as far off
VARIANTS: list[dict[str, Any]] = [  # of the kernel
    {"momentum": 0.9, "lr": 0.001},
    {"weight_decay": 0.01},
    {"momentum": 0.9, "lr": 0.001, "weight_decay": 0.01},
    {"optimizer": "adam", "lr": 0.00001},
    {"optimizer": "adam", "lr": 0.00001, "weight_decay": 0.01},
    {"pooling": "avg"},
    {"pooling": "avg", "optimizer": "adam", "lr": 0.00001},
]
needs_the_machine = pytest.mark.skipif(
    not lenet.fits([LENET]), reason="no processor with AVX2 or NEON here, or no C++ compiler"
)


def kernel_of(configs: Sequence[RunConfig]) -> lenet.Kernel:
    arch = architecture(configs[0].model)
    stack = Stack(arch, configs, [initial_weights(arch, seed) for seed in range(len(configs))])
    return lenet.Kernel(stack, configs[0].batch_size)


@functools.cache
def plainly(config: RunConfig, seed: int, size: int) -> dict[str, Tensor]:
    """Weights after STEPS."""
    return plain_loop(config, seed, order(STEPS, size))


@pytest.fixture(params=[8, 16], ids="{} lanes".format)
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with vectors of so many floats."""
    monkeypatch.setattr(lenet, "LANES", request.param)


@needs_the_machine
@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("lenet5x5", 10),
        ("lenet3x3", 10),
        ("c5k4-s2-c9k3-s2-f12", 4),  # odd sides, and lanes that nobody uses
        ("c12k3-s2-c32k5-s2-f30-f20", 13),  # two vectors of maps; blocks that are not full
        ("c1k7-s2-c1k1-s2", 3),  # no hidden layer
    ],
)
def test_every_run_is_the_run_that_plain_pytorch_trains(model: str, size: int) -> None:
    configs = [
        replace(LENET, model=model, activation=activation, loss=loss, lr=0.01 * (1 + index % 2), batch_size=size)
        for index, (activation, loss) in enumerate((kind, loss) for kind in lenet.KINDS for loss in LOSSES)
    ]
    images, labels = pictures()
    kernel = kernel_of(configs)
    kernel.stack.begin_epoch()
    kernel.walk(images, labels, torch.cat(order(STEPS, size)))
    kernel.write_back()
    for run, config in enumerate(configs):
        assert furthest(plainly(config, run, size), kernel.stack.weights_of(run)) < NEAR, config.name


@needs_the_machine
@pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_every_optimizer_is_torch_optims(settings: dict[str, Any]) -> None:
    # Smooth activations and small steps: at a kink, or where two values of a pool are nearly equal, two sums in another
    # order part ways, in PyTorch's own steps, too.
    configs = [
        replace(LENET, activation=kind, loss=loss, **settings) for kind in ("sigmoid", "tanh") for loss in LOSSES
    ]
    images, labels = pictures()
    kernel = kernel_of(configs)
    kernel.walk(images, labels, torch.cat(order(STEPS, 10)))
    kernel.write_back()
    for run, config in enumerate(configs):
        assert furthest(plainly(config, run, 10), kernel.stack.weights_of(run)) < NEAR, config.name


@needs_the_machine
@pytest.mark.usefixtures("lanes")
def test_figures_are_the_stacks() -> None:
    figures_are_the_stacks({})


@needs_the_machine
@pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_so_are_every_optimizers(settings: dict[str, Any]) -> None:
    figures_are_the_stacks(settings)


def figures_are_the_stacks(settings: dict[str, Any]) -> None:
    configs = [replace(LENET, activation=kind, loss=loss, **settings) for kind in lenet.KINDS for loss in LOSSES]
    images, labels = pictures()
    kernel, reference = kernel_of(configs), kernel_of(configs).stack
    rows = torch.cat(order(20, 10))[:-3]  # the last batch is not full
    kernel.walk(images, labels, rows)
    kernel.write_back()
    for batch in rows.split(10):
        reference.step(images, labels, batch)
    ours = kernel.stack.epoch_figures(len(rows), 20), kernel.evaluate(images, labels)
    theirs = reference.epoch_figures(len(rows), 20), reference.evaluate(images, labels)
    for mine, others in zip(ours, theirs, strict=True):
        for one, other in zip(mine, others, strict=True):
            assert one == pytest.approx(other, rel=1e-4)


@needs_the_machine
@pytest.mark.parametrize("settings", [{}, VARIANTS[2], VARIANTS[-1]], ids=["sgd", "momentum", "adam-avg"])
def test_a_diverging_run_changes_no_other_runs_bits(settings: dict[str, Any]) -> None:
    tame = replace(LENET, activation="relu", **settings)
    wild = replace(tame, lr=900.0)
    images, labels = pictures()
    seen = []
    for configs in ([tame, tame, tame], [tame, wild, tame]):
        kernel = kernel_of(configs)
        if configs[1] is wild and settings:  # which may bound its steps
            kernel.packed[1] = float("nan")
        kernel.walk(images, labels, torch.cat(order(60, 10))[:-4])
        kernel.walk(images, labels, torch.cat(order(60, 10)))
        kernel.write_back()
        seen.append((kernel.stack.weights_of(0), kernel.stack.weights_of(2), kernel.evaluate(images, labels)))
        middle = kernel.stack.weights_of(1)
    assert not torch.isfinite(middle["fc7.weight"]).any()
    assert furthest(seen[0][0], seen[1][0]) == furthest(seen[0][1], seen[1][1]) == 0
    assert (seen[0][2][0], seen[0][2][2]) == (seen[1][2][0], seen[1][2][2])


@needs_the_machine
@pytest.mark.parametrize("settings", [{}, VARIANTS[2], VARIANTS[-1]], ids=["sgd", "momentum", "adam-avg"])
def test_resumed_and_left_by_others_it_is_the_same_run_bit_for_bit(settings: dict[str, Any]) -> None:
    images, labels = pictures(500)
    dataset = Dataset("synthetic", "drawn", tuple("abcdefghij"), images, labels, images[:100], labels[:100])
    first = replace(LENET, epochs=3, **settings)
    configs = [first, replace(first, epochs=1, loss="mse"), replace(first, lr=2 * first.lr)]
    whole = {(each.member, each.epoch): each for each in together(loop.train_stack(configs, dataset, method="kernel"))}
    assert whole[0, 1].stack == (0, 2)
    middle = whole[2, 1]
    start = loop.Start(1, middle.weights, middle.slots)
    (*_, last) = together(loop.train_stack([configs[2]], dataset, [start], method="kernel"))
    assert last.epoch == 3
    assert furthest(last.weights, whole[2, 3].weights) == 0
    assert bool(last.slots) == bool(settings)
    assert all(torch.equal(value, whole[2, 3].slots[name]) for name, value in last.slots.items())
    assert last.metrics["test_loss"] == whole[2, 3].metrics["test_loss"]


@needs_the_machine
@pytest.mark.parametrize(
    "change",
    [
        {"model": "conv5"},
        {"model": "f30"},
        {"activation": "gelu"},
        {"optimizer": "adamw"},
        {"dropout": 0.5},
        {"batch_size": 128},
    ],
)
def test_what_is_outside_the_family_is_left_to_pytorch(change: dict[str, object]) -> None:
    assert not lenet.fits([LENET, replace(LENET, **change)][1:])  # type: ignore[arg-type]


def test_a_compiler_that_cannot_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CnnvizError("g++ cannot compile lenet.cpp: what a -march")

    images, labels = pictures(100)
    dataset = Dataset("synthetic", "drawn", tuple("abcdefghij"), images, labels, images[:50], labels[:50])
    monkeypatch.setattr(native, "library", refuse)
    monkeypatch.setattr(torch, "compile", lambda step, **_: step)
    (_, last) = together(loop.train_stack([replace(LENET, epochs=1)], dataset, method="kernel"))
    assert last.epoch == 1
    assert "PyTorch compiles the step instead" in capsys.readouterr().err


@needs_the_machine
def test_a_run_without_momentum_is_the_same_beside_one_that_has_some() -> None:
    images, labels = pictures()
    seen = []
    for momentum in (0.0, 0.9):
        kernel = kernel_of([LENET, replace(LENET, momentum=momentum, weight_decay=momentum / 100)])
        kernel.walk(images, labels, torch.cat(order(30, 10)))
        kernel.write_back()
        seen.append(kernel.stack.weights_of(0))
    assert furthest(*seen) == 0


def test_a_machine_without_a_compiler_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(native, "troubles", [])
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("shutil.which", lambda _: None)
    images, labels = pictures(50)
    dataset = Dataset("synthetic", "drawn", tuple("abcdefghij"), images, labels, images, labels)
    for model in ("lenet5x5", "lenet3x3"):
        config = replace(LENET, model=model, epochs=1)
        assert ways.fastest([replace(config, epochs=20)], "cpu") == "eager"
        assert [each.epoch for each in together(loop.train_stack([config], dataset))] == [0, 1]
    assert native.troubles == [native.NO_COMPILER]
    assert capsys.readouterr().err.splitlines() == [native.NO_COMPILER]
