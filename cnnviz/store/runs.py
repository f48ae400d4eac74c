"""A run as the store knows it. Plain data: needs no MLflow."""

import math
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
    parent: str = ""  # id of the run this one was forked from
    first_epoch: int = 0  # 0, or the epoch at which it left its parent
    predicted: Prediction | None = None

    @property
    def seconds(self) -> float:
        """Training time of all segments together."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and value of the best test accuracy after this run's training began."""
        by_epoch = enumerate(self.accuracy[1:], self.first_epoch + 1)
        trained = [(value, -epoch) for epoch, value in by_epoch if not math.isnan(value)]
        if not trained:
            return None
        value, epoch = max(trained)
        return -epoch, value

    @property
    def best_accuracy(self) -> float:
        """The best test accuracy, to rank by: -1 if there is none."""
        return self.best[1] if self.best else -1.0

    @property
    def active(self) -> bool:
        """Waiting or training."""
        return self.status in ACTIVE

    @property
    def architecture(self) -> Architecture:
        return self.config.architecture
