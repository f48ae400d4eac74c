"""What came of some runs, in a sentence or two made of their findings."""

from collections.abc import Mapping, Sequence

from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import Finding, accuracy
from cnnviz.data.dataset import TITLES
from cnnviz.store.runs import Run
from cnnviz.wording import count


def headline(runs: Sequence[Run], findings: Mapping[str, Sequence[Finding]]) -> tuple[str, list[str]]:
    """The best run, "tanh, lr 0.01: 63.3 %", and sentences about all: "5 of 12 never left chance level"; findings: by
    run."""
    names, total = labels(runs), len(runs)
    best = max(runs, key=lambda run: run.best_accuracy, default=None)
    if best is None or best.best is None:
        return f"{count(total, 'network')}: no epoch yet", []
    epoch, value = best.best
    of = f"Best of {total} by test accuracy" if total > 1 else "Its best test accuracy"
    on = TITLES[best.config.dataset]
    words = [f"{of} on {on[0].lower() + on[1:] if best.config.dataset == 'synthetic' else on}, at epoch {epoch}"]
    for kind, (one, many) in _WORDS.items():
        found = [each for key in names for each in findings.get(key, ()) if _kind(each) == kind]
        if not found:
            continue
        since = min((each.epoch for each in found if each.epoch), default=0)
        who = f"{len(found)} of {total}" if total > 1 else "It"
        words.append(f"{who} {(one if len(found) == 1 else many).format(epoch=since)}")
    return f"{names[best.id]}: {accuracy(value)}", words


def _kind(finding: Finding) -> str:
    if finding.severity == "note" and finding.kind in ("chance_level", "below_chance"):
        return "early"
    return "never" if finding.title.startswith("Never left") else finding.kind


# By kind of finding: of one run, of several.
_WORDS = {
    "diverged": ("diverged at epoch {epoch}", "diverged"),
    "never": ("never left chance level", "never left chance level"),
    "chance_level": ("fell back to chance level", "fell back to chance level"),
    "below_chance": ("ended below chance level", "ended below chance level"),
    "early": ("has not left chance level yet", "have not left chance level yet"),
    "lr_too_high": ("has too high a learning rate", "have too high a learning rate"),
    "overfitting": ("overfits since epoch {epoch}", "overfit, the first since epoch {epoch}"),
    "underfitting": ("underfits", "underfit"),
    "still_improving": ("was still improving", "were still improving"),
}
