"""What came of the experiment launched last, what was expected of it, and what the study still needs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pandas as pd
import streamlit as st

from cnnviz import data
from cnnviz.analysis import curves, headline, predictions, study
from cnnviz.app import cache, launch, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.state import open_page
from cnnviz.jobs import control
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import View
from cnnviz.store.runs import Run
from cnnviz.wording import count

PANEL_WIDTH = 300  # pixels
MARKS = {"done": ":material/check_circle:", "begun": ":material/pending:", "open": ":material/circle:"}


def show(found: Sequence[Run]) -> None:
    newest = headline.newest(found)
    if not any(run.active for run in newest):
        _newest(newest)
        _expected(found)
    _checklist(found)


def _newest(runs: Sequence[Run]) -> None:
    title, words = headline.headline(runs, cache.findings(runs))
    st.title(plain(title))
    if words:
        st.markdown(plain(". ".join(words) + "."))
    _curves(runs)
    row = st.container(horizontal=True)
    if row.button("Why? Look at the curves", icon=":material/show_chart:", key="to curves"):
        open_page("pages/curves.py", runs=[run.id[:8] for run in runs])
    best = max(runs, key=lambda run: run.best[1] if run.best else 0.0)
    if best.best and row.button("Look inside the best one", icon=":material/grid_view:", key="to maps"):
        open_page("pages/feature_maps.py", run=best.id[:8])


def _curves(runs: Sequence[Run]) -> None:
    by_id = {run.id: run for run in runs}
    lines = curves.lines(cache.history(runs, curves.metrics("Accuracy")), runs, by_id, "Accuracy")
    facets, colour = curves.default_grouping(runs)
    hues = widgets.hues(colour, runs)
    made = curve_charts.panels(
        lines, View("Accuracy", facets=tuple(facets), colour=colour, splits=("test",)), hues, height=200, legend=True
    )
    row = st.container(horizontal=True)
    for panel in made:
        with row.container(width=PANEL_WIDTH if len(made) > 1 else 700):
            st.markdown(f"**{plain(panel.title)}**" if panel.title else "**test accuracy**")
            st.altair_chart(panel.chart, width="stretch", key=f"home {panel.title}")


def _expected(found: Sequence[Run]) -> None:
    runs = predictions.together(found)
    if not runs or any(run.active for run in runs):
        return
    verdicts = predictions.verdicts(runs, cache.findings(runs))
    if not verdicts:
        return
    st.subheader("What you expected, and what came")
    marks = {True: "✓", False: "✗", None: "–"}
    rows = [
        {"question": each.question, "you expected": each.said, "what came": each.came, "": marks[each.right]}
        for each in verdicts
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What was expected beside what came")
    if said := runs[0].predicted:
        st.caption(f"Said on {datetime.fromtimestamp(said.at):%d %B %Y, %H:%M}, before they began.")


def _checklist(found: Sequence[Run]) -> None:
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
    elif part.resume and st.button(f"Go on to {study.CONTINUED} epochs", type=kind, key=f"resume {part.key}"):
        with shell.readable_errors():
            for epochs, ids in part.resume.items():
                control.continue_runs(ids, epochs)
            widgets.refresh()
    if part.look and st.button("Look", key=f"look {part.key}"):
        ids = [run_id[:8] for run_id in part.look]
        if part.page == "pages/feature_maps.py":
            open_page(part.page, run=ids[0], other=ids[1])
        else:
            open_page(part.page, runs=ids)
