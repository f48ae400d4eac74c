"""Both kernels for ARM, run in an emulator, and under the sanitizers: PyTorch's results, and no step outside."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import LOSSES, RunConfig
from cnnviz.train import dense, lenet
from cnnviz.train.stack import Stack
from tests.helpers import programs
from tests.helpers.large_layers import assert_plain
from tests.helpers.plain_torch import furthest, order, pictures, plain_loop


@pytest.fixture
def _machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    programs.installed(request.param, tmp_path, monkeypatch)
    dense._compiled.cache_clear()
    yield
    dense._compiled.cache_clear()


def on_both(*shapes: tuple[object, ...]) -> list[object]:
    """Every shape on ARM, the first three under the sanitizers."""
    machines = {"ARM": programs.ARM, "sanitizers": programs.WATCHED}
    return [
        pytest.param(machine, *shape, id=f"{name}-{'-'.join(map(str, shape))}")
        for name, machine in machines.items()
        for shape in shapes[: None if name == "ARM" else 3]
    ]


@pytest.mark.parametrize(
    ("_machine", "model", "size", "settings"),
    on_both(
        ("c5k4-s2-c9k3-s2-f12", 4, "adam avg"),  # odd sides, and lanes that nobody uses
        ("c2k3-s2-c17k5-s2-f13-f30", 13, "momentum"),  # blocks that are not full
        ("c1k7-s2-c1k1-s2", 3, ""),  # no hidden layer
        ("c3k2-s2-c4k6-s2-f40", 5, "momentum avg"),
        ("lenet3x3", 7, "adam"),
        ("lenet5x5", 10, ""),
    ),
    indirect=["_machine"],
)
def test_lenets_kernel(_machine: None, model: str, size: int, settings: str) -> None:
    is_adam = "adam" in settings
    shared = RunConfig(
        model=model,
        batch_size=size,
        lr=0.00001 if is_adam else 0.01,
        optimizer="adam" if is_adam else "sgd",
        momentum=0.9 if "momentum" in settings else 0.0,
        weight_decay=0.01 if settings else 0.0,
        pooling="avg" if "avg" in settings else "max",
    )
    configs = [
        replace(shared, activation=kind, loss=LOSSES[index % 2], lr=shared.lr * (1 + index))
        for index, kind in enumerate(lenet.KINDS)
    ]
    arch, (images, labels) = architecture(model), pictures()
    rows = torch.cat(order(5, size, 40))[:-1]  # the last batch is not full
    weights = [initial_weights(arch, seed) for seed in range(len(configs))]
    kernel, stack = lenet.Kernel(Stack(arch, configs, weights), size), Stack(arch, configs, weights)
    kernel.walk(images, labels, rows)
    kernel.write_back()
    for batch in rows.split(size):
        stack.step(images, labels, batch)
    for run, config in enumerate(configs):
        trained = plain_loop(config, run, list(rows.split(size)))
        assert furthest(trained, kernel.stack.weights_of(run)) < 2e-5, config.name
    for mine, others in (
        (kernel.stack.epoch_figures(len(rows), 5), stack.epoch_figures(len(rows), 5)),
        (kernel.evaluate(images[:20], labels[:20]), stack.evaluate(images[:20], labels[:20])),
    ):
        assert all(one == pytest.approx(other, rel=1e-4) for one, other in zip(mine, others, strict=True))


@pytest.mark.parametrize(
    ("_machine", "networks", "many", "inputs", "units"),
    on_both(
        (2, 4, 5001, 50),  # rows that end within a vector, and do not divide among the cores
        (1, 13, 130_000, 2),  # less than a vector; a block of pictures that is not full
        (1, 64, 1000, 257),
        (1, 1, 7, 40_000),  # fewer rows than chunks
        (1, 10, 2100, 120),
        (1, 21, 4003, 63),
    ),
    indirect=["_machine"],
)
def test_large_layers(_machine: None, networks: int, many: int, inputs: int, units: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(networks, inputs, units, generator=generator) * 0.01
    bias, rates = torch.randn(networks, units, generator=generator), torch.linspace(0.01, 0.02, networks)
    entering = torch.randn(networks, many, inputs, generator=generator)
    grad = torch.randn(networks, many, units, generator=generator)
    assert_plain(weight, bias, entering, grad, rates)
    assert dense._compiled.cache_info().currsize == 1


def test_a_step_outside_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.installed(programs.WATCHED, tmp_path, monkeypatch)
    program = programs.Program(programs.WATCHED, tmp_path, UNITS=9, PICTURES=1)
    given = [torch.ones(size) for size in (27, 9, 3, 9)]
    sizes = [27 * 4, 8 * 4, 3 * 4, 9 * 4]  # a bias that is too short
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        program._call("forward", [3], *((each.data_ptr(), size) for each, size in zip(given, sizes, strict=True)))
