"""What torch.nn lacks: the sum at the end of a residual block, global average pooling, a sequence with shortcuts."""

from collections.abc import Iterator

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Addition(nn.Module):
    """The sum of a residual block's maps and its input, which a shortcut without weights brings here.

    Where the block has smaller maps, the shortcut leaves cells out; where it has more of them, it adds maps of zeros:
    option A of He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, source: str, stride: int, more: int) -> None:
        """source: name of the child of Shortcuts whose output is the block's input; more: maps of zeros."""
        super().__init__()
        self.source, self.stride, self.more = source, stride, more

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        if self.stride > 1:
            shortcut = shortcut[:, :, :: self.stride, :: self.stride]
        if self.more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.more))
        return x + shortcut


class GlobalAverage(nn.Module):
    """The mean of each map: (N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Shortcuts(nn.Sequential):
    """As nn.Sequential; an Addition also takes what an earlier child returned."""

    def forward(self, x: Tensor) -> Tensor:
        output = x
        for _, _, output in walk(self, x):  # noqa: B007
            pass
        return output


def walk(module: nn.Sequential, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each child's name, its input and its output, in order, for the module's input x."""
    children = dict(module.named_children())
    last = {child.source: name for name, child in children.items() if isinstance(child, Addition)}
    kept: dict[str, Tensor] = {}
    for name, child in children.items():
        if isinstance(child, Addition):
            shortcut = kept[child.source]
            if last[child.source] == name:
                del kept[child.source]
            entering, x = x, child(x, shortcut)
        else:
            entering, x = x, child(x)
        if name in last:
            kept[name] = x
        yield name, entering, x
