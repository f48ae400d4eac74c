"""How far a launch is, in words: its four stages with their times, and one line about all that trains."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cnnviz.jobs.status import STAGES, RunProgress, WorkerStatus
from cnnviz.store.runs import Run
from cnnviz.wording import count, duration, elapsed

TITLES = {
    "data": "Data",
    "compiling": "Compiling",
    "testing": "Testing the untrained networks",
    "training": "Training",
}
TELLING = 0.1  # share of a stage from which the time it has taken says how long it takes


@dataclass(frozen=True)
class Step:
    """A stage of a launch as it stands."""

    stage: str  # of status.STAGES
    state: Literal["done", "now", "next", "left out"]
    words: str  # how long it took, takes or will take; "" if nothing is known
    share: float = 0.0  # that is done

    @property
    def title(self) -> str:
        return TITLES[self.stage]


def steps(status: WorkerStatus | None, runs: Sequence[Run]) -> list[Step]:
    """The four stages of these active runs; status: of the worker that trains them, None before it has reported."""
    seconds, expected = (dict(status.stages), status.expected) if status else ({}, {})
    if not seconds:  # of a worker that has not taken its runs yet
        seconds = {"data": max(time.time() - max(run.queued_at for run in runs), 0.0)}
    elif status:
        seconds[list(seconds)[-1]] += max(time.time() - status.updated_at, 0.0)
    now = list(seconds)[-1]
    order = [*seconds, *(stage for stage in STAGES if stage not in seconds)]
    made = []
    for stage in order if now != "training" else STAGES:
        if stage == now:
            made.append(_now(stage, seconds[stage], expected.get(stage), status, runs))
        elif stage in seconds:
            made.append(Step(stage, "done", elapsed(seconds[stage]), 1.0))
        elif now == "training" or (expected and stage != "training" and stage not in expected):
            made.append(Step(stage, "left out", "not needed"))
        else:
            about = f"about {duration(expected[stage])}" if stage in expected else ""
            made.append(Step(stage, "next", about))
    return made


def _now(stage: str, seconds: float, expected: float | None, status: WorkerStatus | None, runs: Sequence[Run]) -> Step:
    if stage == "training" and status:
        moving = of_runs(status, runs)
        share = sum(each.fraction for each in moving) / len(moving) if moving else 0.0
        return Step(stage, "now", epochs_and_rest(moving) or elapsed(seconds), min(share, 1.0))
    share = status.testing_share if status and stage == "testing" else 0.0
    if share > TELLING:
        expected = seconds / share
    share = share or min(seconds / expected, 0.95) if expected else 0.0
    words = elapsed(seconds)
    if expected and expected > seconds:
        words += f" of about {duration(expected)}"
    if status and status.message:  # how far a download is
        words += f" · {status.message}"
    return Step(stage, "now", words, share)


def of_runs(status: WorkerStatus, runs: Sequence[Run]) -> list[RunProgress]:
    return [status.runs[run.id] for run in runs if run.id in status.runs]


def epochs_and_rest(moving: Sequence[RunProgress]) -> str:
    """ "epoch 7 of 20 · 2 min left" of the slowest."""
    begun = [each for each in moving if each.epoch]
    if not begun:
        return ""
    slowest = min(begun, key=lambda each: each.epoch)
    left = [each.seconds_left for each in moving if each.seconds_left is not None]
    known = f" · {duration(max(left))} left" if len(left) == len(moving) else ""
    return f"epoch {slowest.epoch} of {slowest.target}{known}"


def elsewhere(active: Sequence[Run]) -> str:
    """Where other machines train these: "2 networks train on lab-3, 1 on lab-4"; "" if this one trains all."""
    places = Counter(run.elsewhere for run in active if run.elsewhere).items()
    if not places:
        return ""
    (first, many), *more = sorted(places)
    verb = "trains" if many == 1 else "train"
    return ", ".join(
        [f"{count(many, 'network')} {verb} on {first}", *(f"{number} on {place}" for place, number in more)]
    )


def one_line(statuses: Sequence[WorkerStatus], active: Sequence[Run]) -> str:
    """ "12 networks · epoch 7 of 20 · 2 min left"; of other machines' runs only where they train."""
    others, active = elsewhere(active), [run for run in active if run.is_here]
    if not active:
        return others
    alive = [status for status in statuses if status.alive]
    moving = [each for status in alive for each in of_runs(status, active)]
    words = [count(len(active), "network")]
    if not (rest := epochs_and_rest(moving)):
        busy = next((status for status in alive if of_runs(status, active)), next(iter(alive), None))
        current = next(step for step in steps(busy, active) if step.state == "now")
        rest = f"{current.title[0].lower()}{current.title[1:]} · {current.words}"
    waiting = sum(run.status == "SCHEDULED" for run in active)
    waits = [f"{waiting} waiting"] if 0 < waiting < len(active) else []
    return " · ".join([*words, rest, *waits, *([others] if others else [])])
