"""Runs that were launched together: which they are, how they stand, how long they took."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cnnviz.analysis.comparison import differing, labels
from cnnviz.analysis.evidence import ABOVE_CHANCE
from cnnviz.config import SETTINGS
from cnnviz.store.runs import Run, figure_to_rank
from cnnviz.wording import count

APART_SECONDS = 5.0  # between two runs of the same click: scheduling one takes a fraction of it
EXPERIMENT_SECONDS = 30.0  # on a machine that is busy training, scheduling takes longer


@dataclass(frozen=True)
class Standing:
    """A run's place among those launched with it."""

    run: Run
    name: str  # what differs: "tanh, lr 0.01"
    rank: int | None  # from 1; None: no point yet
    accuracy: float | None  # the best test accuracy so far
    change: float | None  # of the test accuracy in the last epoch
    remark: str = ""


def launched_with(found: Sequence[Run], active: Sequence[Run]) -> list[Run]:
    """The active runs and those of the same click that have ended, in the order in which they were queued."""
    clicks = _clicks(found, lambda run: run.queued_at, APART_SECONDS)
    return [run for click in clicks if any(run in active for run in click) for run in click]


def experiments(found: Sequence[Run]) -> list[list[Run]]:
    """Runs made by the same click, the newest experiment first. One that was continued stays in its experiment."""
    return _clicks(found, lambda run: run.created.timestamp(), EXPERIMENT_SECONDS)[::-1]


def _clicks(found: Sequence[Run], at: Callable[[Run], float], apart: float) -> list[list[Run]]:
    clicks: list[list[Run]] = []
    for run in sorted(found, key=at):
        if clicks and at(run) - at(clicks[-1][-1]) < apart:
            clicks[-1].append(run)
        else:
            clicks.append([run])
    return clicks


def title(runs: Sequence[Run]) -> str:
    """What an experiment is called: "12 runs trained together: activation, learning rate"; of one run its name."""
    if len(runs) == 1:
        return runs[0].name
    varied = [SETTINGS[name].title.lower() for name in differing(runs)]
    return f"{count(len(runs), 'run')} trained together" + (f": {', '.join(varied)}" if varied else "")


def standings(runs: Sequence[Run], lost: Collection[str] = ()) -> list[Standing]:
    """The best first, those without a point last. lost: ids of runs whose loss is not finite any more."""
    names = labels(runs)
    figure = figure_to_rank(runs)
    begun = [run for run in runs if run.accuracy]
    begun.sort(key=lambda run: -_value(figure(run) if run.best else _best(run)))
    rest = [run for run in runs if not run.accuracy]
    return [_standing(run, names[run.id], place, run.id in lost) for place, run in enumerate(begun, 1)] + [
        Standing(run, names[run.id], None, None, None, _state(run)) for run in rest
    ]


def _standing(run: Run, name: str, rank: int, lost: bool) -> Standing:
    now = run.accuracy[-1]
    change = now - run.accuracy[-2] if len(run.accuracy) > 1 else None
    if lost:
        remark = "diverged"
    elif run.epoch == 0:
        remark = "untrained"
    else:
        remark = "chance level" if not now > ABOVE_CHANCE else ""
    ended = "" if run.active else _state(run)
    return Standing(run, name, rank, _best(run), change, ended or remark)


def _best(run: Run) -> float:
    return run.best[1] if run.best else run.accuracy[-1]


def _value(accuracy: float) -> float:
    return accuracy if math.isfinite(accuracy) else -1.0


def _state(run: Run) -> str:
    return {"SCHEDULED": "waiting", "RUNNING": "no point yet", "FAILED": "failed", "KILLED": "stopped"}.get(
        run.status, "stopped early" if run.stopped_early else ""
    )


def took(runs: Sequence[Run]) -> float | None:
    """Seconds from the start of their last training to the last result, without the wait in the queue; None for runs
    of which nothing was trained."""
    parts = [part for run in runs for part in run.segments[-1:]]
    ends = [part.started_at + part.setup + part.seconds for part in parts]
    return max(ends) - min(part.started_at for part in parts) if parts else None
