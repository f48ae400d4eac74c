"""A training step compiled by PyTorch, or the plain one where that fails: the same numbers, more slowly."""

from collections.abc import Callable

import torch
from torch import Tensor

from cnnviz.train import native
from cnnviz.train.stack import Stack

_failed = False  # in this process: what is wrong with a compiler stays so, and takes seconds to find out


def _give_up(why: str) -> None:
    global _failed
    _failed = True
    native.note(f"PyTorch cannot compile the step ({why}): it runs without, slower")


class CompiledStep:
    """stack.step, compiled at its first call. If that fails, native.troubles says why and the step runs as it is."""

    def __init__(self, stack: Stack, mode: str | None) -> None:
        if stack.device == "cpu" and not _failed and (silent := native.silence()):
            _give_up(silent)
        self.stack, self.is_proven, self.has_failed = stack, _failed, _failed
        self.step: Callable[[Tensor, Tensor, Tensor], None] = stack.step
        if not _failed:
            self.step = torch.compile(stack.step, fullgraph=True, dynamic=False, mode=mode)

    def __call__(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        if not self.is_proven:
            self._try(images, labels, rows)
        else:
            self.step(images, labels, rows)

    def _try(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        before = [each.clone() for each in self.stack.state()]
        try:
            self.step(images, labels, rows)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # PyTorch's compiler raises its own, the system's, and those of what it calls
            _give_up(native.first_error(str(error)))
            self.has_failed = True
            for each, saved in zip(self.stack.state(), before, strict=True):
                each.copy_(saved)
            self.step = self.stack.step
            self.step(images, labels, rows)
        self.is_proven = True
