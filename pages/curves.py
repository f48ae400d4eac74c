"""Curves: any runs laid over one another."""

import html

import pandas as pd
import streamlit as st

from cnnviz import charts, jobs, tracking, ui
from cnnviz.tracking import TrackedRun

BATCH_SECONDS = 120  # runs launched within this of the newest are what one wants to see first

ui.guard()


def choose(found: list[TrackedRun]) -> list[TrackedRun]:
    by_id = {run.id[:8]: run for run in found}
    newest = [key for key, run in by_id.items() if (found[0].created - run.created).total_seconds() < BATCH_SECONDS]
    asked = [key for key in st.query_params.get_all("runs") if key in by_id]
    unknown = [key for key in st.query_params.get_all("runs") if key not in by_id]
    if unknown and "curve_runs" not in st.session_state:
        st.warning(ui.plain(f"{', '.join(unknown[:3])} from the address is not in this store; it is left out."))
    if "curve_runs" in st.session_state:
        st.session_state.curve_runs = [key for key in st.session_state.curve_runs if key in by_id]
    else:
        st.session_state.curve_runs = asked or newest
    keys = st.multiselect("Runs", list(by_id), format_func=lambda key: ui.label(by_id[key]), key="curve_runs")
    if keys:
        st.query_params["runs"] = keys
    return [by_id[key] for key in keys]


def view(chosen: list[TrackedRun], measure: str, facets: list[str], colour: str, options: list[str]) -> None:
    chosen = [run for run in ui.runs() if run.id in {each.id for each in chosen}]
    splits = [split for split in charts.SPLITS if f"{split} figures" in options]
    log = "log scale" in options
    frame = pd.DataFrame(ui.params(chosen))
    metric = charts.MEASURES[measure][0]
    history = tracking.history([run.id for run in chosen], [f"{split}_{metric}" for split in charts.SPLITS])
    tidy = charts.tidy(history, frame, measure)
    made = charts.panels(tidy, measure, facets, colour, splits, "one y-axis" in options, log)
    if not made:
        ui.empty_state("Nothing to draw yet: the first point appears when the untrained networks have been looked at.")
        return
    legend(tidy, colour, splits)
    for row in range(0, len(made), 2):
        columns = st.columns(2) if len(made) > 1 else [st.container()]
        for column, panel in zip(columns, made[row : row + 2], strict=False):
            if panel.title:
                column.markdown(f"**{ui.plain(panel.title)}**")
            column.altair_chart(panel.chart, width="stretch", key=f"panel {row} {panel.title}")
    notes = ["● best test epoch; dashed: train, the mean over the epoch as it trains"]
    if "one y-axis" in options and any(
        charts.clipped(part, log) for _, part in tidy[tidy.split.isin(splits)].groupby("loss")
    ):
        notes.append("values far above the others run out of the top of the axis")
    if not tidy.value.map(lambda value: value - value == 0).all():
        notes.append("✕ the line ends where the run diverged")
    st.caption(". ".join(notes) + ".")
    summary(chosen)
    export(charts.panels(tidy, measure, facets, colour, splits, "one y-axis" in options, log, legend=True), tidy)


def legend(tidy: pd.DataFrame, colour: str, splits: list[str]) -> None:
    """One for all panels: in each of them it would take the curves' room."""
    swatch = "display:inline-block;width:1.6em;vertical-align:middle;margin:0 .35em 0 1em;border-top:3px"
    parts = [
        f'<span style="{swatch} solid {hue}"></span>{html.escape(value)}'
        for value, hue in charts.hues(tidy[colour].tolist()).items()
    ]
    styles = {"train": "dashed", "test": "solid"}
    parts += [f'<span style="{swatch} {styles[split]} #8a8a8a"></span>{split}' for split in splits if len(splits) > 1]
    st.html(f"<div>{html.escape(colour.replace('_', ' '))}{''.join(parts)}</div>")


def summary(chosen: list[TrackedRun]) -> None:
    rows = [
        {
            "run": run.name,
            "id": run.id[:6],
            "best": 100 * run.best[1] if run.best else None,
            "@ epoch": run.best[0] if run.best else None,
            "last": 100 * run.accuracy[-1] if run.accuracy else None,
            "epochs": max(run.epoch, 0),
            "parameters": run.architecture.parameters,
            "time": jobs.duration(run.seconds),
            "status": ui.STATUS[run.status],
        }
        for run in sorted(chosen, key=lambda run: -(run.best or (0, 0.0))[1])
    ]
    percent = st.column_config.NumberColumn(format="%.2f %%")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={"best": percent, "last": percent, "run": st.column_config.TextColumn(width="large")},
        alt="Best and last test accuracy of the chosen runs",
    )


def export(made: list[charts.Panel], tidy: pd.DataFrame) -> None:
    row = st.container(horizontal=True)
    row.download_button("CSV", lambda: tidy.to_csv(index=False).encode(), "curves.csv", "text/csv", on_click="ignore")
    for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml"), ("html", "text/html")):
        # made only when it is asked for: a picture takes a second
        row.download_button(
            kind.upper(),
            lambda kind=kind: charts.as_file(charts.together(made), kind),  # type: ignore[misc]
            f"curves.{kind}",
            mime,
            on_click="ignore",
        )


def page() -> None:
    st.title("Curves")
    found = ui.runs()
    if not found:
        ui.empty_state("No runs yet. Choose a preset in the sidebar and click **Train**.")
        return
    chosen = choose(found)
    if not chosen:
        ui.empty_state("Choose one or more runs above to lay their curves over one another.")
        return
    frame = pd.DataFrame(ui.params(chosen))
    facets, colour = charts.default_grouping(frame)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    measures = list(charts.MEASURES)
    measure = row.segmented_control(
        "Measure", measures, default="Loss", required=True, key="measure", bind="query-params"
    )
    options = row.pills(
        "Show",
        ["train figures", "test figures", "one y-axis", "log scale"],
        selection_mode="multi",
        default=["train figures", "test figures", "one y-axis"],
        key="show",
        bind="query-params",
    )
    with row.popover("Groups"):
        names = list(charts.GROUPS)
        facets = st.multiselect(
            "A chart for each", names, facets, max_selections=2, key=f"facets {len(frame)} {facets}"
        )
        rest = [name for name in names if name not in facets]
        colour = st.selectbox("Colour", rest, rest.index(colour) if colour in rest else 0, key=f"colour {facets}")
    every = 2.0 if any(run.active for run in chosen) else None
    st.fragment(view, run_every=every)(chosen, measure or "Loss", facets, colour, options)


page()
