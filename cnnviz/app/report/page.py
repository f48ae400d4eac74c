"""Report: what is handed in, of the study or of any runs, with one's own words."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.app import cache, widgets
from cnnviz.app.report import outline, preview
from cnnviz.app.state import Address, list_key, text_key
from cnnviz.store.reports import STUDY
from cnnviz.store.runs import Run
from cnnviz.wording import count

SUBJECTS = {STUDY: "The study", "runs": "Runs of your choice"}
SUBJECT = text_key("of", STUDY, key="report_of")
RUNS = list_key(
    "runs",
    key="report_runs",
    parse=lambda text: text[:8],
    wrong="{text} from the address is not in this store; it is left out",
)
ADDRESS = Address("pages/report.py", (SUBJECT, RUNS))


def chosen(found: Sequence[Run]) -> list[str]:
    """Ids of the runs; none for the study."""
    by_id = {run.id[:8]: run for run in found}
    with st.container(horizontal=True, vertical_alignment="center"):
        subject = widgets.one_of("Report on", SUBJECTS, SUBJECT)
        RUNS.offer(by_id, [])
        if subject == STUDY:
            RUNS.keep()
            return []
        place = st.popover(count(len(RUNS.get()), "run"), key="report_which", on_change="rerun")
        if place.open:
            with place:
                st.multiselect("Runs", list(by_id), format_func=lambda key: widgets.label(by_id[key]), key=RUNS.widget)
        else:
            RUNS.keep()
    return [by_id[key].id for key in RUNS.get()]


def page() -> None:
    st.title("Report")
    with ADDRESS.on_show():
        found = cache.runs()
        if not found:
            widgets.no_runs()
            return
        runs = chosen(found)
        if SUBJECT.get() != STUDY and not runs:
            widgets.empty_state("Choose the runs: the button above has their list.")
            return
        left, right = st.columns([2, 3])
        with left:
            st.fragment(outline.show)(runs)
        with right:
            st.fragment(preview.show)(runs)
