"""LeNet's family on one core: the step and the evaluation in C++ of our own, compiled at first use.

Batches of 10 through two small convolutions spend their time between library calls, on dispatch and copies, and in
kernels made for wider layers. Here a network and its batch stay in the core's cache from the pixels to the update.
Several networks of a stack are trained one after another over the same few batches. Same numbers as Stack's to float
rounding (tests/train/test_lenet.py); other networks are compiled by PyTorch.
"""

import ctypes
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cnnviz.architectures import Architecture, Conv, architecture
from cnnviz.config import DEFAULTS, RunConfig
from cnnviz.train import native
from cnnviz.train.stack import SATURATION_PICTURES, Stack

KINDS = ("sigmoid", "tanh", "relu", "leaky_relu")  # by their number in lenet.cpp
MOST_MAPS = (12, 32)  # of the convolutions: with more, PyTorch's kernels are no worse
MOST_BATCH, MOST_UNITS = 64, 1024  # so that a network and its batch stay in the cache
PICTURES_AT_ONCE = 1000


def _lanes() -> int:
    """How many floats a vector of this processor holds; 0: the kernel is not made for it."""
    return 4 if native.is_arm() else {"AVX512": 16, "AVX2": 8}.get(torch.backends.cpu.get_cpu_capability(), 0)


LANES = _lanes()
# Fields of RunConfig that the kernel obeys, that fits() looks at, or that change no step.
KNOWN: frozenset[str] = frozenset(
    {
        *("model", "activation", "loss", "lr", "pooling", "optimizer", "momentum", "weight_decay", "batch_size"),
        *("init", "seed", "limit_train", "validation", "patience", "dataset", "epochs"),
    }
)


def fits(configs: Sequence[RunConfig]) -> bool:
    """Whether these runs, which share a stack, are of the family and this machine can run the kernel.

    Two unpadded convolutions with 2×2 pooling after each, a monotone activation, gradient descent or Adam; a
    processor with AVX-512, AVX2 or NEON, and a C++ compiler.
    """
    return (
        LANES > 0
        and native.compiler() is not None
        and _is_family(architecture(configs[0].model))
        and all(
            config.activation in KINDS
            and config.pooling in ("max", "avg")
            and config.optimizer in ("sgd", "adam")
            and config.batch_size <= MOST_BATCH
            and all(getattr(config, name) == default for name, default in DEFAULTS.items() if name not in KNOWN)
            for config in configs
        )
    )


def _is_family(arch: Architecture) -> bool:
    return (
        len(arch.convs) == len(MOST_MAPS)
        and all(
            conv == Conv(conv.channels, conv.kernel) and conv.channels <= most and conv.kernel <= 7
            for conv, most in zip(arch.convs, MOST_MAPS, strict=True)
        )
        and max(arch.hidden, default=0) <= MOST_UNITS
        and arch.is_plain
    )


class Kernel:
    """A stack's networks in the layout of lenet.cpp. Raises CnnvizError if it cannot be compiled."""

    def __init__(self, stack: Stack, batch_size: int) -> None:
        self.stack, self.batch_size = stack, batch_size
        (c1, c2), dense = stack.arch.convs, stack.weights[2 * len(MOST_MAPS) :: 2]
        widths = dense[0].shape[1], *(weight.shape[2] for weight in dense)
        self.library = native.library(
            "lenet.cpp",
            C1=c1.channels,
            K1=c1.kernel,
            C2=c2.channels,
            K2=c2.kernel,
            FC=",".join(map(str, widths)),
            BATCH=batch_size,
            LANES=LANES,
            AVERAGE=int(stack.pooling == "avg"),
            SLOTS=len(stack.slots),
            DECAYS=int(stack.has_decay),
        )
        pointer, number = ctypes.c_void_p, ctypes.c_long
        self.library.walk.argtypes = [pointer, ctypes.c_int, *[pointer] * 7, number, pointer]
        self.library.judge_all.argtypes = [pointer, ctypes.c_int, *[pointer] * 4, number, pointer]
        self.packed = torch.cat([_padded(view).flatten(1) for view in self._views()], 1)
        assert self.packed.shape[1] == self.library.floats()
        kinds = [KINDS.index(name) for name, start, stop in stack.groups for _ in range(start, stop)]
        self.kinds = torch.tensor(kinds, dtype=torch.int32)
        self.mse = stack.mse.to(torch.uint8)

    def _views(self) -> list[Tensor]:
        """The stack's own weights and then what its optimizer remembers of them, (K, …) and in the order in which the
        kernel reads them."""
        views = []
        for name, weight in (
            each
            for weights in (self.stack.weights, *self.stack.slots.values())
            for each in zip(self.stack.names, weights, strict=True)
        ):
            if name.startswith("fc"):
                views.append(weight)
            elif weight.dim() == 1:
                views.append(weight.view(self.stack.size, -1))
            elif name == self.stack.names[0]:  # kernels of the first layer as they lie: (K, map, row, column, colour)
                views.append(weight.unflatten(0, (self.stack.size, -1)).permute(0, 1, 3, 4, 2).flatten(1))
            else:  # of the second with its maps side by side: (K, row, column, map before, map)
                views.append(weight.unflatten(0, (self.stack.size, -1)).permute(0, 3, 4, 2, 1))
        return views

    def walk(self, images: Tensor, labels: Tensor, order: Tensor) -> None:
        """Train on images[order], batch by batch; the steps' figures are added to the stack's totals."""
        order = order.contiguous()
        stack = self.stack
        given = self.kinds, self.mse, stack.rates, stack.steps, images, labels, order
        pointers = [each.data_ptr() for each in given]
        self.library.walk(self.packed.data_ptr(), stack.size, *pointers, len(order), stack.totals.data_ptr())
        stack.steps += -(-len(order) // self.batch_size)

    def write_back(self) -> None:
        """Copy the trained weights, and all that is remembered of them, into the stack's, out of date until then."""
        at = 0
        for view in self._views():
            padded = _padded(view).shape
            size = padded[1:].numel()
            view.copy_(self.packed[:, at : at + size].reshape(padded)[..., : view.shape[-1]])
            at += size

    def evaluate(
        self, images: Tensor, labels: Tensor, seen: Callable[[int], None] = lambda pictures: None
    ) -> list[dict[str, float]]:
        """As Stack.evaluate; the saturation is Stack's own."""
        figures = self.stack.evaluate(images[:SATURATION_PICTURES], labels[:SATURATION_PICTURES])
        totals = torch.zeros(2, self.stack.size, dtype=torch.float64)
        for start in range(0, len(images), PICTURES_AT_ONCE):
            some, answers = images[start : start + PICTURES_AT_ONCE], labels[start : start + PICTURES_AT_ONCE]
            pointers = [each.data_ptr() for each in (self.kinds, self.mse, some, answers)]
            self.library.judge_all(self.packed.data_ptr(), self.stack.size, *pointers, len(some), totals.data_ptr())
            seen(start + len(some))
        for run, (loss, hits) in zip(figures, (totals / len(images)).T.tolist(), strict=True):
            run |= {"loss": loss, "accuracy": hits}
        return figures


def _padded(view: Tensor) -> Tensor:
    return F.pad(view, (0, -view.shape[-1] % LANES))
