"""The bookkeeping of a CUDA graph, with a stand-in for torch.cuda that records what it is asked and runs it here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.train import graph, loop
from cnnviz.train.loop import Start, Trainer, fresh_start
from tests.helpers.noise import noise

TINY = RunConfig(model="c4k5-s2-f12", batch_size=4, lr=0.05, epochs=1)
STEPS = 3  # at once


class Cuda:
    """Within a capture, steps are kept, not run; a replay runs them, on whatever lies in their tensors by then."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.capturing: Any = None
        self.in_flight = self.most_in_flight = 0
        cuda = self

        class Stream:
            def wait_stream(self, other: object) -> None:
                cuda.said.append("wait")

        class CUDAGraph:
            def __init__(self) -> None:
                self.steps: list[Callable[[], None]] = []

            def replay(self) -> None:
                cuda.said.append("replay")
                for step in self.steps:
                    step()

        class Event:
            def record(self) -> None:
                cuda.in_flight += 1
                cuda.most_in_flight = max(cuda.most_in_flight, cuda.in_flight)

            def synchronize(self) -> None:
                cuda.in_flight -= 1

        self.Stream, self.CUDAGraph, self.Event = Stream, CUDAGraph, Event
        self.current_stream = Stream

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        self.said.append("warm-up")
        yield

    @contextmanager
    def graph(self, captured: Any) -> Iterator[None]:
        self.said.append("capture")
        self.capturing = captured
        yield
        self.capturing = None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    found = Cuda()

    class Torch:
        cuda = found

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    begin = graph.StepGraph.__init__

    def capturing(step_graph: Any, stack: Any, step: Callable[..., None], *rest: Any) -> None:
        def kept(*arguments: Any) -> None:
            if found.capturing is None:
                step(*arguments)
            else:
                found.capturing.steps.append(lambda: step(*arguments))

        begin(step_graph, stack, kept, *rest)

    monkeypatch.setattr(graph, "torch", Torch())
    monkeypatch.setattr(graph.StepGraph, "__init__", capturing)
    monkeypatch.setattr(loop, "STEPS_AT_ONCE", STEPS)
    return found


@pytest.fixture
def data_set() -> Dataset:
    return noise(90, 10)


def trained(trainer: Trainer, order: torch.Tensor) -> list[torch.Tensor]:
    trainer.stack.begin_epoch(1, len(order))
    for rows in order.split(STEPS * TINY.batch_size):
        trainer.train_on(rows)
    return [each.clone() for each in trainer.stack.state()]  # type: ignore[union-attr]


@pytest.mark.parametrize("change", [{}, {"momentum": 0.9}, {"optimizer": "adam", "lr": 0.002}], ids=str)
def test_replayed_steps_are_the_plain_ones(change: dict[str, Any], data_set: Dataset, cuda: Cuda) -> None:
    configs = [replace(TINY, **change), replace(TINY, loss="mse", **change)]
    starts = [fresh_start(config) for config in configs]
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))  # seven graphs, a step, half a batch
    plain = Trainer(configs, starts, data_set, "cpu", "eager")
    ours = Trainer(configs, starts, data_set, "cpu", "graph")
    for mine, its in zip(ours.stack.state(), plain.stack.state(), strict=True):  # type: ignore[union-attr]
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
