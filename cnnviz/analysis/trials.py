"""The trials that findings name: which exist already, and what they said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cnnviz.analysis.comparison import Repeats, common_epochs, stopped_before, verdict
from cnnviz.analysis.evidence import Finding, Trial, accuracy
from cnnviz.config import RunConfig
from cnnviz.errors import ConfigError
from cnnviz.store.runs import Run


@dataclass(frozen=True)
class Planned:
    """One run's trial."""

    run: Run  # of which something is found
    trial: Trial
    config: RunConfig  # what it trains, from the start; of one that goes on, with the epochs that it ends at
    made: Run | None  # the run that is this trial already, trains or waits; `run` itself if it goes on by itself

    @property
    def costs(self) -> RunConfig:
        """What is trained if it is launched, to estimate its time by."""
        return replace(self.config, epochs=self.trial.epochs or self.config.epochs)


def planned(members: Iterable[tuple[Run, Finding]], known: Sequence[Run]) -> list[Planned]:
    """The trials of these findings. known: all runs, among which one may be the trial already."""
    found = [_planned(run, finding.test, known) for run, finding in members if finding.test is not None]
    return [each for each in found if each is not None]


def others(run: Run, finding: Finding, known: Sequence[Run]) -> list[Planned]:
    """The other remedies that a finding names."""
    found = [_planned(run, trial, known) for trial in finding.more]
    return [each for each in found if each is not None]


def _planned(run: Run, trial: Trial, known: Sequence[Run]) -> Planned | None:
    try:
        config = trial.config(run.config)
    except ConfigError:  # cannot be trained with the run's other settings
        return None
    if trial.epochs:
        config = replace(config, epochs=max(run.epoch, 0) + trial.epochs)
    return Planned(run, trial, config, _made(config, run, known))


def _made(config: RunConfig, run: Run, known: Sequence[Run]) -> Run | None:
    """The run itself first, then what has come furthest."""
    alike = [
        other
        for other in known
        if replace(other.config, epochs=config.epochs) == config
        and (other.id == run.id or not other.parent)
        and (
            other.epoch >= config.epochs
            or other.stopped_early
            or (other.active and other.config.epochs >= config.epochs)
        )
    ]
    return max(alike, key=lambda other: (other.id == run.id, other.epoch), default=None)


def missing(trials: Iterable[Planned]) -> list[Planned]:
    """Those that are still to be trained, each once; a run that is training cannot go on yet."""
    found: dict[object, Planned] = {}
    for each in trials:
        if each.made is None and not (each.trial.epochs and each.run.active):
            found.setdefault(each.run.id if each.trial.epochs else each.config, each)
    return list(found.values())


def result(run: Run) -> str:
    """What came of a run, in a word or two: "61.2 %", "waits"."""
    if run.best:
        return accuracy(run.best[1]) + (f" so far, epoch {run.epoch}" if run.active else "")
    return "trains" if run.status == "RUNNING" else "waits" if run.active else "–"


def said(each: Planned) -> str:
    """What a trial that exists showed, against the run that it is a trial of."""
    if each.made is None:
        return ""
    if each.made.id == each.run.id:
        return f"It goes on by itself: epoch {max(each.run.epoch, 0)} of {each.run.config.epochs}."
    if each.trial.epochs:
        return _longer(each.run, each.made)
    epochs = common_epochs([each.run, each.made])
    found = verdict(Repeats((each.run,)), Repeats((each.made,)))
    before, after = (Repeats((run,)).best(epochs) for run in (each.run, each.made))
    if not before or not after:
        return "It has no epoch to compare yet."
    against = f"{accuracy(after[0])} against {accuracy(before[0])} within {epochs} epochs"
    if early := stopped_before([each.run, each.made], epochs):
        who = "it" if each.made in early else "this one"
        against += f" ({who} stopped early, at epoch {early[-1].epoch}: its best one counts)"
    points = f"{100 * abs(found.difference):.1f} points"
    if found.outcome == "undecided":
        return f"Hardly a difference: {against}, and {100 * found.margin:.1f} points may be noise."
    return f"{'Better' if found.difference > 0 else 'Worse'} by {points}: {against}."


def _longer(run: Run, longer: Run) -> str:
    if not run.best or not longer.best:
        return "It has no epoch to compare yet."
    gained = 100 * (longer.best_accuracy - run.best_accuracy)
    change = f"better by {gained:.1f} points" if gained >= 0.05 else "no better"
    return (
        f"Trained to epoch {longer.epoch} it was {change}: at best {accuracy(longer.best_accuracy)}, against "
        f"{accuracy(run.best_accuracy)} up to epoch {run.epoch}."
    )
