"""Curves: any runs laid over one another, and why they look as they do."""

import html
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from cnnviz import wording
from cnnviz.analysis import curves
from cnnviz.analysis.comparison import labels, text
from cnnviz.analysis.findings import Finding
from cnnviz.app import cache, launch, shell, widgets
from cnnviz.app.curves import choices, reasons
from cnnviz.app.markdown import plain
from cnnviz.app.state import Address, number_key, open_page, reported
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import View
from cnnviz.render.exports import as_file, together
from cnnviz.store.runs import Run

PANEL_WIDTH = 440  # pixels; two stand side by side on a laptop, one on a narrow screen
EPOCH = number_key("epoch", key="curve_epoch", pinned=True)  # the feature maps have an epoch of their own
ADDRESS = Address("pages/curves.py", (*choices.KEYS, EPOCH, reasons.SECTION))


def show(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> None:
    """Everything below the controls, drawn anew while something trains."""
    with shell.readable_errors():
        _show(chosen, view, shown)
    ADDRESS.update()


def _show(chosen: Sequence[Run], view: View, shown: frozenset[str]) -> None:
    every = {run.id: run for run in cache.runs()}
    chosen = [every[run.id] for run in chosen if run.id in every]
    history = cache.history([*chosen, *curves.ancestors(chosen, every)], curves.metrics(view.measure))
    frame = curves.lines(history, chosen, every, view.measure, view.axis, "forks at 0" not in shown)
    lines = frame if "seeds apart" in shown else curves.collapse(frame, view.parameters)
    colours = widgets.hues(view.colour, chosen)
    found = cache.findings(chosen) if "findings" in shown else {}
    segments = curves.segment_starts(frame, chosen)
    made = curve_charts.panels(lines, view, colours, segments, marked(found))
    if waiting := without_point(chosen):
        st.caption(plain(waiting))
    if not made:
        widgets.empty_state(
            "Nothing to draw yet: the first point appears when the untrained networks have been looked at."
        )
        return
    legend(view, colours, frame)
    row = st.container(horizontal=True)
    for panel in made:
        with row.container(width=PANEL_WIDTH if len(made) > 1 else "stretch"):
            st.markdown(f"**{plain(panel.title)}**" if panel.title else "")
            key = f"panel {panel.title}"
            st.altair_chart(
                panel.chart, width="stretch", key=key, on_select=partial(picked, key), selection_mode="pick"
            )
    st.caption(". ".join(notes(frame, lines, view, segments)) + ".")
    at_an_epoch(chosen)
    summary(chosen, colours, view.colour)
    export(lambda: curve_charts.panels(lines, view, colours, segments, marked(found), legend=True), lines)
    reasons.section(chosen)


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


def legend(view: View, colours: dict[str, str], frame: pd.DataFrame) -> None:
    """One for all panels: in each of them it would take the curves' room."""
    swatch = "display:inline-block;width:1.6em;vertical-align:middle;margin:0 .35em 0 1em;border-top:3px"
    solid = [f'<span style="{swatch} solid {hue}"></span>{html.escape(value)}' for value, hue in colours.items()]
    parts = [f"<span>{html.escape(view.colour.replace('_', ' '))}</span>", *solid]
    if view.stroke == "split":
        styles = {"train": "dashed", "test": "solid"}
        if len(view.splits) > 1:
            parts += [f'<span style="{swatch} {styles[split]} #8a8a8a"></span>{split}' for split in view.splits]
    else:
        line = '<svg width="34" height="6" style="margin:0 .35em 0 1em"><path d="M0 3H34" stroke="#8a8a8a" {}/></svg>'
        dashes = curve_charts.dashes(frame[view.stroke])
        strokes = [
            line.format(f'stroke-width="3" stroke-dasharray="{" ".join(map(str, dash))}"') + html.escape(value)
            for value, dash in dashes.items()
        ]
        parts += [f'<span style="margin-left:2em">{html.escape(view.stroke.replace("_", " "))}</span>', *strokes]
    st.html(f"<div>{''.join(parts)}</div>")


def notes(frame: pd.DataFrame, lines: pd.DataFrame, view: View, segments: pd.DataFrame) -> list[str]:
    said = ["● best test epoch"]
    if "train" in view.splits:
        said.append("train: the mean over the epoch as it trains, half an epoch behind test")
    if len(segments):
        said.append("│ a new segment: training was continued, or a fork left its parent")
    if (lines.repeats > 1).any():
        said.append("a band: mean, lowest and highest of the runs that differ in their seed alone")
    if not curves.is_finite(frame.value).all():
        said.append("✕ the line ends where the run diverged")
    if view.same_axis and curve_charts.clipped(lines, view):
        said.append("values far above the others run out of the top of the axis")
    return said


def picked(key: str) -> None:
    """A click on a panel: its epoch is the one to look at below."""
    points = reported(key).selection.get("pick") or []
    if points:
        EPOCH.set(int(points[0]["epoch"]))


def at_an_epoch(chosen: Sequence[Run]) -> None:
    """From an epoch of a run to its feature maps, or to a fork."""
    last = max(0, *(run.epoch for run in chosen))
    row = st.container(horizontal=True, vertical_alignment="bottom")
    EPOCH.offer(range(last + 1), last)
    epoch = int(row.number_input("Epoch (or click one in a chart)", 0, max(last, 1), key=EPOCH.widget, width=230))
    by_id = {run.id: run for run in chosen if run.first_epoch <= epoch <= run.epoch}
    if not by_id:
        row.caption("None of these runs has been trained so far.")
        return
    run = by_id[row.selectbox("of", list(by_id), format_func=lambda key: widgets.label(by_id[key]), key="epoch_run")]
    others = [key for key in by_id if key != run.id]
    beside = row.selectbox(
        "beside",
        ["", *others],
        int(len(others) == 1),
        format_func=lambda key: widgets.label(by_id[key]) if key else "none",
        key=f"beside {run.id} {len(others)}",
    )
    if row.button("Feature maps", icon=":material/grid_view:", key="maps"):
        beside_it = {"other": beside[:8]} if beside else {}
        open_page("pages/feature_maps.py", run=run.id[:8], epoch=str(epoch), **beside_it)
    with row.popover("Fork here", icon=":material/call_split:"):
        launch.fork(run, epoch, f"{run.id} {epoch}")
    with row.popover(f"Continue all {len(chosen)}" if len(chosen) > 1 else "Continue", icon=":material/resume:"):
        launch.more_epochs(chosen, "curves")


def summary(chosen: Sequence[Run], colours: dict[str, str], colour: str) -> None:
    ordered = sorted(chosen, key=lambda run: -run.best_accuracy)
    rows = [
        {
            "colour": "●",
            "run": run.name,
            "id": run.id[:6],
            "best": 100 * run.best[1] if run.best else None,
            "@ epoch": run.best[0] if run.best else None,
            "last": 100 * run.accuracy[-1] if run.accuracy else None,
            "epochs": max(run.epoch, 0),
            "time": wording.duration(run.seconds),
            "segments": widgets.segments(run),
            "status": widgets.STATUS[run.status],
        }
        for run in ordered
    ]
    hues = [f"color: {colours[text(vars(run.config)[colour])]}" for run in ordered]
    frame = pd.DataFrame(rows)
    percent = st.column_config.NumberColumn(format="%.2f %%")
    st.dataframe(
        frame.style.apply(lambda _: hues, subset=["colour"]),
        hide_index=True,
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


def export(make: Any, lines: pd.DataFrame) -> None:
    row = st.container(horizontal=True)
    row.download_button("CSV", lambda: lines.to_csv(index=False).encode(), "curves.csv", "text/csv", on_click="ignore")
    for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml"), ("html", "text/html")):
        # made only when it is asked for: a picture takes a second
        row.download_button(
            kind.upper(),
            lambda kind=kind: as_file(together(make()), kind),  # type: ignore[misc]
            f"curves.{kind}",
            mime,
            on_click="ignore",
        )


def page() -> None:
    st.title("Curves")
    with ADDRESS.on_show():
        found = cache.runs()
        if not found:
            widgets.no_runs()
            return
        chosen = choices.runs(found)
        if not chosen:
            widgets.empty_state("Choose one or more runs above to lay their curves over one another.")
            return
        view, shown = choices.view(chosen)
        every = 2.0 if any(run.active for run in chosen) else None
        st.fragment(show, run_every=every)(chosen, view, shown)
