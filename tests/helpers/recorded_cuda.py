"""A stand-in for torch.cuda whose graphs are recorded and repeated on the CPU.

As a real graph does, one repeats operations, on the places of memory and with the numbers that they had when it was
captured: no Python runs in a replay. What a step takes from Python anew each time is therefore wrong here, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recorder(TorchDispatchMode):
    """Keeps the operations that run, with what they are given and what they return."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for function, args, kwargs, result in self.operations:
            again = function(*args, **kwargs)
            for mine, its in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(mine, Tensor) and mine.data_ptr() != its.data_ptr():  # neither a view nor in place
                    mine.copy_(its)


class Cuda:
    """In the place of torch.cuda; said is what it was asked to do."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.generators: list[torch.Generator] = []
        self.in_flight = self.most_in_flight = 0
        cuda = self

        class Stream:
            def wait_stream(self, other: object) -> None:
                cuda.said.append("wait")

        class CUDAGraph:
            def __init__(self) -> None:
                self.recorder = Recorder()

            def register_generator_state(self, generator: torch.Generator) -> None:
                cuda.generators.append(generator)

            def replay(self) -> None:
                cuda.said.append("replay")
                self.recorder.repeat()

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
        with captured.recorder:
            yield


class Torch:
    """PyTorch with another torch.cuda."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)
