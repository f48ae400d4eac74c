"""What was expected of runs before they began, beside what came of them. Nothing but recorded figures decides."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import Finding, accuracy
from cnnviz.config import RunConfig
from cnnviz.store.runs import Prediction, Run, figure_to_rank
from cnnviz.wording import count

FAILED_TO_LEARN = ("chance_level", "below_chance", "diverged")  # kinds of findings, of runs that have ended


@dataclass(frozen=True)
class Verdict:
    question: str
    said: str
    came: str
    right: bool | None  # None: neither, the figures differ by so much as `came` says


def predictions(
    configs: Sequence[RunConfig], at: float, best: int | None, stalled: Collection[int], overfits: int | None
) -> list[Prediction]:
    """For each configuration what was said of it: which will be best, which will not learn (by their places), and from
    which epoch on the best one overfits (0: never; None: not said). at: seconds since 1970."""
    return [
        Prediction(at, learns=place not in stalled, best=place == best, overfits=overfits)
        for place in range(len(configs))
    ]


def answered(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs about which something was predicted, launch by launch, what was answered last first."""
    launches: dict[float, list[Run]] = {}
    for run in runs:
        if run.predicted:
            launches.setdefault(run.predicted.at, []).append(run)
    return [launches[at] for at in sorted(launches, reverse=True)]


def verdicts(runs: Sequence[Run], findings: Mapping[str, Sequence[Finding]]) -> list[Verdict]:
    """Of runs launched together that have all ended, each with a prediction; findings: by run."""
    names = labels(runs)
    found = []
    figure = figure_to_rank(runs)
    best = max(runs, key=figure)
    expected = [run for run in runs if run.predicted and run.predicted.best]
    if len(runs) > 1 and expected and best.best:
        place = 1 + sum(figure(run) > figure(expected[0]) for run in runs)
        came = f"{names[best.id]}, {accuracy(best.best[1])}"
        came += "" if place == 1 else f"; yours ranks {place} of {len(runs)}"
        found.append(Verdict("Which is best?", names[expected[0].id], came, place == 1))
    said = {run.id for run in runs if run.predicted and not run.predicted.learns}
    stalled = {run.id for run in runs if _fails_to_learn(findings.get(run.id, ()))}
    if len(runs) == 1:
        answer = {True: "no", False: "yes"}
        (run,) = runs
        if not stalled and _not_yet(findings.get(run.id, ())):
            came = f"not yet, after {count(max(run.epoch, 0), 'epoch')}"
            found.append(Verdict("Does it learn?", answer[bool(said)], came, None))
        else:
            found.append(Verdict("Does it learn?", answer[bool(said)], answer[bool(stalled)], said == stalled))
    else:
        came = f"{_listed(stalled, names)}"
        if said != stalled and said:
            came += f"; {len(said & stalled)} of your {len(said)} did not"
        found.append(Verdict("Which do not learn?", _listed(said, names), came, said == stalled))
    guess = runs[0].predicted.overfits if runs[0].predicted else None
    if guess is not None and best.best:
        since = next((each.epoch for each in findings.get(best.id, ()) if each.kind == "overfitting"), None) or 0
        came = f"since epoch {since}" if since else f"not within {best.epoch} epochs"
        if since and guess:
            apart = abs(since - guess)
            came += f", {count(apart, 'epoch')} {'earlier' if since < guess else 'later'}" if apart else ""
        right = None if since and guess and since != guess else since == guess
        said_so = f"from epoch {guess} on" if guess else "never"
        which = "the best one" if len(runs) > 1 else "it"
        found.append(Verdict(f"When does {which} overfit?", said_so, came, right))
    return found


def _fails_to_learn(found: Sequence[Finding]) -> bool:
    return any(each.kind in FAILED_TO_LEARN and each.severity == "alarm" for each in found)


def _not_yet(found: Sequence[Finding]) -> bool:
    """At chance level still, after so few epochs that nothing follows from it."""
    return any(each.kind in FAILED_TO_LEARN and each.severity == "note" for each in found)


def _listed(ids: Collection[str], names: Mapping[str, str]) -> str:
    ordered = [name for key, name in names.items() if key in ids]
    return f"{len(ordered)}: {'; '.join(ordered)}" if ordered else "none"
