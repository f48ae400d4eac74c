"""What was expected of the last experiment, and what the study still needs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pandas as pd
import streamlit as st

from cnnviz import data
from cnnviz.analysis import launches, predictions, study
from cnnviz.app import cache, launch, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.state import open_page
from cnnviz.jobs import control
from cnnviz.store.runs import Run
from cnnviz.wording import count

MARKS = {"done": ":material/check_circle:", "begun": ":material/pending:", "open": ":material/circle:"}


def expected(found: Sequence[Run]) -> None:
    """Of every launch that has ended; the last one's answers are in sight."""
    ended = [runs for runs in predictions.answered(found) if not any(run.active for run in runs)]
    if not ended:
        return
    st.subheader("What you expected, and what happened")
    _expected(ended[0])
    if len(ended) > 1:
        with st.expander(f"Earlier answers: {count(len(ended) - 1, 'experiment')}", on_change="rerun") as fold:
            for runs in ended[1:] if fold.open else ():
                _expected(runs)


def _expected(runs: Sequence[Run]) -> None:
    verdicts = predictions.verdicts(runs, cache.findings(runs, most=len(runs)))
    st.markdown(f"**{plain(launches.title(runs))}**")
    marks = {True: "✓", False: "✗", None: "–"}
    rows = [
        {"question": each.question, "you expected": each.said, "what happened": each.came, "": marks[each.right]}
        for each in verdicts
    ]
    st.table(pd.DataFrame(rows).map(plain).set_index("question"))
    if said := runs[0].predicted:
        st.caption(f"Answered on {datetime.fromtimestamp(said.at):%d %B %Y, %H:%M}, before the training began.")


def checklist(found: Sequence[Run]) -> None:
    on_photographs = any(run.config.dataset == "cifar10" for run in found) or data.available("cifar10")
    dataset = "cifar10" if on_photographs else "synthetic"
    st.subheader("The study" if on_photographs else "The study, on the drawn shapes")
    parts = study.checklist(found, dataset)
    following = next((part for part in parts if part.state != "done"), None)
    for part in parts:
        with st.container(horizontal=True, vertical_alignment="center", key=f"part {part.key}"):
            st.markdown(f"{MARKS[part.state]} **{part.key}** {plain(part.question)}", width=560)
            st.caption(plain(part.progress), width=230)
            _next(part, primary=part is following)


def _next(part: study.Part, primary: bool) -> None:
    kind: Literal["primary", "secondary"] = "primary" if primary else "secondary"
    if part.train:
        if st.button(f"Train {count(len(part.train), 'network')}", type=kind, key=f"train {part.key}"):
            launch.train(part.train, ask=True)
    elif part.resume and st.button(f"Go on to {part.target} epochs", type=kind, key=f"resume {part.key}"):
        with shell.readable_errors():
            for epochs, ids in part.resume.items():
                control.continue_runs(ids, epochs)
            widgets.refresh()
    if part.look and st.button("Write" if part.page == "pages/report.py" else "Look", key=f"look {part.key}"):
        ids = [run_id[:8] for run_id in part.look]
        if part.page == "pages/feature_maps.py":
            open_page(part.page, run=ids[0], other=ids[1])
        elif part.page == "pages/report.py":
            open_page(part.page)
        else:
            open_page(part.page, runs=ids)
