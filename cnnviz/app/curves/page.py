"""Curves: any runs laid over one another, and why they look as they do."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from cnnviz import wording
from cnnviz.analysis import curves, leaderboard
from cnnviz.analysis.comparison import labels, text
from cnnviz.analysis.findings import Finding
from cnnviz.app import cache, shell, widgets
from cnnviz.app.curves import choices, findings, legend, point, reasons
from cnnviz.app.markdown import plain
from cnnviz.app.state import Address
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import Panel, View
from cnnviz.render.exports import as_file, together
from cnnviz.store.runs import Run, figure_to_rank

HEIGHTS = {1: 440, 2: 380, 3: 300, 4: 300}  # pixels of a chart, by their number; two rows fit on a laptop's screen
HEIGHT = 250  # of one of more than that
FILES = {"png": "image/png", "svg": "image/svg+xml", "html": "text/html"}
ADDRESS = Address("pages/curves.py", (*choices.KEYS, *point.KEYS, reasons.SECTION))


def show(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> None:
    """Everything below the controls, drawn anew while something trains."""
    with shell.readable_errors():
        _show(chosen, view, shown)
    ADDRESS.update()


def _show(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> None:
    every = {run.id: run for run in cache.runs()}
    chosen, joined = [every[run.id] for run in chosen if run.id in every], "forks at 0" not in shown
    picked = point.offer(chosen, joined)
    if waiting := without_point(chosen):
        st.caption(plain(waiting))
    frame, lines = data(chosen, view, shown)
    later = cache.takes_long(chosen)  # the curves do not wait for that
    ring = curves.point(frame, picked[0].id, picked[1], view.splits) if picked else None
    made = charts(chosen, view, shown - {"findings"} if later else shown, frame, lines, ring)
    if not made or picked is None:
        widgets.empty_state(
            "Nothing to draw yet: the first point appears when the untrained networks have been looked at."
        )
        return
    with st.container(key="curves"), st.container(key="curves_body"):
        with st.container(key="curves_main"):
            with st.container(key="curves_panels"):
                for panel in made:
                    draw(panel, len(made), lines, picked)
            st.caption(plain(legend.notes(frame, lines, view, made)))
            point.line(chosen, every, frame, view.measure, joined)
        with st.container(key="curves_side"):
            if later:
                findings.announce()
            else:
                st.fragment(findings.draw)(chosen)  # so that opening one draws nothing else anew
    st.header("Runs", anchor=False)
    summary(chosen, legend.colours(view, chosen), view.colour)
    reasons.section(chosen)
    if later:
        cache.findings(chosen)
        st.rerun()  # with them, and their marks on the curves


def data(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every run's line, and the lines to be drawn, seeds together unless they are asked for apart."""
    every = {run.id: run for run in cache.runs()}
    history = cache.history([*chosen, *curves.ancestors(chosen, every)], curves.metrics(view.measure))
    frame = curves.lines(history, chosen, every, view.measure, view.axis, "forks at 0" not in shown)
    return frame, frame if "seeds apart" in shown else curves.collapse(frame, view.parameters)


def charts(
    chosen: Sequence[Run],
    view: View,
    shown: frozenset[str],
    frame: pd.DataFrame,
    lines: pd.DataFrame,
    ring: pd.DataFrame | None = None,
    for_file: bool = False,
) -> list[Panel]:
    found = marked(cache.findings(chosen) if "findings" in shown else {})
    segments, hues = curves.segment_starts(frame, chosen), legend.colours(view, chosen)
    return curve_charts.panels(lines, view, hues, segments, found, ring, legend=for_file)


def draw(panel: Panel, several: int, lines: pd.DataFrame, picked: tuple[Run, int]) -> None:
    key = point.key_of(panel.title, set(lines.run_id), picked)
    st.vega_lite_chart(
        spec=panel.drawing.apart(),
        width="stretch",
        height=HEIGHTS.get(several, HEIGHT),  # kept while it is drawn anew
        key=key,
        on_select=partial(point.take, key),
        selection_mode="pick",
        alt=panel.name,
    )


