"""When training stops early, by the validation loss (Prechelt 1998): after so many epochs without a lower one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Watched:
    """The lowest validation loss so far."""

    epoch: int = 0  # that it was recorded after; patience is counted from it
    loss: float = math.inf
    since: int = 0  # patience is counted from no earlier epoch: at which the run was continued, or began

    def after(self, epoch: int, loss: float) -> "Watched":
        """With the loss after one more epoch; one that is not a number is never the lowest."""
        return Watched(epoch, loss, self.since) if loss < self.loss else self

    def has_run_out(self, epoch: int, patience: int) -> bool:
        """Whether a run with that patience, 0 for endless, stops after the epoch."""
        return bool(patience) and epoch - max(self.epoch, self.since) >= patience


def watched(losses: Iterable[tuple[int, float]], since: int) -> Watched:
    """Of the losses after these epochs, which the run has trained, in their order."""
    found = Watched(since, since=since)
    for epoch, loss in losses:
        found = found.after(epoch, loss)
    return found
