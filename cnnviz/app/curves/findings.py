"""Beside the curves: what they show, said once for all runs that show the same, and the trials that would test it."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.analysis import groups, trials
from cnnviz.analysis.comparison import labels
from cnnviz.analysis.evidence import Finding
from cnnviz.analysis.groups import Group
from cnnviz.analysis.trials import Planned
from cnnviz.app import cache, launch, shell
from cnnviz.app.curves import choices
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.jobs import control, devices, estimate
from cnnviz.store.runs import Run
from cnnviz.wording import count

ICONS = {"alarm": ":material/warning:", "note": ":material/info:"}
SAID = {"alarm": "Alarm", "note": "Note"}  # a sign and a word: no colour
FIRST = 4  # groups in sight; the others are one button away
MOST_SHOWN = 12  # runs of one group whose evidence is listed
MOST_NAMED = 2  # runs without a finding
OF_ALL = Slot("findings_of_all", False)  # of more runs than are read without being asked for
EVERY = Slot("every_finding", False)
OPENED = Slot[frozenset[str]]("opened_findings", frozenset())  # stay open whatever else is found beside them


def announce() -> None:
    """What stands there until draw() has read the curves."""
    st.header("Findings", anchor=False)
    st.caption("Looking for what they show …")


def draw(chosen: Sequence[Run]) -> None:
    """The findings on these runs, in whatever container it is called in; made for a column of 300 pixels or more."""
    with shell.readable_errors():
        _section(chosen)


def _section(chosen: Sequence[Run]) -> None:
    st.header("Findings", anchor=False)
    if len(chosen) > cache.MOST_DIAGNOSED and not OF_ALL.get():
        st.caption(f"They are looked for in up to {cache.MOST_DIAGNOSED} runs at once. More take some seconds.")
        if st.button(f"Look at all {len(chosen)} runs", key="findings_of_all_runs", icon=":material/search:"):
            OF_ALL.set(True)
            st.rerun()
        return
    found = cache.findings(chosen, most=len(chosen))
    known, titles = cache.runs(), labels(chosen)
    with st.container(gap="xsmall"):
        made = groups.groups(chosen, found)
        for group in made if EVERY.get() else made[:FIRST]:
            _draw(group, chosen, known)
        if rest := made[FIRST:]:
            words = "Show fewer" if EVERY.get() else f"Show {len(rest)} more: {_kinds(rest)}"
            st.button(words, key="more_findings", type="tertiary", on_click=EVERY.set, args=(not EVERY.get(),))
    if quiet := [titles[run.id] for run in chosen if not found.get(run.id)]:
        who = f" ({'; '.join(quiet)})" if len(quiet) <= MOST_NAMED else ""
        of = "" if len(quiet) == len(chosen) else f" in {count(len(quiet), 'run')}{who}"
        st.caption(plain(f"No findings{of}: too few epochs to judge, or nothing out of the ordinary."))


def _kinds(some: Sequence[Group]) -> str:
    """ "1 alarm, 4 notes"."""
    numbers = {kind: sum(each.severity == kind for each in some) for kind in SAID}
    return ", ".join(count(number, kind) for kind, number in numbers.items() if number)


def _draw(group: Group, chosen: Sequence[Run], known: Sequence[Run]) -> None:
    says = f"{plain(group.says)}: {plain(group.who)}" if group.who else plain(group.says)
    key = f"finding {group.outcome}"
    Slot(key, False).set(key in OPENED.get())
    sentence = f"**{SAID[group.severity]}.** {says}."
    fold = st.expander(sentence, icon=ICONS[group.severity], key=key, on_change=_toggle, args=(key,))
    if not fold.open:  # what is in it costs more than its sentence
        return
    with fold, shell.readable_errors(), st.spinner("Looking for its trials …"):
        _evidence(group, chosen, known)


def _toggle(key: str) -> None:
    OPENED.set(OPENED.get() ^ {key})


def _evidence(group: Group, chosen: Sequence[Run], known: Sequence[Run]) -> None:
    """Each run's own figures, what would prove the finding wrong, and the trial that would."""
    planned = trials.planned(group.members, known)
    if len(new := trials.missing(planned)) > 1:
        about = _cost(new).about
        if st.button(
            f"Train the {len(new)} trials, {about}", key=f"trials {group.outcome}", icon=":material/science:", wrap=True
        ):
            _launch(new, chosen)
    by_run = {each.run.id: each for each in planned}
    involved = {run.id: run for run in [*chosen, *(each.made for each in planned if each.made)]}
    titles = labels(list(involved.values()))
    refuted = {each.refutes for _, each in group.members}
    for run, each in group.members[:MOST_SHOWN]:
        if len(chosen) > 1:
            st.markdown(f"**{plain(titles[run.id])}**")
        st.markdown(f":small[{plain(each.sentence)}]")
        if len(refuted) > 1 or len(group.members) == 1:
            st.caption(plain(f"What would prove it wrong: {each.refutes}"))
        if run.id in by_run:
            _trial(by_run[run.id], chosen, titles, group.outcome)
        if each.more:
            _others(run, each, chosen, known, group.outcome)
    if len(refuted) == 1 and len(group.members) > 1:
        st.caption(plain(f"What would prove it wrong: {refuted.pop()}"))
    if (more := len(group.members) - MOST_SHOWN) > 0:
        st.caption(f"And {count(more, 'run')} more: choose fewer to read of each.")


