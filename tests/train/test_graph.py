"""Steps as a CUDA graph, with a stand-in for torch.cuda that records operations and repeats them here."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.train import graph, loop, native, schedules, single, ways
from cnnviz.train.loop import EpochResult, Start, Trainer, fresh_start, train_stack
from cnnviz.train.single import Single
from cnnviz.train.stack import Stack
from tests.helpers.architectures import BLOCKS
from tests.helpers.noise import noise
from tests.helpers.recorded_cuda import Cuda, Torch
from tests.helpers.training import together

TINY = RunConfig(model="c4k5-s2-f12", batch_size=4, lr=0.05, epochs=1)
STEPS = 3  # at once


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    found = Cuda()
    monkeypatch.setattr(graph, "torch", Torch(found))
    monkeypatch.setattr(loop, "STEPS_AT_ONCE", STEPS)
    monkeypatch.setattr(single, "GRAPHS_ON", ("cpu",))
    monkeypatch.setattr(sys.modules["torch.optim.rmsprop"], "_get_capturable_supported_devices", lambda: ["cpu"])
    monkeypatch.setattr(native, "troubles", [])
    return found


@pytest.fixture
def data_set() -> Dataset:
    return noise(90, 10)


# -- a stack ------------------------------------------------------------------------------------------


def trained(trainer: Trainer, order: Tensor) -> list[Tensor]:
    trainer.stack.begin_epoch(1, len(order))
    for rows in order.split(STEPS * TINY.batch_size):
        trainer.train_on(rows)
    return [each.clone() for each in state(trainer)]


def state(trainer: Trainer) -> list[Tensor]:
    assert isinstance(trainer.stack, Stack)
    return trainer.stack.state()


@pytest.mark.parametrize("change", [{}, {"momentum": 0.9}, {"optimizer": "adam", "lr": 0.002}], ids=str)
def test_replayed_steps_are_the_plain_ones(change: dict[str, Any], data_set: Dataset, cuda: Cuda) -> None:
    configs = [replace(TINY, **change), replace(TINY, loss="mse", **change)]
    starts = [fresh_start(config) for config in configs]
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))  # seven graphs, a step, half a batch
    plain = Trainer(configs, starts, data_set, "cpu", "eager")
    ours = Trainer(configs, starts, data_set, "cpu", "graph")
    for mine, its in zip(state(ours), state(plain), strict=True):
        assert torch.equal(mine, its), "warming up is taken back"
    for mine, its in zip(trained(ours, order), trained(plain, order), strict=True):
        assert torch.equal(mine, its)
    assert cuda.said == ["wait", "warm-up", "wait", "capture", *["replay"] * 7]
    assert cuda.most_in_flight == graph.REPLAYS_AHEAD + 1


def test_a_graph_that_was_tried_goes_on_with_the_runs_own_weights(data_set: Dataset, cuda: Cuda) -> None:
    """Captured for scratch weights, at another rate: what it reads is replaced where it lies."""
    starts = [fresh_start(replace(TINY, seed=seed)) for seed in (0, 1)]
    configs, scratch = [TINY, replace(TINY, lr=0.01, loss="mse")], [Start(0, each.weights) for each in starts[::-1]]
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    ours = Trainer([replace(each, lr=0.3) for each in configs], scratch, data_set, "cpu", "graph")
    trained(ours, order)
    ours.begin_with(configs, starts)
    expected = trained(Trainer(configs, starts, data_set, "cpu", "eager"), order)
    for mine, its in zip(trained(ours, order), expected, strict=True):
        assert torch.equal(mine, its)
    assert cuda.said.count("capture") == 1


# -- a network that autograd trains -------------------------------------------------------------------

# Eight steps an epoch, the last of three pictures: two graphs of three, a step, and that one.
ALONE = replace(TINY, epochs=2, limit_train=31, schedule="cosine")
EVERYTHING: dict[str, Any] = {"batch_norm": "on", "dropout": 0.3, "dropout_at": "both", "augment": "flip+shift+cutout"}
SINGLES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": EVERYTHING,
    "momentum": {"momentum": 0.9},
    "momentum and everything": {"momentum": 0.9, **EVERYTHING},
    "weight decay": {"weight_decay": 0.01},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.9, **EVERYTHING},
    "adam": {"optimizer": "adam", "lr": 0.002, **EVERYTHING},
    "adamw": {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01, **EVERYTHING},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.002, **EVERYTHING},
    "rmsprop with momentum": {"optimizer": "rmsprop", "lr": 0.001, "momentum": 0.5},
    "warm-up": {"warmup": 1},
    "one-cycle": {"schedule": "one-cycle", "normalise": "standard"},
    "squares": {"loss": "mse", "label_smoothing": 0.1},
    "blocks": {"model": BLOCKS, **EVERYTHING},
    "gradients that pile up": {"mistake": "no-zero-grad", "lr": 0.005},
    "gradients that pile up, with momentum": {"mistake": "no-zero-grad", "lr": 0.002, "momentum": 0.9, **EVERYTHING},
    "never in evaluation mode": {"mistake": "no-eval", **EVERYTHING},
    "softmax twice": {"mistake": "softmax-twice"},
}


def by(
    method: str, config: RunConfig, data_set: Dataset, start: Start | None = None, device: str = "cpu"
) -> list[EpochResult]:
    return together(train_stack([config], data_set, [start] if start else None, device, method))


def assert_same(ours: list[EpochResult], theirs: list[EpochResult]) -> None:
    assert [each.epoch for each in ours] == [each.epoch for each in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        assert all(torch.equal(mine.weights[name], weight) for name, weight in its.weights.items()), mine.epoch
        if its.slots or mine.epoch:  # a graph's are there from the beginning: 0, which is what they begin with
            assert mine.slots.keys() == its.slots.keys()
        assert all(torch.equal(mine.slots[name], slot) for name, slot in its.slots.items()), mine.epoch
        timed = {"epoch_seconds", "images_per_second"}
        assert {name for name in its.metrics if mine.metrics[name] != its.metrics[name]} <= timed


@pytest.mark.parametrize("kind", SINGLES)
def test_an_epoch_by_graph_is_an_epoch_by_steps(kind: str, data_set: Dataset, cuda: Cuda) -> None:
    """Weights, statistics, what the optimizer remembers and figures, also if it goes on from epoch 0 or 1."""
    config = replace(ALONE, **SINGLES[kind])
    plain, ours = by("autograd", config, data_set), by("autograd graph", config, data_set)
    assert cuda.said == ["wait", "warm-up", "wait", "capture", *["replay"] * 4]
    assert_same(ours, plain)
    for epoch in (0, 1):
        start = Start(epoch, ours[epoch].weights, ours[epoch].slots, "autograd graph")
        assert_same(by("autograd graph", config, data_set, start), ours[epoch + 1 :])


@pytest.mark.parametrize("kind", SINGLES)
def test_a_graph_that_was_tried_goes_on_with_the_run_s_own_network(kind: str, data_set: Dataset, cuda: Cuda) -> None:
    """Captured and replayed for another network at another rate; from the beginning, and with a state of epoch 1."""
    config = replace(ALONE, **SINGLES[kind])
    results = by("autograd", config, data_set)
    other = fresh_start(replace(config, seed=5))
    ours = Trainer([replace(config, lr=config.lr / 3)], [other], data_set, "cpu", "autograd graph")
    for start in (fresh_start(config), Start(1, results[1].weights, results[1].slots)):
        ours.trial(data.batch_order(7, 1, 31), 10)
        ours.begin_with([config], [start])
        plain = Trainer([config], [start], data_set, "cpu", "autograd")
        order = data.batch_order(config.seed, 2, 31)
        for trainer in (ours, plain):
            trainer.stack.begin_epoch(2, len(order))
            for rows in order.split(STEPS * config.batch_size):
                trainer.train_on(rows)
        mine, its = (networks(trainer) for trainer in (ours, plain))
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[name], each) for name, each in its.items())
        assert ours.stack.epoch_figures(31, 8) == plain.stack.epoch_figures(31, 8)
    assert cuda.said.count("capture") == 1


def networks(trainer: Trainer) -> dict[str, Tensor]:
    assert isinstance(trainer.stack, Single)
    return trainer.stack.state()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"momentum": 0.9, "dropout": 0.3, "augment": "shift"},
        {"optimizer": "adam", "lr": 0.002},
        {"optimizer": "rmsprop", "lr": 0.002},
        {"optimizer": "rmsprop", "lr": 0.002, "momentum": 0.5, "weight_decay": 0.01},
    ],
    ids=str,
)
def test_rates_on_the_device_make_the_steps_of_rates_here(
    change: dict[str, Any], data_set: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for rounding: there they have 24 bits, and a capturable optimizer's sums another order."""
    config = replace(ALONE, **change)
    there = by("autograd", config, data_set)[-1]
    monkeypatch.setattr(single, "GRAPHS_ON", ())
    here = by("autograd", config, data_set)[-1]
    for kept, its in ((there.weights, here.weights), (there.slots, here.slots)):
        assert all(torch.allclose(kept[name], each, rtol=1e-4, atol=2e-6) for name, each in its.items())
    assert there.metrics["learning_rate"] == here.metrics["learning_rate"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.filterwarnings("ignore:Plan failed with a cudnnException")
@pytest.mark.parametrize("kind", SINGLES)
def test_on_a_cuda_device_it_is_the_same_training(kind: str, data_set: Dataset) -> None:
    """A whole graph, steps and a batch that is not full; masks are those of the device's own generator."""
    config = replace(ALONE, limit_train=90, **SINGLES[kind])
    plain, ours = (by(method, config, data_set, device="cuda") for method in ("autograd", "autograd graph"))
    for mine, its in zip(ours, plain, strict=True):
        for name, weight in its.weights.items():
            assert torch.allclose(mine.weights[name], weight, atol=1e-4), (mine.epoch, name)


def test_a_graph_draws_from_the_generator_of_its_network(data_set: Dataset, cuda: Cuda) -> None:
    ours = Trainer([replace(ALONE, dropout=0.5)], [fresh_start(ALONE)], data_set, "cpu", "autograd graph")
    assert isinstance(ours.stack, Single)
    assert cuda.generators == [ours.stack.generator]


# -- which of them trains -----------------------------------------------------------------------------


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch, cuda: Cuda) -> Cuda:
    """What is possible on a GPU is possible here."""
    possible = ways.possible
    monkeypatch.setattr(ways, "possible", lambda configs, device: possible(configs, "cuda"))
    monkeypatch.setattr(ways, "STEPS", 12)
    return cuda


