"""Several runs → what differs, which of them make a fair comparison, and whether a difference is more than noise.

Runs that differ only in their seed are repeats of one setting. Settings are compared by their mean best test accuracy
within the epochs that all of the compared runs have: a run that trained for longer had more chances. One that stopped
early has had its chances, and cuts no other short: it counts with its best epoch. Forks are left out: their first
epochs are their parent's.
"""

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from scipy.stats import norm, t

from cnnviz.analysis.evidence import TEST_PICTURES
from cnnviz.config import ALWAYS_NAMED, PARAMETERS, SETTINGS, RunConfig
from cnnviz.errors import ConfigError
from cnnviz.store.runs import Run
from cnnviz.wording import count

CONFIDENCE = 0.95  # two-sided, of a difference
_QUANTILE = (1 + CONFIDENCE) / 2
MOST_ORDERS = 120  # orders of changing parameters that are tried: all of them for up to five parameters


@dataclass(frozen=True)
class Repeats:
    """Runs of one setting, which differ in nothing but their seed."""

    runs: tuple[Run, ...]

    @property
    def config(self) -> RunConfig:
        return self.runs[0].config

    @property
    def seeds(self) -> frozenset[int]:
        return frozenset(run.config.seed for run in self.runs)

    @property
    def samples(self) -> tuple[Run, ...]:
        """One run for each seed, the longest: the same seed again is the same training again, not another sample."""
        longest = {run.config.seed: run for run in sorted(self.runs, key=lambda run: run.epoch)}
        return tuple(longest[seed] for seed in sorted(longest))

    @property
    def epochs(self) -> int:
        """Epochs within which its samples compare."""
        return common_epochs(self.samples)

    def best(self, epochs: int | None = None) -> list[float]:
        """Each sample's best test accuracy within that many epochs; by default, those that all of them have."""
        found = (best_within(run, self.epochs if epochs is None else epochs) for run in self.samples)
        return [value for value in found if value is not None]

    @property
    def mean(self) -> float:
        """Of the best test accuracies; NaN if there are none."""
        best = self.best()
        return statistics.fmean(best) if best else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation of the best test accuracies over the seeds; NaN for fewer than two."""
        best = self.best()
        return statistics.stdev(best) if len(best) > 1 else math.nan


@dataclass(frozen=True)
class Spread:
    """How far equal settings lie apart, by seeds alone."""

    deviation: float  # standard deviation of a run's best test accuracy
    freedom: int  # degrees of freedom it was estimated with
    seeds: int  # runs it was estimated from
    settings: int  # settings that these runs repeat


@dataclass(frozen=True)
class Verdict:
    """Whether a difference in best test accuracy is more than noise."""

    outcome: Literal["decided", "tentative", "undecided"]  # tentative: beyond the test set's noise, but not repeated
    difference: float  # second less first, as a share
    margin: float  # what it must exceed
    sentence: str


@dataclass(frozen=True)
class Pair:
    """A controlled comparison: two settings that differ in one parameter and in nothing else."""

    parameter: str
    first: Repeats
    second: Repeats
    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Confounded:
    """Two runs that differ in several parameters at once."""

    first: Run
    second: Run
    parameters: tuple[str, ...]
    between: tuple[Run, ...]  # runs that lead from one to the other, changing one parameter a step
    missing: tuple[RunConfig, ...]  # the steps in between that are still to be trained
    sentence: str


# -- what differs ----------------------------------------------------------------------------------


def differing(runs: Sequence[Run]) -> list[str]:
    """The parameters in which these runs differ."""
    return _differing([run.config for run in runs])


def _differing(configs: Sequence[RunConfig]) -> list[str]:
    return [name for name in PARAMETERS if len({getattr(config, name) for config in configs}) > 1]


def described(configs: Sequence[RunConfig]) -> list[str]:
    """Each by what distinguishes it from the others, defaults left out: "conv5, lr 0.01, 1000 images"; with them where
    that is not enough; by its name if nothing differs."""
    names = _differing(configs)
    short = [_short(config, names) for config in configs]
    if all(short) and len(set(short)) == len(configs):
        return short
    return [_words(config, names) or config.name for config in configs]


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Run id → the shortest text that distinguishes the run from the others: "tanh, lr 0.01"."""
    texts = dict(zip((run.id for run in runs), described([run.config for run in runs]), strict=True))
    twice = {text for text in texts.values() if sum(text == other for other in texts.values()) > 1}
    return {run_id: f"{text} · {run_id[:8]}" if text in twice else text for run_id, text in texts.items()}


