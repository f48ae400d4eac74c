"""Findings of many runs → one for all that say the same; and runs by what they have in common."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnviz.analysis.comparison import labels, setting, text
from cnnviz.analysis.evidence import Finding
from cnnviz.analysis.leaderboard import columns, heading
from cnnviz.config import PARAMETERS, TYPES
from cnnviz.store.runs import Run
from cnnviz.wording import count, listed

# By outcome: what is said of one run, and of several. The order in which they are said of equally many runs.
WORDS = {
    "diverged": ("diverged at epoch {epoch}", "diverged"),
    "never": ("never left chance level", "never left chance level"),
    "chance_level": ("fell back to chance level", "fell back to chance level"),
    "by_heart": ("learned its training pictures by heart", "learned their training pictures by heart"),
    "below_chance": ("ended below chance level", "ended below chance level"),
    "early": ("has not left chance level yet", "have not left chance level yet"),
    "lr_too_high": ("has too high a learning rate", "have too high a learning rate"),
    "overfitting": ("overfits since epoch {epoch}", "overfit, the first since epoch {epoch}"),
    "underfitting": ("underfits", "underfit"),
    "dead_relus": ("has dead ReLUs since epoch {epoch}", "have dead ReLUs"),
    "vanishing_gradients": (
        "has a gradient that vanishes before the first layer",
        "have gradients that vanish before the first layer",
    ),
    "saturated_units": ("has saturated units since epoch {epoch}", "have saturated units"),
    "maybe_overfitting": ("may overfit since epoch {epoch}", "may overfit, the first since epoch {epoch}"),
    "lr_too_low": ("has a low learning rate", "have a low learning rate"),
    "slow_start": ("left chance level late, at epoch {epoch}", "left chance level late, the first at epoch {epoch}"),
    "still_improving": ("was still improving", "were still improving"),
    "converged": ("converged at epoch {epoch}", "converged, the first at epoch {epoch}"),
    "one_class": ("says one class for everything since epoch {epoch}", "say one class for everything"),
    "confuses": ("confuses two classes", "confuse two classes"),
    "overconfident": ("is overconfident since epoch {epoch}", "are overconfident, the first since epoch {epoch}"),
    "training_mode": ("was evaluated in training mode", "were evaluated in training mode"),
    "large_start": ("starts with weights that are too large", "start with weights that are too large"),
    "small_start": ("starts with weights that are too small", "start with weights that are too small"),
    "raw_inputs": ("gets pictures that are not normalised", "get pictures that are not normalised"),
    "stopped_early": ("stopped early at epoch {epoch}", "stopped early, the first at epoch {epoch}"),
    "rate_drop": ("gains by its schedule's step at epoch {epoch}", "gain by a step of their schedule"),
    "harder_training": (
        "looks worse on training pictures than on test pictures",
        "look worse on training pictures than on test pictures",
    ),
    "gap": ("had a loss that was not finite for a while", "had a loss that was not finite for a while"),
}
HEADLINE = (  # what Home says of an experiment
    *("diverged", "never", "chance_level", "by_heart", "below_chance", "early"),
    *("lr_too_high", "overfitting", "underfitting", "still_improving"),
)
MOST_NAMED = 4  # runs that have no words in common
FEW = 3  # values of a number from which "or less" and "or more" are said


@dataclass(frozen=True)
class Group:
    """Runs of which the same is found."""

    outcome: str  # of WORDS
    severity: Literal["alarm", "note"]  # the worst of them
    members: tuple[tuple[Run, Finding], ...]  # in the order of the runs
    says: str  # "5 runs never left chance level"
    who: str  # "sigmoid, except cross entropy with lr 0.1"; "": all of them, or the only one


def outcome(finding: Finding) -> str:
    """Its kind, of WORDS: being at chance level is told by how it came to it."""
    if finding.kind in ("chance_level", "below_chance") and finding.severity == "note":
        return "early"
    if finding.title == "Learned by heart":
        return "by_heart"
    return "never" if finding.title.startswith("Never left") else finding.kind


def phrase(which: str, found: Sequence[Finding]) -> str:
    """What is said of as many runs: "overfit, the first since epoch 8"."""
    since = min((each.epoch for each in found if each.epoch), default=0)
    return WORDS[which][len(found) > 1].format(epoch=since)


def groups(chosen: Sequence[Run], findings: Mapping[str, Sequence[Finding]]) -> list[Group]:
    """Alarms first, then what is found of most runs. findings: by run."""
    members: dict[str, list[tuple[Run, Finding]]] = {}
    for run in chosen:
        for each in findings.get(run.id, ()):
            members.setdefault(outcome(each), []).append((run, each))
    order = list(WORDS)
    found = [_group(which, those, chosen) for which, those in members.items()]
    return sorted(found, key=lambda group: (group.severity != "alarm", -len(group.members), order.index(group.outcome)))


def _group(which: str, members: Sequence[tuple[Run, Finding]], chosen: Sequence[Run]) -> Group:
    says = phrase(which, [each for _, each in members])
    if len(chosen) == 1:
        subject = "It"
    elif len(members) == len(chosen):
        subject = "Both runs" if len(chosen) == 2 else f"All {len(chosen)} runs"
    else:
        subject = count(len(members), "run")
    who = in_common(chosen, {run.id for run, _ in members}) if len(members) < len(chosen) else ""
    severity: Literal["alarm", "note"] = "alarm" if any(each.severity == "alarm" for _, each in members) else "note"
    return Group(which, severity, tuple(members), f"{subject} {says}", who)


# -- what runs have in common ----------------------------------------------------------------------


def in_common(chosen: Sequence[Run], some: Collection[str]) -> str:
    """Some of the chosen runs (ids), in parameters that hold for them and for no other chosen run.

    "sigmoid", "sigmoid with lr 0.01 or less", "sigmoid, except cross entropy with lr 0.1"; by their names if no such
    words are found; "" for all of them.
    """
    those = [run for run in chosen if run.id in some]
    rest = [run for run in chosen if run.id not in some]
    if not rest or not those:
        return ""
    names, by_id = columns(chosen), labels(chosen)
    if len(those) == 1:
        return by_id[those[0].id]
    box = _box(those, names)
    inside = [run for run in rest if _is_in(run, box)]
    if not inside:
        return _said(box, chosen)
    named = [by_id[run.id] for run in those]
    ways = [_all_but(chosen, those, inside, names), _halves(chosen, those, names)]
    if len(named) <= MOST_NAMED:
        ways.append("; ".join(named))
    return min((way for way in ways if way), key=len, default="") or listed(named, "; ", most=MOST_NAMED)


def _all_but(chosen: Sequence[Run], those: Sequence[Run], inside: Sequence[Run], names: Sequence[str]) -> str:
    """ "sigmoid, except cross entropy with lr 0.1"; inside: the other runs that the words without "except" fit."""
    exception = _box(inside, names)
    if len(inside) >= len(those) or any(_is_in(run, exception) for run in those):
        return ""
    box = _box(those, names)
    outer = _said(box, chosen)
    within = [run for run in chosen if _is_in(run, box)]
    return f"{outer or 'all'}, except {_said(exception, within)}"


def _halves(chosen: Sequence[Run], those: Sequence[Run], names: Sequence[str]) -> str:
    """ "mse with lr 0.1, and sigmoid with lr 0.01": by the values of one parameter, each in words of its own."""
    ways = []
    for name in names:
        values = sorted({vars(run.config)[name] for run in those})
        boxes = [_box([run for run in those if vars(run.config)[name] == value], names) for value in values]
        if len(boxes) == 2 and not any(_is_in(run, box) for run in chosen for box in boxes if run not in those):
            ways.append(", and ".join(_said(box, chosen) for box in boxes))
    return min(ways, key=len, default="")


def _box(runs: Sequence[Run], names: Sequence[str]) -> dict[str, set[object]]:
    """The values of each parameter among these runs."""
    return {name: {vars(run.config)[name] for run in runs} for name in names}


def _is_in(run: Run, box: Mapping[str, Collection[object]]) -> bool:
    return all(vars(run.config)[name] in values for name, values in box.items())


def _said(box: Mapping[str, set[object]], among: Sequence[Run]) -> str:
    """The box in words, with no more parameters than single its runs out among these; "" if it has all of them."""
    members = [run for run in among if _is_in(run, box)]
    needed = dict(box)
    for name in sorted(box, key=_droppable):
        rest = {other: values for other, values in needed.items() if other != name}
        if [run for run in among if _is_in(run, rest)] == members:
            needed = rest
    parts = []
    for name in sorted(needed, key=PARAMETERS.index):
        every = sorted({vars(run.config)[name] for run in among})
        parts.append(_values(name, sorted(needed[name], key=every.index), every))
    return " with ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else "".join(parts)


def _droppable(name: str) -> tuple[bool, int]:
    """The order in which parameters are left out: first what is seldom changed, last the activation."""
    usual = ("model", "lr", "loss", "activation")
    return name in usual, usual.index(name) if name in usual else -PARAMETERS.index(name)


def _values(name: str, some: Sequence[object], every: Sequence[object]) -> str:
    """ "lr 0.01", "lr 0.01 or less", "every activation but sigmoid", "lr 0.1 or 0.5"."""
    if len(some) > 1 and len(every) >= FEW and TYPES[name] is not str and name not in ("seed", "limit_train"):
        if list(some) == list(every[: len(some)]):
            return f"{setting(name, some[-1])} or less"
        if list(some) == list(every[-len(some) :]):
            return f"{setting(name, some[0])} or more"
    if len(some) == len(every) - 1 and len(some) >= FEW:
        (left,) = set(every) - set(some)
        return f"every {heading(name)} but {text(left)}"
    first, *more = some
    return " or ".join([setting(name, first), *(text(value) for value in more)])