def test_a_graph_that_is_right_trains_and_is_recorded(
    data_set: Dataset, on_gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "FASTER", 1e9)  # here a replay is no faster than the plain steps: they stay behind it
    config = replace(ALONE, **EVERYTHING)
    plain, ours = by("autograd", config, data_set), together(train_stack([config], data_set))
    assert ({each.method for each in ours}, native.troubles) == ({"autograd graph"}, [])
    assert_same(ours, plain)
    assert on_gpu.said.count("capture") == 1  # the one that was tried
    start = Start(1, ours[1].weights, ours[1].slots, "autograd graph")
    again = together(train_stack([config], data_set, [start]))
    assert [each.method for each in again] == ["autograd graph"]
    assert_same(again, ours[2:])
    eager = together(train_stack([config], data_set, [replace(start, method="autograd")]))
    assert [each.method for each in eager] == ["autograd"]


def raising(*_: object) -> None:
    raise RuntimeError("operation not permitted when stream is capturing\nwith details")


def forgetting(graph: graph.SingleGraph, order: Tensor) -> None:
    """Always the same pictures."""
    graph.captured.replay()
    graph.single.steps += graph.steps
    graph.single.seen += len(order)


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("__init__", raising, "fails (RuntimeError: operation not permitted when stream is capturing)"),
        ("walk", raising, "fails (RuntimeError: operation not permitted when stream is capturing)"),
        ("walk", forgetting, "makes other weights than the plain step"),
    ],
)
def test_a_graph_that_is_wrong_is_left_out(
    name: str, wrong: Callable[..., None], why: str, data_set: Dataset, on_gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph.SingleGraph, name, wrong)
    config = replace(ALONE, **EVERYTHING)
    for _ in range(2):  # as it is tried, and as it is kept
        ours = together(train_stack([config], data_set))
        (line,) = native.troubles
        assert line.startswith(f"the CUDA graph {why}")
        assert line.endswith(": steps are run without it")
        assert {each.method for each in ours} == {"autograd"}
        assert_same(ours, by("autograd", config, data_set))
        native.troubles.clear()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "step"])
def test_a_trial_begins_with_its_rate(schedule: str) -> None:
    config = replace(ALONE, schedule=schedule, warmup=int(schedule == "cosine"), epochs=20)
    config = ways.beginning_with(0.002, config)
    assert schedules.rate(config, 0) == pytest.approx(0.002)


def test_a_trial_s_batch_norm_has_a_variance() -> None:
    drawn = ways.scratch(replace(TINY, batch_norm="on"), torch.Generator().manual_seed(0))
    assert {name: float(each.mean()) for name, each in drawn.items() if "_norm" in name} == {
        f"{layer}_norm.{name}": value
        for layer in ("c1", "fc3")
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0))
    }