def _short(config: RunConfig, names: Sequence[str]) -> str:
    values = {name: getattr(config, name) for name in names}
    always = (*ALWAYS_NAMED, "seed")  # "lr 0.1" beside "lr 0.1, seed 1" would seem to be both
    said = {name: value for name, value in values.items() if name in always or value != config.default(name)}
    return ", ".join(setting(name, value) for name, value in said.items())


def differences(runs: Sequence[Run]) -> pd.DataFrame:
    """The parameter table: one row for each parameter, and one for the epochs trained; those that differ come first.

    Columns: parameter, differs, and one for each run, named by its label. Values are text: a column holds one type.
    """
    names, titles = differing(runs), labels(runs)
    rows: list[dict[str, Any]] = [
        {"parameter": name, "differs": name in names}
        | {titles[run.id]: _value(name, getattr(run.config, name)) for run in runs}
        for name in [*names, *(name for name in PARAMETERS if name not in names)]
    ]
    trained = {titles[run.id]: str(max(run.epoch, 0)) for run in runs}
    rows.append({"parameter": "epochs trained", "differs": len(set(trained.values())) > 1} | trained)
    frame = pd.DataFrame(rows, columns=["parameter", "differs", *titles.values()])
    return frame.sort_values("differs", ascending=False, kind="stable", ignore_index=True)


def text(value: object) -> str:
    """A parameter's value as tables and legends write it."""
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def _value(name: str, value: object) -> str:
    return "all" if name == "limit_train" and not value else text(value)


def words(name: str, value: object) -> str:
    """A parameter with its value; its value alone where that speaks for itself."""
    if name == "limit_train":
        return setting(name, value)
    return text(value) if SETTINGS[name].plain else f"{noun(name)} {text(value)}"


def several(name: str, values: Sequence[object]) -> str:
    """ "lr 0.1, 0.01, 0.001", "sigmoid, tanh"."""
    first, *rest = values
    return ", ".join([words(name, first), *map(text, rest)])


def noun(name: str) -> str:
    """A parameter in a sentence: "lr", "weight decay"."""
    return "training images" if name == "limit_train" else name.replace("_", " ")


def setting(name: str, value: object) -> str:
    """The same as a run's name has it: "lr 0.01", "tanh", "1000 images"."""
    return "all images" if name == "limit_train" and not value else SETTINGS[name].named.format(text(value))


def _words(config: RunConfig, names: Sequence[str]) -> str:
    return ", ".join(words(name, getattr(config, name)) for name in names)


# -- repeats and verdicts --------------------------------------------------------------------------


def best_within(run: Run, epochs: int) -> float | None:
    """The test accuracy at the run's own best epoch up to that one, untrained or inherited weights excluded; None if
    there is none."""
    found = run.best_within(epochs)
    return found[1] if found else None


def common_epochs(runs: Sequence[Run]) -> int:
    """Within which these runs compare: those that all have that did not stop early; all epochs if every one did."""
    going = [run.epoch for run in runs if not run.stopped_early]
    return min(going) if going else max((run.epoch for run in runs), default=0)


def stopped_before(runs: Sequence[Run], epochs: int) -> list[Run]:
    """Those that count with their best epoch although they have not so many."""
    return [run for run in runs if run.stopped_early and run.epoch < epochs]


def whole(runs: Sequence[Run]) -> list[Run]:
    """The runs that were trained from the start: no forks."""
    return [run for run in runs if not run.parent]


def repeats(runs: Sequence[Run]) -> list[Repeats]:
    """The runs by setting, in the order given; forks are no repeats and left out."""
    settings: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in whole(runs):
        settings[_key(run.config, "seed")].append(run)
    return [Repeats(tuple(found)) for found in settings.values()]


def _key(config: RunConfig, *without: str) -> tuple[object, ...]:
    return tuple(getattr(config, name) for name in PARAMETERS if name not in without)


