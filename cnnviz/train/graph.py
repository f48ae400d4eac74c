"""Steps as one CUDA graph: no launch and no wait between them.

A graph reads and writes the same places of memory each time. So it is captured with the stack's own tensors, which hold
after it what they held before, and the pictures' numbers are copied to where it looks for them.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from cnnviz.data import Dataset
from cnnviz.train.stack import Stack

REPLAYS_AHEAD = 4  # enough to keep the device busy, few enough that reported progress is close to the truth


class StepGraph:
    """So many steps at once, replayed."""

    def __init__(self, stack: Stack, step: Callable[..., None], dataset: Dataset, batch_size: int, steps: int) -> None:
        images, labels = dataset.train_images, dataset.train_labels
        self.order = torch.zeros(steps * batch_size, dtype=torch.int64, device=images.device)
        batches, state = self.order.split(batch_size), [each.clone() for each in stack.state()]
        self.replays: deque[torch.cuda.Event] = deque()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # warm-up: libraries choose their kernels and allocate outside of the capture
            for rows in batches[:3]:
                step(images, labels, rows)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for rows in batches:
                step(images, labels, rows)
        for each, saved in zip(stack.state(), state, strict=True):
            each.copy_(saved)

    def walk(self, order: Tensor) -> None:
        """Train on images[order]. Returns before the device is done."""
        self.order.copy_(order)
        self.graph.replay()
        self.replays.append(torch.cuda.Event())
        self.replays[-1].record()
        if len(self.replays) > REPLAYS_AHEAD:
            self.replays.popleft().synchronize()
