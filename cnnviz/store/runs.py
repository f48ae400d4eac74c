"""A run as the store knows it. Plain data: needs no MLflow."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cnnviz.architectures import Architecture
from cnnviz.config import RunConfig

ACTIVE = ("SCHEDULED", "RUNNING")
STATUSES = (*ACTIVE, "FINISHED", "FAILED", "KILLED")


SHORT_ID = 12  # letters of a run's id in a StackHistory


@dataclass(frozen=True)
class Segment:
    """Training without a break. From the click to its last result it took waited + setup + seconds."""

    start_epoch: int  # the epoch it set out from
    started_at: float  # seconds since 1970, when its process was started
    seconds: float  # of training and evaluation
    device: str  # "cpu", "cuda: NVIDIA H200"
    threads: int  # of one network stack's process
    stack: int = 1  # networks trained together as one
    waited: float = 0.0  # seconds in the queue before it; 0 if it goes on after an interruption
    setup: float = 0.0  # seconds for the rest: loading, compiling, looking at the untrained network, recording
    method: str = ""  # how steps were run, of train.loop.METHODS; a continued run repeats it; "": not recorded


@dataclass(frozen=True)
class Prediction:
    """What somebody expected of a run before it, and those launched with it, began."""

    at: float  # seconds since 1970; the same for all that were launched together
    learns: bool
    best: bool  # of those launched together
    overfits: int | None = None  # the epoch from which the best of them overfits; 0: never; None: not said


@dataclass(frozen=True)
class StackHistory:
    """The stacks a run was trained in. Its last bits depend on them, so an interrupted run goes on in the same one."""

    batch: str  # id of the run that was marked last; as long as it is not marked, nothing of its batch has been trained
    threads: int
    members: tuple[tuple[int, tuple[str, ...]], ...]  # first epoch → shortened ids of the runs side by side

    def at(self, epoch: int) -> tuple[str, ...]:
        """Shortened ids of the runs in the stack that trains that epoch, in order."""
        return next(ids for first, ids in reversed(self.members) if first <= max(epoch, self.members[0][0]))


@dataclass(frozen=True)
class Run:
    """A run as the store knows it."""

    id: str
    name: str
    status: str
    config: RunConfig  # its epochs are the target
    epoch: int  # last complete epoch; -1: nothing recorded yet
    device: str  # asked for: "cpu", "cuda" or "mps"
    created: datetime
    queued_at: float  # seconds since 1970
    message: str = ""  # why it failed, or what it recovered from
    stopping: bool = False  # the user asked to stop it and the worker has not yet
    segments: tuple[Segment, ...] = ()
    stack_history: StackHistory | None = None  # None: not begun, or begun before cnnviz recorded it
    accuracy: tuple[float, ...] = field(default=(), repr=False)  # test accuracy by epoch, from first_epoch
    val_loss: tuple[float, ...] = field(default=(), repr=False)  # of its validation set, likewise; () without one
    val_accuracy: tuple[float, ...] = field(default=(), repr=False)
    patience_from: int = 0  # epoch from which its patience is counted: it began there, or was continued
    parent: str = ""  # id of the run this one was forked from
    first_epoch: int = 0  # 0, or the epoch at which it left its parent
    predicted: Prediction | None = None
    is_here: bool = True  # it belongs to this installation, whose workers train it
    host: str = ""  # name of the computer that it belongs to, if it says so
    # Milliseconds since 1970: when its epoch 0 was recorded, if the training pictures' figures of it are not there yet.
    half_since: int | None = None

    @property
    def elsewhere(self) -> str:
        """The computer that trains it, if that is another installation's: "lab-3"; "" if it is this one's."""
        return "" if self.is_here else self.host or "another machine"

    @property
    def seconds(self) -> float:
        """Training time of all segments together."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def best(self) -> tuple[int, float] | None:
        """Its best epoch after its training began, and the test accuracy then.

        That is the epoch with the lowest validation loss or, without a validation set, the highest test accuracy.
        """
        return self.best_within(self.first_epoch + len(self.accuracy))

    def best_within(self, epochs: int) -> tuple[int, float] | None:
        """The same among the epochs up to that one."""
        many = max(epochs - self.first_epoch, 0) + 1
        tested, judged = self.accuracy[1:many], self.accuracy[1:many]
        if self.is_validated:
            losses = [-loss for loss in self.val_loss[1:many]]
            judged = tuple(losses) if any(map(math.isfinite, losses)) else self.val_accuracy[1:many]
        found = [
            (judge, -place)
            for place, (judge, value) in enumerate(zip(judged, tested, strict=True))
            if not math.isnan(judge) and math.isfinite(value)
        ]
        if not found:
            return None
        place = -max(found)[1]
        return self.first_epoch + 1 + place, tested[place]

    @property
    def is_validated(self) -> bool:
        """Whether it has the figures of a validation set."""
        return bool(self.val_loss) and len(self.val_loss) == len(self.val_accuracy) == len(self.accuracy)

    @property
    def best_val_accuracy(self) -> float:
        """The validation accuracy at its best epoch; NaN without one."""
        return self.val_accuracy[self.best[0] - self.first_epoch] if self.is_validated and self.best else math.nan

    @property
    def stopped_early(self) -> bool:
        """Whether its patience ran out before it had reached its epochs."""
        return bool(self.config.patience) and self.status == "FINISHED" and 0 <= self.epoch < self.config.epochs

    @property
    def best_accuracy(self) -> float:
        """The test accuracy at its best epoch: -1 if there is none."""
        return self.best[1] if self.best else -1.0

    @property
    def active(self) -> bool:
        """Waiting or training."""
        return self.status in ACTIVE

    @property
    def architecture(self) -> Architecture:
        return self.config.architecture


def figure_to_rank(runs: Iterable[Run]) -> Callable[[Run], float]:
    """What these runs are ranked by, -1 for one that has none: their validation accuracy if all that are trained have a
    validation set, else their test accuracy; each at its best epoch."""
    trained = [run for run in runs if run.best]
    if trained and all(run.is_validated for run in trained):
        return lambda run: run.best_val_accuracy if run.best and run.is_validated else -1.0
    return lambda run: run.best_accuracy