def seed_spread(runs: Sequence[Run]) -> Spread | None:
    """The spread over seeds, pooled over all settings that were repeated; None if none was."""
    repeated = [group for group in repeats(runs) if len(group.best()) > 1]
    freedom = sum(len(group.best()) - 1 for group in repeated)
    if not freedom:
        return None
    squares = sum((len(group.best()) - 1) * group.spread**2 for group in repeated)
    return Spread(math.sqrt(squares / freedom), freedom, sum(len(group.best()) for group in repeated), len(repeated))


def verdict(first: Repeats, second: Repeats, spread: Spread | None = None) -> Verdict:
    """Whether the second setting's best test accuracy differs from the first's by more than noise.

    The margin is that of a t-test on the spread over seeds, if it is known (seed_spread of the runs at hand), and never
    less than the binomial noise of the 10,000 test pictures. Both settings are tested on the same pictures, which makes
    that floor a cautious one.
    """
    epochs = common_epochs([*first.samples, *second.samples])
    a, b = first.best(epochs), second.best(epochs)
    if not a or not b:
        return Verdict("undecided", math.nan, math.nan, "Undecided: one of them has no trained epoch yet.")
    difference = statistics.fmean(b) - statistics.fmean(a)
    share = statistics.fmean([*a, *b])
    floor = float(norm.ppf(_QUANTILE)) * math.sqrt(share * (1 - share) / TEST_PICTURES * (1 / len(a) + 1 / len(b)))
    n = f"n = {len(a)} against {len(b)}" if len(a) != len(b) else f"n = {len(a)} each"
    test_noise = f"the noise of {TEST_PICTURES:,} test pictures, {_points(floor)}"
    what = f"{_points(abs(difference))} ({n})"
    if spread is None:
        if abs(difference) <= floor:
            return Verdict("undecided", difference, floor, f"Undecided: {what} is within {test_noise}.")
        sentence = (
            f"{what} is more than {test_noise}. Whether another seed would agree is unknown: no setting was repeated."
        )
        return Verdict("tentative", difference, floor, sentence)
    seeds = float(t.ppf(_QUANTILE, spread.freedom)) * spread.deviation * math.sqrt(1 / len(a) + 1 / len(b))
    margin = max(seeds, floor)
    source = f"{spread.seeds} runs of {count(spread.settings, 'setting')}"
    known = f"seeds vary by {_points(spread.deviation)} (standard deviation, {source})"
    by = f"{known}: the margin is {_points(margin)} at 95 %" if seeds >= floor else f"the margin is {test_noise}"
    if abs(difference) <= margin:
        return Verdict("undecided", difference, margin, f"Undecided: {what} is within the margin; {by}.")
    return Verdict("decided", difference, margin, f"{what} is more than noise; {by}.")


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


# -- fair and unfair comparisons -------------------------------------------------------------------


def controlled_pairs(runs: Sequence[Run]) -> list[Pair]:
    """All pairs of settings that differ in exactly one parameter, by parameter, the largest difference first.

    Repeats are one setting. Two settings need a seed in common, or repeats of both: else they differ in the seed too.
    """
    spread, groups = seed_spread(runs), [group for group in repeats(runs) if group.best()]
    pairs: list[Pair] = []
    for name in PARAMETERS:
        alike: dict[tuple[object, ...], list[Repeats]] = defaultdict(list)
        for group in groups:
            alike[_key(group.config, name, "seed")].append(group)
        for rivals in alike.values() if name != "seed" else ():
            rivals.sort(key=lambda group: getattr(group.config, name))
            found = (_pair(name, a, b, spread) for a, b in itertools.combinations(rivals, 2) if _share_seeds(a, b))
            pairs += sorted(found, key=lambda pair: -abs(pair.verdict.difference))
    return pairs


def _share_seeds(first: Repeats, second: Repeats) -> bool:
    return bool(first.seeds & second.seeds) or min(len(first.seeds), len(second.seeds)) > 1


