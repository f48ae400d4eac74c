"""Many runs → a table that is read at a glance: the best first, a column for what differs, what is shared said once."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cnnviz.analysis.comparison import differing, text, words
from cnnviz.config import ALWAYS_NAMED, PARAMETERS, SETTINGS
from cnnviz.store.runs import Run, figure_to_rank

DATA_SETS = {"cifar10": "CIFAR-10", "synthetic": "synthetic shapes"}
STATUS = {
    "SCHEDULED": "waiting",
    "RUNNING": "training",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped",
}
SHARED = ("model", "activation", "loss", "lr", "optimizer", "batch_size", "dataset")  # said of all runs in any case
EVERYTHING = (0, 100)  # percent of test accuracy

_FIGURES: dict[str, Callable[[Run], Any]] = {  # what a table may be sorted by, beside the parameters
    "best": lambda run: run.best[1] if run.best else None,
    "@ epoch": lambda run: run.best[0] if run.best else None,
    "last": lambda run: run.accuracy[-1] if run.accuracy else None,
    "epochs": lambda run: run.epoch if run.epoch >= 0 else None,
    "time": lambda run: run.seconds or None,
    "started": lambda run: run.created,
    "status": lambda run: status(run),
    "name": lambda run: own_name(run) or None,
    "run": lambda run: run.id,
    "note": lambda run: note(run) or None,
}
ORDERS = (*_FIGURES, *PARAMETERS)
DESCENDING = ("best", "last", "epochs", "time", "started")  # the largest first, unless asked otherwise


def columns(runs: Sequence[Run]) -> list[str]:
    """The parameters in which these runs differ; not the pooling, if each has its model's own."""
    return [name for name in differing(runs) if name != "pooling" or not all(_is_default(run, name) for run in runs)]


def heading(name: str) -> str:
    """A parameter's name above a column: "lr", "batch"."""
    its = SETTINGS[name]
    return its.heading or its.named.replace("{}", "").strip() or its.title.lower()


def value(run: Run, name: str) -> str:
    """A parameter of the run as the table says it."""
    found = getattr(run.config, name)
    if name == "dataset":
        return DATA_SETS.get(found, found)
    return "all" if name == "limit_train" and not found else text(found)


def shared(runs: Sequence[Run]) -> str:
    """What all of them have in common: "lenet5x5, sgd, batch 10, CIFAR-10"; parameters at their default left out."""
    if not runs:
        return ""
    alike = [name for name in PARAMETERS if name not in differing(runs)]
    return ", ".join(_words(runs[0], name) for name in alike if name in SHARED or not _is_default(runs[0], name))


def label(run: Run, names: Sequence[str]) -> str:
    """The run by what differs: "tanh, lr 0.01 · 3fa2c1"."""
    parts = [own_name(run)] if own_name(run) else []
    parts += [_words(run, name) for name in names]
    return f"{', '.join(parts) or run.name} · {run.id[:8]}"


def own_name(run: Run) -> str:
    """What a run is called beyond its parameters: "fork of 3fa2c1 at 5", or the name that somebody gave it."""
    return run.name.removeprefix(run.config.name).strip().removeprefix("(").removesuffix(")")


def status(run: Run) -> str:
    words = "stopping" if run.stopping else "stopped early" if run.stopped_early else STATUS[run.status]
    return f"{words} on {run.elsewhere}" if run.active and run.elsewhere else words


def early(run: Run) -> str:
    """ "Stopped early after epoch 14; best epoch 9"; "" if it did not."""
    return f"Stopped early after epoch {run.epoch}; best epoch {run.best[0]}" if run.stopped_early and run.best else ""


def note(run: Run) -> str:
    """What there is to say of a run beside its figures."""
    return "; ".join(each for each in (early(run), run.message) if each)


