"""Beside the curves: what they show, said once for all runs that show the same."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.analysis import groups
from cnnviz.analysis.groups import Group
from cnnviz.app import cache, launch
from cnnviz.app.markdown import plain
from cnnviz.store.runs import Run

ICONS = {"alarm": ":material/warning:", "note": ":material/info:"}
SAID = {"alarm": "Alarm", "note": "Note"}  # colour and icon are never alone


def draw(chosen: Sequence[Run]) -> None:
    """The findings on these runs, in whatever container it is called in; made for a column of 300 pixels or more."""
    if len(chosen) > cache.MOST_DIAGNOSED:
        st.caption(f"Findings are shown for up to {cache.MOST_DIAGNOSED} runs at once: choose fewer.")
        return
    found = cache.findings(chosen)
    for group in groups.groups(chosen, found):
        _draw(group)


def _draw(group: Group) -> None:
    who = f": {group.who}" if group.who else ""
    label = f"**{SAID[group.severity]}** · {plain(group.says)}{plain(who)}"
    fold = st.expander(label, icon=ICONS[group.severity], key=f"finding {group.outcome}", on_change="rerun")
    if not fold.open:
        return
    with fold:
        for index, (run, each) in enumerate(group.members):
            launch.finding(run, each, f"{run.id} {group.outcome} {index}")
