"""Recorded histories → the lines of a chart: forks joined to their parents, repeats as one line, ends and marks.

A frame of lines is tidy: one row for each line, split and epoch, with columns

    run_id split epoch x value   value in the measure's unit, x on the chosen axis
    best                         epoch, of a run with a validation set; NaN of others, and of means
    low high repeats             of the mean of several seeds; of a single run low = high = value and repeats = 1
    name parent and parameters   of the run; parent: the id of the run it was forked from, or ""
"""

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnviz.analysis.comparison import differing
from cnnviz.config import PARAMETERS, RunConfig
from cnnviz.store.runs import Run

SPLITS = ("train", "validation", "test")
_PREFIXES = {"train": "train", "validation": "val", "test": "test"}  # of their metrics


@dataclass(frozen=True)
class Measure:
    metric: str  # without its split
    title: str  # of the axis
    factor: float  # from the stored figure to the axis' unit
    less_is_better: bool
    least_span: float = 0.0  # of the axis: on a shorter one, noise would look like learning
    bounded: bool = True  # else single runs that explode may be cut off
    by_split: bool = True  # else it is no figure of pictures: one line, none of its points the best


MEASURES = {
    "Loss": Measure("loss", "loss (mean over pictures)", 1.0, True, bounded=False),
    "Error": Measure("accuracy", "error (%)", 100.0, True, 5.0),
    "Accuracy": Measure("accuracy", "accuracy (%)", 100.0, False, 5.0),
    "Learning rate": Measure("learning_rate", "learning rate (mean over the epoch)", 1.0, True, by_split=False),
}
_PARAMS = ("name", "parent", *PARAMETERS)
AXES = {"Epochs": "epoch", "Seconds": "training time (s)", "Images": "pictures seen (millions)"}


def metrics(measure: str) -> list[str]:
    """The stored metrics that lines() needs."""
    return [*_splits(measure), "epoch_seconds"]


def _splits(measure: str) -> dict[str, str]:
    """Its stored metrics, and the split that each is of. One without splits is drawn as the test line is."""
    its = MEASURES[measure]
    return {f"{_PREFIXES[split]}_{its.metric}": split for split in SPLITS} if its.by_split else {its.metric: "test"}


def splits(runs: Iterable[Run], measure: str = "Loss") -> tuple[str, ...]:
    """Those that these runs have lines of."""
    if not MEASURES[measure].by_split:
        return ("test",)
    return (
        SPLITS if any(run.config.validation for run in runs) else tuple(each for each in SPLITS if each != "validation")
    )