def _others(run: Run, found: Finding, chosen: Sequence[Run], known: Sequence[Run], outcome: str) -> None:
    """What else may help, in a popover that is drawn only while it is open."""
    key = f"others {run.id} {outcome}"
    place = st.popover("Other remedies", type="tertiary", key=key, on_change="rerun")
    if not place.open:
        return
    plans = trials.others(run, found, known)
    titles = labels(list({each.id: each for each in [*chosen, *(plan.made for plan in plans if plan.made)]}.values()))
    with place:
        for number, plan in enumerate(plans, 1):
            _trial(plan, chosen, titles, f"{outcome} {number}")


def _trial(each: Planned, chosen: Sequence[Run], titles: dict[str, str], outcome: str) -> None:
    """Shown if it exists, else launched by its button, which says what it costs."""
    key, made = f"trial {each.run.id} {outcome}", each.made
    if made is None:
        cost = _cost([each])
        if st.button(
            each.trial.label,
            key=key,
            icon=":material/science:",
            disabled=bool(each.trial.epochs and each.run.active),
            wrap=True,
        ):
            _launch([each], chosen)
        what = "more epochs of this run" if each.trial.epochs else "epochs of a new run"
        measured = "" if cost.measured else " (its speed is not measured yet)"
        st.caption(plain(f"{each.costs.epochs} {what}, {cost.about} here{measured}."))
        return
    if made.id != each.run.id:
        ids = [run.id[:8] for run in chosen]
        is_here = made.id[:8] in ids
        if st.button(
            f"Show: {plain(titles[made.id])}, {trials.result(made)}",
            key=key,
            icon=":material/show_chart:",
            help="This trial exists. Its curve and this run's alone" if is_here else "This trial exists. Add its curve",
            wrap=True,
        ):
            choices.RUNS.set([each.run.id[:8], made.id[:8]] if is_here else [*ids, made.id[:8]])
            st.rerun()
    st.caption(plain(trials.said(each)))


def _cost(new: Sequence[Planned]) -> estimate.Estimate:
    return estimate.estimate([each.costs for each in new], devices.nearest(new[0].run.device))


def _launch(new: Sequence[Planned], chosen: Sequence[Run]) -> None:
    """Train them, and lay the curves of new runs beside those on show."""
    fresh = [each for each in new if not each.trial.epochs]
    ids: list[str] = []
    for device in dict.fromkeys(devices.nearest(each.run.device) for each in fresh):
        ids += control.submit(
            [each.config for each in fresh if devices.nearest(each.run.device) == device],
            device,
        )
    for epochs in dict.fromkeys(each.trial.epochs for each in new if each.trial.epochs):
        control.continue_runs([each.run.id for each in new if each.trial.epochs == epochs], epochs)
    choices.RUNS.set([*(run.id[:8] for run in chosen), *(run_id[:8] for run_id in ids)])
    launch.launched(f"{count(len(new), 'trial')} scheduled")