def place(run: Run) -> str:
    """ "Trains on lab-3"; "" of a run that this machine trains, or that is over."""
    if not (run.active and run.elsewhere):
        return ""
    return f"{'Trains' if run.status == 'RUNNING' else 'Waits'} on {run.elsewhere}"


def judge(runs: Sequence[Run]) -> str:
    """The pictures that these runs are ranked by, as figure_to_rank has it."""
    trained = [run for run in runs if run.best]
    return "validation" if trained and all(run.is_validated for run in trained) else "test"


def chosen_by(runs: Sequence[Run]) -> str:
    """Of what the best epochs of these runs are the best, in plain words."""
    validated = sum(run.is_validated for run in runs if run.best)
    if not validated:
        return "chosen on the test set: no validation images were held out"
    if validated < sum(run.best is not None for run in runs):
        return "chosen by validation loss where images were held out, else on the test set"
    return "chosen by validation loss"


def ordered(runs: Sequence[Run], by: str = "best", reverse: bool = False) -> list[Run]:
    """Sorted, runs that lack the figure last in either direction; equals by their best test accuracy, then by age.

    reverse: against the order that comes naturally, which begins with the largest accuracy and the smallest rate.
    """
    rank = figure_to_rank(runs)
    figure = _FIGURES.get(by) or (lambda run: getattr(run.config, by))
    if by == "best":
        figure = lambda run: rank(run) if run.best else None  # noqa: E731
    aged = sorted(runs, key=lambda run: (run.created, run.id))
    aged.sort(key=lambda run: -rank(run))
    known = [run for run in aged if not _missing(figure(run))]
    known.sort(key=figure, reverse=(by in DESCENDING) != reverse)
    return known + [run for run in aged if _missing(figure(run))]


def best(runs: Sequence[Run]) -> set[str]:
    """Ids of the best run on each data set: figures on different data do not compare."""
    tops: dict[str, Run] = {}
    for run in ordered([run for run in runs if run.best]):
        tops.setdefault(run.config.dataset, run)
    return {run.id for run in tops.values()}


def chosen(
    runs: Sequence[Run],
    search: str = "",
    values: Mapping[str, Collection[str]] | None = None,
    accuracy: tuple[int, int] = EVERYTHING,
) -> list[Run]:
    """Those that pass.

    search: every word of it is in the run's name, id, parameters, status or note; values: parameter, or "status" → the
    values that pass, none for all; accuracy: lowest and highest percent of the best test accuracy.
    """
    wanted = search.lower().split()
    return [
        run
        for run in runs
        if all(value_of(run, name) in some for name, some in (values or {}).items() if some)
        and (accuracy == EVERYTHING or (run.best is not None and accuracy[0] <= 100 * run.best[1] <= accuracy[1]))
        and (not wanted or all(word in _searched(run) for word in wanted))
    ]


def value_of(run: Run, name: str) -> str:
    """A parameter's value, or the status."""
    return status(run) if name == "status" else value(run, name)


def values(runs: Sequence[Run], name: str) -> list[str]:
    """All values of a parameter, or of "status", in their own order."""
    if name == "status":
        found = {status(run) for run in runs}
        return [each for each in (*STATUS.values(), "stopping") if each in found]
    by_value = {getattr(run.config, name): value(run, name) for run in runs}
    return [by_value[each] for each in sorted(by_value)]


def _searched(run: Run) -> str:
    parameters = " ".join(f"{heading(name)} {value(run, name)}" for name in PARAMETERS)
    return f"{run.name} {run.id} {parameters} {status(run)} {run.message}".lower()


def _words(run: Run, name: str) -> str:
    if name == "dataset":
        return value(run, name)
    return SETTINGS[name].named.format(value(run, name)) if name in SHARED else words(name, getattr(run.config, name))


def _is_default(run: Run, name: str) -> bool:
    return name not in ALWAYS_NAMED and getattr(run.config, name) == run.config.default(name)


def _missing(figure: Any) -> bool:
    return figure is None or (isinstance(figure, float) and math.isnan(figure))