def without_point(chosen: Sequence[Run]) -> str:
    """ "5 wait, no point yet: …", the runs among them that have no line to be seen."""
    waiting = [run for run in chosen if run.active and run.epoch < 0]
    if not waiting:
        return ""
    names = labels(chosen)
    said = wording.listed([names[run.id] for run in waiting], "; ")
    return f"{len(waiting)} {'waits' if len(waiting) == 1 else 'wait'}, no point yet: {said}"


def marked(found: dict[str, list[Finding]]) -> pd.DataFrame:
    rows = [(run_id, each.epoch, each.sentence) for run_id, those in found.items() for each in those if each.epoch]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "what"])


def summary(chosen: Sequence[Run], colours: dict[str, str], colour: str) -> None:
    ordered = sorted(chosen, key=figure_to_rank(chosen), reverse=True)
    rows = [
        {
            "colour": "●",
            "run": run.name,
            "id": run.id[:8],
            "best": 100 * run.best[1] if run.best else None,
            "@ epoch": run.best[0] if run.best else None,
            "last": 100 * run.accuracy[-1] if run.accuracy else None,
            "epochs": max(run.epoch, 0),
            "time": wording.duration(run.seconds),
            "segments": widgets.segments(run),
            "status": widgets.status(run),
        }
        for run in ordered
    ]
    hues = [f"color: {colours[text(vars(run.config)[colour])]}" for run in ordered]
    frame = pd.DataFrame(rows)
    percent = st.column_config.NumberColumn(format="%.1f %%")
    if any(run.best for run in chosen):
        st.caption(f"Test accuracy at the best epoch; best epochs were {leaderboard.chosen_by(chosen)}.")
    st.dataframe(
        frame.style.apply(lambda _: hues, subset=["colour"]),
        hide_index=True,
        row_height=28,
        column_config={
            "colour": st.column_config.TextColumn("", width=30, help=f"the curve's colour, by {colour}"),
            "best": percent,
            "last": percent,
            "@ epoch": st.column_config.NumberColumn(format="%d"),
            "run": st.column_config.TextColumn(width=290),
            "segments": st.column_config.TextColumn(
                help="training time by segment; the time between segments is not in it"
            ),
        },
        alt="Best and last test accuracy of the chosen runs",
        placeholder="–",
    )


def export(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> None:
    place = st.popover("Export", key="curves_export", on_change="rerun")
    if not place.open:
        return

    def as_picture(kind: str) -> bytes:
        return as_file(together(charts(chosen, view, shown, *data(chosen, view, shown), for_file=True)), kind)

    def as_table() -> bytes:
        return data(chosen, view, shown)[1].to_csv(index=False).encode()

    with place:  # each is made only when it is asked for: a picture takes a second
        st.download_button("CSV", as_table, "curves.csv", "text/csv", on_click="ignore", width="stretch")
        for kind, mime in FILES.items():
            make = partial(as_picture, kind)
            st.download_button(kind.upper(), make, f"curves.{kind}", mime, on_click="ignore", width="stretch")


def page() -> None:
    with ADDRESS.on_show():
        found = cache.runs()
        with st.container(horizontal=True, vertical_alignment="center", key="curves_head"):
            st.html(Path(__file__).with_name("curves.css"))
            st.title("Curves", anchor=False, width="content")
            chosen = choices.runs(found) if found else []
            if chosen:
                view, shown = choices.view(chosen)
                export(chosen, view, shown)
                st.html(legend.swatches(view, legend.colours(view, chosen), chosen), width="content")
        if not found:
            widgets.no_runs()
        elif not chosen:
            widgets.empty_state("Choose one or more runs above to lay their curves over one another.")
        else:
            every = 2.0 if any(run.active for run in chosen) else None
            st.fragment(show, run_every=every)(chosen, view, shown)