def params(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: run_id, name, parent and every parameter."""
    rows = [{"run_id": run.id, "name": run.name, "parent": run.parent} | vars(run.config) for run in runs]
    return pd.DataFrame(rows, columns=["run_id", *_PARAMS])


def default_grouping(runs: Sequence[Run]) -> tuple[list[str], str]:
    """Facets and colour that suit what differs: activation and loss side by side, the learning rate in colour."""
    names = [name for name in differing(runs) if name != "seed"]
    facets: list[str] = [name for name in ("activation", "loss") if name in names]
    rest = [name for name in names if name not in facets]
    if "model" in names and len({run.config.model for run in runs}) == len(runs):
        return [], "model"  # one run each: nothing else could tell them apart
    if not rest and facets:
        return facets[:-1], facets[-1]
    return facets, "lr" if "lr" in rest or not rest else rest[0]


def ancestors(runs: Sequence[Run], every: Mapping[str, Run]) -> list[Run]:
    """The runs that these were forked from, their parents and so on; none of the given runs is repeated."""
    found: dict[str, Run] = {}
    for run in runs:
        while run.parent in every and run.parent not in found:
            run = every[run.parent]
            found[run.id] = run
    return [run for run in found.values() if run not in runs]


def lines(
    history: pd.DataFrame,
    runs: Sequence[Run],
    every: Mapping[str, Run],
    measure: str = "Loss",
    axis: str = "Epochs",
    joined: bool = True,
) -> pd.DataFrame:
    """The lines of these runs.

    history: columns run_id, metric, epoch, value, of the runs and of their ancestors(); every: all runs by id.
    joined: a fork's line begins with its parent's (not its loss, if the fork trains on another); else it is shifted to
    begin at 0.
    """
    wide = history.set_index(["run_id", "epoch", "metric"]).value.unstack("metric")
    wide = wide.reindex(columns=metrics(measure)).reset_index().sort_values(["run_id", "epoch"])
    parts = {str(run_id): part for run_id, part in wide.groupby("run_id")}
    pieces = [_line(run, parts, every, measure, joined).assign(run_id=run.id) for run in runs if run.id in parts]
    if not pieces:
        return pd.DataFrame(
            columns=["run_id", "split", "epoch", "x", "value", "best", "low", "high", "repeats", *_PARAMS]
        )
    chosen, by_metric = MEASURES[measure], _splits(measure)
    frame = pd.concat(pieces).melt(["run_id", "epoch", "begin", "seconds", "images"], list(by_metric), "split")
    frame["split"] = frame.split.map(by_metric)
    half = {run.id for run in runs if run.half_since is not None}  # whose train line has no point yet
    frame = frame[(frame.split != "train") | ~frame.run_id.isin(half)]
    held_out = {run.id for run in runs if run.config.validation}
    frame = frame[(frame.split != "validation") | frame.run_id.isin(held_out)]
    if measure == "Learning rate":  # of a schedule it is recorded; an untrained network has none
        frame = frame[frame.epoch > 0]
        constant = {run.id: run.config.lr for run in runs if run.config.has_constant_rate}
        frame = frame.assign(value=frame.value.fillna(frame.run_id.map(constant)))
    frame["value"] = (1 - frame.value if measure == "Error" else frame.value) * chosen.factor
    frame["x"] = {
        "Epochs": frame.epoch - frame.begin,
        "Seconds": frame.seconds,
        "Images": frame.images / 1e6,
    }[axis].astype(float)
    best_epochs = {run.id: run.best[0] for run in runs if run.is_validated and run.best}
    frame["best"] = frame.run_id.map(best_epochs).astype(float)
    frame = frame.drop(columns=["begin", "seconds", "images"]).assign(low=frame.value, high=frame.value, repeats=1)
    return frame.merge(params(runs), on="run_id").sort_values(["run_id", "split", "epoch"]).reset_index(drop=True)


def _line(
    run: Run, parts: Mapping[str, pd.DataFrame], every: Mapping[str, Run], measure: str, joined: bool
) -> pd.DataFrame:
    """One run, a row for each epoch, with its training time and pictures so far; begin: the epoch drawn at 0."""
    own = parts.get(run.id, next(iter(parts.values())).iloc[:0])
    own = own.assign(
        begin=0 if joined else run.first_epoch,
        seconds=own.epoch_seconds.fillna(0).cumsum(),
        images=(own.epoch - run.first_epoch) * run.config.train_size,
    )
    parent = every.get(run.parent) if joined else None
    if parent is None:
        return own
    before = _line(parent, parts, every, measure, joined)
    before = before[before.epoch <= run.first_epoch]
    if before.empty:
        return own
    own = own.assign(seconds=own.seconds + before.seconds.iloc[-1], images=own.images + before.images.iloc[-1])
    if MEASURES[measure].metric == "loss" and parent.config.loss != run.config.loss:
        return own
    return pd.concat([before[before.epoch < run.first_epoch], own])


def collapse(frame: pd.DataFrame, by: Collection[str] = ()) -> pd.DataFrame:
    """Runs that differ in nothing but their seed as one line: their mean, with the lowest and highest of them.

    Each seed counts once, by the run that got furthest: the same seed again is the same training again. Such a
    duplicate stays a line of its own, and so does a fork, whose first epochs are its parent's. A mean goes as far as
    all of its members do; its run_id is the first of theirs, repeats the number of seeds.

    by: the parameters that distinguish lines on screen; with the seed among them nothing is collapsed.
    """
    if frame.empty or "seed" in by:
        return frame
    alike = [name for name in PARAMETERS if name != "seed"]
    last = frame.sort_values("epoch").groupby("run_id").tail(1)
    own = last[last.parent == ""].sort_values(["epoch", "run_id"], ascending=[False, True])
    members = own.drop_duplicates(list(PARAMETERS)).set_index("run_id", drop=False)
    settings = members.groupby(alike, dropna=False).run_id
    first, seeds = settings.transform("min"), settings.transform("size")
    single = ~frame.run_id.isin(seeds.index[seeds > 1])
    if single.all():
        return frame
    several = frame[~single]
    several = several.assign(repeats=several.run_id.map(seeds), run_id=several.run_id.map(first))
    mean = several.groupby(["run_id", "split", "epoch"], as_index=False).agg(
        x=("x", "mean"),
        value=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        repeats=("repeats", "first"),
        present=("value", "size"),
        **{name: (name, "first") for name in ("parent", *PARAMETERS)},
    )
    mean = mean[mean.present == mean.repeats].drop(columns="present")
    names = {run_id: RunConfig(**members.loc[run_id, alike]).name for run_id in mean.run_id.unique()}
    mean["name"] = mean.run_id.map(names) + ", mean of " + mean.repeats.astype(str) + " seeds"
    return pd.concat([frame[single], mean]).sort_values(["run_id", "split", "epoch"]).reset_index(drop=True)


def smoothed(frame: pd.DataFrame, window: int) -> pd.DataFrame:
    """The frame with each value replaced by the mean of the `window` epochs around it; values not finite left out."""
    finite = frame[is_finite(frame.value)]
    rolled = finite.groupby(["run_id", "split"]).value.rolling(window, center=True, min_periods=1).mean()
    return finite.assign(value=rolled.reset_index([0, 1], drop=True))


def best(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Each line's test point at its best epoch after its training began, and as "judged" the value it was chosen by.

    A run with a validation set knows its best epoch; a mean of such runs is judged by its validation line, others by
    their test line.
    """
    its = MEASURES[measure]
    trained = frame[(frame.epoch > 0) & is_finite(frame.value)]
    tested, held_out = (trained[trained.split == split] for split in ("test", "validation"))
    if not its.by_split:
        return tested.iloc[:0].assign(judged=math.nan)
    judged = pd.concat([held_out, tested[~tested.run_id.isin(held_out.run_id)]])
    judged = judged[(judged.epoch == judged.best) | judged.best.isna()]
    by_run = judged.groupby("run_id").value
    chosen = judged.loc[by_run.idxmin() if its.less_is_better else by_run.idxmax(), ["run_id", "epoch", "value"]]
    chosen = chosen.rename(columns={"value": "judged"})
    return tested.reset_index().merge(chosen, on=["run_id", "epoch"]).set_index("index")


def deaths(frame: pd.DataFrame) -> pd.DataFrame:
    """The last finite point of each line that is not finite after it."""
    ordered = frame.assign(finite=is_finite(frame.value)).sort_values("epoch").groupby(["run_id", "split"])
    last, last_finite = ordered.tail(1), frame[is_finite(frame.value)].sort_values("epoch").groupby(["run_id", "split"])
    dead = last[~last.finite].set_index(["run_id", "split"]).index
    ends = last_finite.tail(1)
    return ends[pd.MultiIndex.from_frame(ends[["run_id", "split"]]).isin(dead)]


def segment_starts(frame: pd.DataFrame, runs: Sequence[Run]) -> pd.DataFrame:
    """The test points at which a further segment of training began: a run was continued, or left its parent."""
    starts = {(run.id, part.start_epoch) for run in runs for part in run.segments if part.start_epoch}
    starts |= {(run.id, run.first_epoch) for run in runs if run.parent}
    tested = frame[(frame.split == "test") & is_finite(frame.value)]
    return tested[[pair in starts for pair in zip(tested.run_id, tested.epoch, strict=True)]]


def point(frame: pd.DataFrame, run_id: str, epoch: int, splits: Collection[str] = SPLITS) -> pd.DataFrame:
    """The run's row of that epoch, the test one if it is among the splits; no row if it is not finite."""
    rows = frame[(frame.run_id == run_id) & (frame.epoch == epoch) & frame.split.isin(splits)]
    return rows[is_finite(rows.value)].sort_values("split").head(1)


def in_order(values: Iterable[Hashable]) -> list[Any]:
    """Values of a parameter as a legend lists them: numbers from the largest down, then words."""
    several = set(values)
    numbers = [each for each in several if isinstance(each, int | float)]
    return [*sorted(numbers, reverse=True), *sorted((each for each in several if each not in numbers), key=str)]


def is_finite(values: pd.Series) -> pd.Series:
    return values.abs() < math.inf
