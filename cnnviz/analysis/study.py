"""The reference study as a checklist: what is done, judged by the runs there are, and what comes next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from cnnviz.analysis.comparison import whole
from cnnviz.config import RunConfig
from cnnviz.presets import PRESETS
from cnnviz.store.runs import Run

State = Literal["done", "begun", "open"]
EPOCHS = 20  # of every part
CONTINUED = 40  # of one run of 1a, and of the three that 3b compares


@dataclass(frozen=True)
class Part:
    """One line of the checklist."""

    key: str  # "1a"
    question: str
    state: State
    progress: str  # "7 of 12 trained"
    train: tuple[RunConfig, ...] = ()  # what is missing
    target: int = EPOCHS  # epochs, of what is trained already
    resume: Mapping[int, list[str]] = field(default_factory=dict)  # more epochs → ids of the runs that lack them
    look: tuple[str, ...] = ()  # ids of the runs to look at
    page: str = "pages/curves.py"  # where


def checklist(runs: Sequence[Run], dataset: str = "cifar10") -> list[Part]:
    """The parts in their order, judged by the runs on that data set."""
    grids = {key: _Grid(PRESETS[key].configs(dataset=dataset), runs) for key in ("1a", "2a", "3a")}
    first = grids["1a"]
    longer = [run for run in first.found if run.epoch >= CONTINUED]
    best = [run for run in (grid.best for grid in grids.values()) if run]
    parts = [
        first.part("1a", "Which learning rate, activation and loss let LeNet learn, and why?"),
        _looking(first),
        grids["2a"].part("2a", "What do smaller kernels and ReLU change?"),
        grids["3a"].part("3a", "What do five convolutions cost, and what do they bring?"),
        _comparison(best),
    ]
    if parts[0].state == "done" and not longer and first.best:
        progress = f"12 of 12; take one on to {CONTINUED} epochs"
        resume = _lacking([first.best], CONTINUED)
        parts[0] = replace(parts[0], state="begun", progress=progress, target=CONTINUED, resume=resume)
    done = all(part.state == "done" for part in parts if part.key != "1b")
    everything = tuple(run.id for grid in grids.values() for run in grid.found)
    hand_in = "everything is trained" if done else "the curves, the reasons, the maps"
    return [*parts, Part("hand-in", "Write it up", "open", hand_in, look=everything, page="pages/report.py")]


class _Grid:
    def __init__(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        # Of those with the same settings, the one that got furthest.
        furthest = sorted(whole(runs), key=lambda run: run.epoch)
        by_config = {replace(run.config, epochs=EPOCHS): run for run in furthest}
        self.configs = configs
        self.found = [by_config[config] for config in configs if config in by_config]
        self.done = [run for run in self.found if run.epoch >= EPOCHS]
        self.missing = tuple(config for config in configs if config not in by_config)

    @property
    def best(self) -> Run | None:
        return max(self.done, key=lambda run: run.best_accuracy, default=None)

    def part(self, key: str, question: str) -> Part:
        total = len(self.configs)
        state: State = "done" if len(self.done) == total else "begun" if self.found else "open"
        active = sum(run.active for run in self.found)
        progress = f"{len(self.done)} of {total} trained" + (f", {active} in training" if active else "")
        if short := len(self.found) - len(self.done) - active:
            progress += f", {short} for less than {EPOCHS} epochs"
        look = tuple(run.id for run in self.found)
        return Part(key, question, state, progress, self.missing, resume=_lacking(self.found, EPOCHS), look=look)


def _lacking(runs: Sequence[Run], target: int) -> dict[int, list[str]]:
    """How many more epochs take each of these runs to the target; those that train already are left out."""
    more: dict[int, list[str]] = {}
    for run in runs:
        if run.epoch < target and not run.active:
            more.setdefault(target - max(run.epoch, 0), []).append(run.id)
    return more


def _looking(grid: _Grid) -> Part:
    """A good and a bad network on the same pictures."""
    question = "What do a good and a bad network see in the same picture?"
    trained = [run for run in grid.found if run.epoch > 0]  # for however long: there is something to see
    if len(trained) < 2:
        return Part("1b", question, "open", "needs two trained networks of 1a", page="pages/feature_maps.py")
    best, worst = (choose(trained, key=lambda run: run.best_accuracy) for choose in (max, min))
    return Part("1b", question, "begun", "ready to look at", look=(best.id, worst.id), page="pages/feature_maps.py")


def _comparison(best: Sequence[Run]) -> Part:
    """1a's best, 2a and 3a, each for 20 + 20 epochs."""
    question = f"1a's best, 2a and 3a: which wins over {CONTINUED} epochs?"
    ready = [run for run in best if run.epoch >= CONTINUED]
    if len(ready) == 3:
        return Part("3b", question, "done", "3 of 3 trained", look=tuple(run.id for run in best))
    state: State = "begun" if ready else "open"
    progress = f"{len(ready)} of 3 have {CONTINUED} epochs"
    look = tuple(run.id for run in best)
    return Part("3b", question, state, progress, target=CONTINUED, resume=_lacking(best, CONTINUED), look=look)