def _pair(name: str, first: Repeats, second: Repeats, spread: Spread | None) -> Pair:
    samples = [*first.samples, *second.samples]
    found, epochs = verdict(first, second, spread), common_epochs(samples)
    values = [text(getattr(group.config, name)) for group in (first, second)]
    means = [statistics.fmean(group.best(epochs)) for group in (first, second)]
    rest = _words(first.config, [each for each in ("model", "activation", "loss", "lr") if each != name])
    if stopped_before(samples, epochs):
        unequal = f", to epoch {epochs} or stopped early before"
    else:
        unequal = f", both to epoch {epochs}" if first.epochs != second.epochs else ""
    sentence = (
        f"{noun(name)} {values[0]} → {values[1]} ({rest}{unequal}): best test accuracy "
        f"{100 * means[0]:.1f} → {100 * means[1]:.1f} %. {found.sentence}"
    )
    return Pair(name, first, second, found, sentence)


def confounded(first: Run, second: Run, known: Sequence[Run] = ()) -> Confounded | None:
    """The parameters whose effects these two runs confound, and the runs that would separate them.

    None if they differ in at most one. Changing one parameter a step from the first to the second makes a chain of
    controlled pairs; of all orders of the steps, the one is taken of which most runs are known.
    """
    names = differing([first, second])
    if len(names) < 2:
        return None
    trained = {_key(run.config): run for run in (*known, second, first) if run.epoch > 0}
    orders = list(itertools.islice(itertools.permutations(names), MOST_ORDERS))
    ways = [way for way in (_way(first.config, second.config, order) for order in orders) if way is not None]
    way = max(ways, key=lambda way: sum(_key(config) in trained for config in way)) if ways else ()
    between = tuple(trained[_key(config)] for config in way if _key(config) in trained)
    epochs = max(1, min(first.epoch, second.epoch))
    missing = tuple(replace(config, epochs=epochs) for config in way if _key(config) not in trained)
    return Confounded(
        first, second, tuple(names), between, missing, _confession(first, second, names, between, missing)
    )


def _way(first: RunConfig, second: RunConfig, order: Sequence[str]) -> tuple[RunConfig, ...] | None:
    """The settings between the two, in that order of changes; None if one of them cannot be trained."""
    way, config = [], first
    try:
        for name in order[:-1]:
            config = replace(config, **{name: getattr(second, name)})
            way.append(config)
    except ConfigError:
        return None
    return tuple(way)


def _confession(
    first: Run,
    second: Run,
    names: Sequence[str],
    between: Sequence[Run],
    missing: Sequence[RunConfig],
) -> str:
    epochs = common_epochs([first, second])
    bests = [best_within(run, epochs) for run in (first, second)]
    listed = ", ".join(noun(name) for name in names[:-1]) + f" and {noun(names[-1])}"
    sides = f"{_words(first.config, names)} and {_words(second.config, names)}"
    gap = "" if None in bests else f" The {_points(abs(bests[1] - bests[0]))} between the two"  # type: ignore[operator]
    words = [f"Confounded: {sides} differ in {listed} at once.{gap or ' The difference'} may come from any of these."]
    if first.epoch != second.epoch:
        words.append(f"They were also trained for {first.epoch} and {second.epoch} epochs.")
    if missing:
        words.append(f"To separate them, train {_listed([_words(config, names) for config in missing])}.")
    if between:
        words.append(f"In between: {_listed([_words(run.config, names) for run in between])}; compare step by step.")
    return " ".join(words)


def _listed(words: Sequence[str]) -> str:
    return "; ".join(f"({word})" for word in words)


def uncontrolled(runs: Sequence[Run]) -> list[Confounded]:
    """For each differing parameter that no controlled pair isolates, the two runs that come closest to it.

    Empty: the effect of every parameter that differs among these runs can be separated. Forks are left out.
    """
    runs = whole(runs)
    isolated = {pair.parameter for pair in controlled_pairs(runs)} | {"seed"}
    found: dict[tuple[str, str], Confounded] = {}
    for name in (name for name in differing(runs) if name not in isolated):
        unlike = (
            pair for pair in itertools.combinations(runs, 2) if len({getattr(run.config, name) for run in pair}) == 2
        )
        first, second = min(unlike, key=lambda pair: len(differing(pair)))
        case = confounded(first, second, runs)
        if case is not None:
            found.setdefault((first.id, second.id), case)
    return list(found.values())
