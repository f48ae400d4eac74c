"""Which setting matters: best test accuracy by the parameters that differ most, and how far each of them moves it."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnviz.analysis.comparison import (
    Pair,
    best_within,
    controlled_pairs,
    repeats,
    seed_spread,
    setting,
    stopped_before,
    whole,
)
from cnnviz.analysis.leaderboard import columns, heading
from cnnviz.config import PARAMETERS, SETTINGS, TYPES
from cnnviz.store.runs import Run
from cnnviz.wording import count, listed

MOST_AXES = 3  # across, down, and a map for each value of the third
NEVER_MIXED = ("model", "loss")  # in a cell: what differs beyond the axes has rows of its own


@dataclass(frozen=True)
class Cell:
    """The runs of one combination of values. Accuracies are shares."""

    runs: tuple[Run, ...]
    mean: float  # over the seeds
    low: float
    high: float
    seeds: int  # different ones; the same seed again is the same training again
    epochs: int  # within which the best was looked for: fewer than asked for if none had more
    mixed: bool  # runs that differ in more than their seed, and in no parameter of the map


@dataclass(frozen=True)
class HeatMap:
    """One of the maps, for one value of the third parameter."""

    title: str  # "mse"; "" if there is one map alone
    cells: tuple[tuple[Cell | None, ...], ...]  # by row and column; None: not trained


@dataclass(frozen=True)
class HeatMaps:
    columns: tuple[str, ...]  # "lr 0.01"
    rows: tuple[str, ...]  # "tanh", "tanh, conv5"; one of "" if one parameter alone differs
    maps: tuple[HeatMap, ...]
    epochs: int  # within which the best test accuracy was looked for
    parameters: tuple[str, ...]  # across, down, of the maps, as many as there are; what else tells rows apart

    @property
    def cells(self) -> list[Cell]:
        return [cell for each in self.maps for row in each.cells for cell in row if cell is not None]


@dataclass(frozen=True)
class Span:
    """How far one parameter alone moves the best test accuracy: largest less smallest mean, all else held fixed."""

    parameter: str
    low: float  # the smallest and the largest of these differences, as shares
    high: float
    comparisons: int  # settings of the rest that it was seen at
    most: str  # where it moves most: "tanh, mse"

    @property
    def title(self) -> str:
        return SETTINGS[self.parameter].title

    @property
    def says(self) -> str:
        """ "4 to 31 points, most with tanh, mse (in 4 comparisons)"."""
        low, high = f"{100 * self.low:.0f}", f"{100 * self.high:.0f}"
        points = f"{low} to {high} points" if low != high else "1 point" if high == "1" else f"{high} points"
        where = f", most with {self.most}" if self.comparisons > 1 and low != high and self.most else ""
        return f"{points}{where} (in {count(self.comparisons, 'comparison')})"


def axes(runs: Sequence[Run]) -> list[str]:
    """Up to three parameters that differ: across, down, and that of which each value has a map. Those with most values
    come first; of these a number goes across, where its order is read from left to right."""
    names = [name for name in columns(runs) if name != "seed"]
    names.sort(key=lambda name: (-len({vars(run.config)[name] for run in runs}), -PARAMETERS.index(name)))
    names = names[:MOST_AXES]
    if len(names) == MOST_AXES and len({vars(run.config)[names[1]] for run in runs}) == len(
        {vars(run.config)[names[2]] for run in runs}
    ):
        names[1:] = sorted(names[1:], key=PARAMETERS.index)  # of equals the loss has the maps: losses do not compare
    numbers = [name for name in names[:2] if TYPES[name] is not str]
    if numbers:
        names.remove(numbers[0])
        names.insert(0, numbers[0])
    return names


def usual_epochs(runs: Sequence[Run]) -> int:
    """To which most of the runs were trained, those aside that stopped early; of equals the fewest.

    If all of them stopped early, each has had its chances: then it is the most that one has.
    """
    trained = sorted(run.epoch for run in runs if run.epoch > 0 and not run.stopped_early)
    return statistics.mode(trained) if trained else max((run.epoch for run in runs), default=0)


def heat_maps(runs: Sequence[Run]) -> HeatMaps | None:
    """Best test accuracies by the parameters that differ; None if none does, or nothing is trained. Forks are left
    out."""
    runs = [run for run in whole(runs) if run.best]
    names = axes(runs)
    if not names:
        return None
    epochs = usual_epochs(runs)
    values = [sorted({vars(run.config)[name] for run in runs}) for name in names]
    across, panel = values[0], values[2] if len(names) > 2 else [None]
    apart = [name for name in NEVER_MIXED if name in columns(runs) and name not in names] if len(names) > 2 else []
    lines = [*names[1:2], *apart]
    by_place: dict[tuple[Any, tuple[Any, ...], Any], list[Run]] = {}
    for run in runs:
        config = vars(run.config)
        row = tuple(config[name] for name in lines)
        by_place.setdefault((config[names[0]], row, config[names[2]] if len(names) > 2 else None), []).append(run)
    down = sorted({row for _, row, _ in by_place})
    maps = tuple(
        HeatMap(
            "" if one is None else setting(names[2], one),
            tuple(tuple(_cell(by_place.get((x, y, one), []), epochs) for x in across) for y in down),
        )
        for one in panel
    )
    heads = tuple(setting(names[0], value) for value in across)
    rows = tuple(", ".join(setting(name, value) for name, value in zip(lines, row, strict=True)) for row in down)
    return HeatMaps(heads, rows, maps, epochs, (*names, *apart))


def _cell(runs: Sequence[Run], epochs: int) -> Cell | None:
    groups = repeats(runs)
    samples = [run for group in groups for run in group.samples]
    best = [value for run in samples if (value := best_within(run, epochs)) is not None]
    if not best:
        return None
    trained = min(epochs, max(epochs if run.stopped_early else run.epoch for run in samples))
    seeds = len({run.config.seed for run in samples})
    return Cell(tuple(runs), statistics.fmean(best), min(best), max(best), seeds, trained, len(groups) > 1)


def spans(runs: Sequence[Run]) -> list[Span]:
    """By parameter that controlled pairs isolate, the one that moves most first."""
    found = []
    for name, pairs in itertools.groupby(controlled_pairs(runs), lambda pair: pair.parameter):
        rest: dict[tuple[object, ...], Pair] = {}  # the first of each is the largest difference
        fixed = [each for each in PARAMETERS if each not in (name, "seed")]
        for pair in sorted(pairs, key=lambda pair: -abs(pair.verdict.difference)):
            rest.setdefault(tuple(vars(pair.first.config)[each] for each in fixed), pair)
        sizes = [abs(pair.verdict.difference) for pair in rest.values()]
        top = next(iter(rest.values()))
        others = [each for each in columns(runs) if each in fixed]
        where = ", ".join(setting(each, vars(top.first.config)[each]) for each in others)
        found.append(Span(name, min(sizes), max(sizes), len(sizes), where))
    return sorted(found, key=lambda span: -span.high)


def caveat(maps: HeatMaps, runs: Sequence[Run]) -> str:
    """How much of a difference may be luck, said once for all of them."""
    seeds = [cell.seeds for cell in maps.cells]
    spread = seed_spread(runs)
    if spread is None:
        return "One seed a cell, so no spread: a difference of a few points may be luck. More seeds would tell."
    some = "" if min(seeds) > 1 else f" {seeds.count(1)} of {len(seeds)} cells have one seed alone, and no spread."
    return (
        f"Seeds alone vary the result by {100 * spread.deviation:.1f} points (standard deviation, {spread.seeds} runs "
        f"of {count(spread.settings, 'setting')}): a smaller difference may be luck.{some}"
    )


def notes(maps: HeatMaps, runs: Sequence[Run]) -> list[str]:
    """What is to be known of the cells besides."""
    said = []
    if any(cell.mixed for cell in maps.cells):
        others = [heading(name) for name in columns(whole(runs)) if name not in (*maps.parameters, "seed")]
        said.append(f"A cell averages over {listed(others) or 'pooling'} as well: choose runs that share it.")
    if any(cell.epochs < maps.epochs for cell in maps.cells):
        said.append("† trained for fewer epochs so far.")
    if early := stopped_before(whole(runs), maps.epochs):
        many = f"{count(len(early), 'run')} stopped early and {'counts' if len(early) == 1 else 'count'}"
        said.append(f"{many} at the best epoch, the one with the lowest validation loss.")
    if any(run.parent for run in runs):
        said.append("Forks are left out: their first epochs are their parent's.")
    return said
