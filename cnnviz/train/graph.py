"""Steps as one CUDA graph: no launch and no wait between them.

A graph reads and writes the same places of memory each time, and repeats the numbers that Python had when it was
captured. So it is captured with the tensors that are trained, which hold after it what they held before, and what
differs from step to step is copied to where it looks for it: the pictures' numbers and, of a network that autograd
trains, its learning rates and what was drawn for its pictures.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cnnviz.data import Dataset
from cnnviz.train.single import Single
from cnnviz.train.stack import Stack

WARM_UP = 3  # steps
REPLAYS_AHEAD = 4  # enough to keep the device busy, few enough that reported progress is close to the truth


class Captured:
    """So many steps, captured: run(step) does one of them, 0 or later. Before it, some are done for warming up."""

    def __init__(self, run: Callable[[int], None], steps: int, generators: Sequence[torch.Generator] = ()) -> None:
        self.replays: deque[torch.cuda.Event] = deque()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # warm-up: libraries choose their kernels and allocate outside of the capture
            for step in range(min(WARM_UP, steps)):
                run(step)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:  # a replay draws on from where the generator is, as steps one by one do
            self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            for step in range(steps):
                run(step)

    def replay(self) -> None:
        """Returns before the device is done."""
        self.graph.replay()
        self.replays.append(torch.cuda.Event())
        self.replays[-1].record()
        if len(self.replays) > REPLAYS_AHEAD:
            self.replays.popleft().synchronize()


class StepGraph:
    """So many steps of a stack at once, replayed."""

    def __init__(self, stack: Stack, step: Callable[..., None], dataset: Dataset, batch_size: int, steps: int) -> None:
        images, labels = dataset.train_images, dataset.train_labels
        self.order = torch.zeros(steps * batch_size, dtype=torch.int64, device=images.device)
        batches, state = self.order.split(batch_size), [each.clone() for each in stack.state()]
        self.captured = Captured(lambda at: step(images, labels, batches[at]), steps)
        for each, saved in zip(stack.state(), state, strict=True):
            each.copy_(saved)

    def walk(self, order: Tensor) -> None:
        """Train on images[order]. Returns before the device is done."""
        self.order.copy_(order)
        self.captured.replay()


class SingleGraph:
    """So many steps of a network that autograd trains at once, replayed.

    They are captured as the first steps of an epoch of their own, whose rates and draws are this graph's.
    """

    def __init__(self, single: Single, dataset: Dataset, batch_size: int, steps: int) -> None:
        self.single, self.steps = single, steps
        images, labels = dataset.train_images, dataset.train_labels
        self.order = torch.zeros(steps * batch_size, dtype=torch.int64, device=images.device)
        self.gradients = self._gradients()
        batches, state = self.order.split(batch_size), {name: each.clone() for name, each in single.state().items()}
        drawing = single.generator.get_state()
        single.begin_epoch(1, steps * batch_size)
        assert isinstance(single.rates, Tensor)
        self.rates, self.drawn = single.rates, single.drawn

        def run(at: int) -> None:
            single.steps, single.seen = at, at * batch_size
            single.step(images, labels, batches[at])

        self.captured = Captured(run, steps, [single.generator])
        single.put(state)
        single.generator.set_state(drawing)
        single.rates, single.drawn = (), None  # the next epoch has its own

    def _gradients(self) -> dict[torch.nn.Parameter, Tensor]:
        """Where gradients lie that are never zeroed; others come and go within the graph."""
        if self.single.config.mistake != "no-zero-grad":
            return {}
        for parameter in self.single.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return {each: each.grad for each in self.single.parameters.values() if each.grad is not None}

    def walk(self, order: Tensor) -> None:
        """Train on images[order]. Returns before the device is done."""
        single, many = self.single, len(order)
        assert isinstance(single.rates, Tensor)
        self.order.copy_(order)
        self.rates.copy_(single.rates[single.steps : single.steps + self.steps])
        if self.drawn is not None and single.drawn is not None:
            self.drawn.copy_(single.drawn[single.seen : single.seen + many])
        for parameter, place in self.gradients.items():
            if parameter.grad is None:  # as probe leaves it
                place.zero_()
            elif parameter.grad is not place:
                place.copy_(parameter.grad)
            parameter.grad = place
        self.captured.replay()
        single.steps += self.steps
        single.seen += many
