"""What came of some runs, in a sentence or two made of their findings."""

from collections.abc import Mapping, Sequence

from cnnviz.analysis import groups, leaderboard
from cnnviz.analysis.comparison import labels, setting, text
from cnnviz.analysis.evidence import Finding, accuracy
from cnnviz.config import PARAMETERS
from cnnviz.data.dataset import TITLES
from cnnviz.store.runs import Run, figure_to_rank
from cnnviz.wording import count

_FIRST = ("model", "activation", "lr")  # of a run that stands alone
_SAID = (*_FIRST, "loss", "dataset")


def headline(runs: Sequence[Run], findings: Mapping[str, Sequence[Finding]]) -> tuple[str, list[str]]:
    """The best run, "tanh, lr 0.01: 63.3 %", and sentences about all: "5 of 12 never left chance level"; findings: by
    run."""
    names, total = labels(runs), len(runs)
    best = max(runs, key=figure_to_rank(runs), default=None)
    if best is None or best.best is None:
        return f"{count(total, 'network')}: no epoch yet", []
    epoch, value = best.best
    title, rest = (names[best.id], "") if total > 1 else _alone(best)
    of = f"Best of {total} by {leaderboard.judge(runs)} accuracy" if total > 1 else "Its test accuracy"
    on = TITLES[best.config.dataset]
    on = on[0].lower() + on[1:] if best.config.dataset == "synthetic" else on
    words = [f"{of} on {on}, at epoch {epoch}, {leaderboard.chosen_by(runs)}"]
    if rest:
        words.append(f"Settings: {rest}")
    if early := [run for run in runs if run.stopped_early]:
        words.append(leaderboard.early(early[0]) if total == 1 else f"{len(early)} of {total} stopped early")
    for which in groups.HEADLINE:
        found = [each for key in names for each in findings.get(key, ()) if groups.outcome(each) == which]
        if found:
            who = f"{len(found)} of {total}" if total > 1 else "It"
            words.append(f"{who} {groups.phrase(which, found)}")
    return f"{title}: {accuracy(value)}", words


def _alone(run: Run) -> tuple[str, str]:
    """What a single run is called, "lenet5x5, tanh, lr 0.01", and its other settings: "cross entropy, momentum 0.9"."""
    config, own = run.config, leaderboard.own_name(run)
    first = [setting(name, vars(config)[name]) for name in _FIRST]
    changed = [name for name in PARAMETERS if vars(config)[name] != config.default(name) and name not in _SAID]
    rest = [text(config.loss), *(setting(name, vars(config)[name]) for name in changed)]
    if not run.name.startswith(config.name):
        return run.name, ", ".join([*first, *rest])
    return ", ".join(first) + (f" ({own})" if own else ""), ", ".join(rest)
