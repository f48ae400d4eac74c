"""Below the curves: why they look as they do."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cnnviz.analysis import comparison, costs
from cnnviz.app import cache, launch, shell
from cnnviz.app.curves import choices, settings
from cnnviz.app.markdown import plain
from cnnviz.app.state import text_key
from cnnviz.jobs import devices, estimate
from cnnviz.render import curve_charts
from cnnviz.store.runs import Run, figure_to_rank

SECTIONS = ("Which setting matters", "What differs", "Gradient flow", "Time")
# The findings stand beside the curves; an address of the version before may ask for them here.
SECTION = text_key("why", SECTIONS[0], parse=lambda text: SECTIONS[0] if text == "Findings" else text)
FLOW_WIDTH = 340  # pixels: three heat maps side by side, the caption of each in one line
MANY_PAIRS = 8  # from which they are folded


def section(chosen: Sequence[Run]) -> None:
    """One of the explanations below the curves."""
    st.divider()
    SECTION.offer(SECTIONS, SECTIONS[0] if comparison.differing(chosen) else "Gradient flow")
    name = st.segmented_control("Why", SECTIONS, required=True, key=SECTION.widget, label_visibility="collapsed")
    with shell.readable_errors():
        if name == "Which setting matters":
            settings.section(chosen)
        elif name == "What differs":
            differences(chosen)
        elif name == "Gradient flow":
            gradient_flow(chosen)
        else:
            time_taken(chosen)


def gradient_flow(chosen: Sequence[Run]) -> None:
    """What reaches which layer, by epoch: of the best and of the worst run, unless others are chosen."""
    by_id, titles = {run.id: run for run in chosen}, comparison.labels(chosen)
    begun = [key for key in by_id if by_id[key].epoch > 0]  # one that waits has nothing to show
    figure = figure_to_rank(chosen)
    ranked = sorted(begun or by_id, key=lambda key: -figure(by_id[key]))
    keys = st.multiselect(
        "Of which runs",
        list(by_id),
        list(dict.fromkeys([ranked[0], ranked[-1]])),
        format_func=titles.__getitem__,
        key="flow_runs",
    )
    runs = [by_id[key] for key in keys]
    layers = {run.id: [layer.name for layer in run.architecture.measured_layers] for run in runs}
    wanted = [f"{kind}/{name}" for kind in curve_charts.FLOWS for name in sorted(set().union(*layers.values()))]
    if not runs:
        return
    history = cache.history(runs, wanted)
    flows = {kind: curve_charts.flow(history, kind, layers) for kind in curve_charts.FLOWS}
    for run in runs:
        st.markdown(f"**{plain(titles[run.id])}**")
        row = st.container(horizontal=True)
        for kind, made in flows.items():
            with row.container(width=FLOW_WIDTH):
                st.caption(curve_charts.FLOWS[kind][1])
                if run.id in made:
                    name = f"{titles[run.id]}: {curve_charts.FLOWS[kind][1]}, by layer and epoch"
                    drawn, key = made[run.id].apart(), f"flow {run.id} {kind}"
                    st.vega_lite_chart(spec=drawn, width="stretch", key=key, alt=name)
                else:
                    st.caption("not recorded yet")


def differences(chosen: Sequence[Run]) -> None:
    """The parameter table, and which comparisons it allows."""
    st.dataframe(
        comparison.differences(chosen), hide_index=True, alt="Parameters of the chosen runs, differences first"
    )
    whole = [run for run in chosen if not run.parent]
    if len(whole) < len(chosen):
        st.caption("Forks are left out of the comparisons: their first epochs are their parent's.")
    pairs = comparison.controlled_pairs(whole)
    st.markdown("**Controlled comparisons**: runs that differ in one parameter alone")
    if not pairs:
        st.caption("There is none among these runs.")
    for parameter in dict.fromkeys(pair.parameter for pair in pairs):
        with st.expander(parameter.replace("_", " "), expanded=len(pairs) < MANY_PAIRS):
            for index, pair in enumerate(each for each in pairs if each.parameter == parameter):
                row = st.container(horizontal=True, vertical_alignment="center")
                row.markdown(plain(pair.sentence))
                ids = [run.id[:8] for run in (*pair.first.runs, *pair.second.runs)]
                if row.button("Show", key=f"pair {parameter} {index}", help="These curves alone"):
                    choices.RUNS.set(ids)
                    st.rerun()
    for index, case in enumerate(comparison.uncontrolled(whole)):
        st.warning(plain(case.sentence), icon=":material/join_inner:")
        if case.missing:
            cost = estimate.estimate(case.missing, devices.nearest(case.first.device))
            if st.button(f"Train the {len(case.missing)} missing, {cost.about}", key=f"missing {index}"):
                launch.launch(case.missing, case.first.device)


def time_taken(chosen: Sequence[Run]) -> None:
    """Why they took that long."""
    if not any(run.epoch > 0 for run in chosen):
        st.caption("None of these runs has been trained so far.")
        return
    on_cpu = all(run.device == "cpu" for run in chosen)
    peak = costs.machine_peak() if on_cpu else None
    found = costs.costs(chosen, cache.history(chosen, ["images_per_second"]), peak)
    st.markdown(plain(costs.explain(found)))
    whole = st.column_config.NumberColumn(format="localized")
    names = (
        "waited (s)",
        "set-up (s)",
        "wall time (s)",
        "own share (s)",
        "images/s",
        "parameters",
        "multiply-adds",
        "arithmetic (%)",
    )
    config: dict[str, Any] = dict.fromkeys(names, whole)
    config["weights moved (GB/s)"] = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        costs.table(found).drop(columns="run_id").round(dict.fromkeys(names, 0)),
        hide_index=True,
        column_config=config,
        alt="Time, size and speed of the chosen runs",
        placeholder="–",
    )
    st.caption(
        "From the click to the last result: waited in the queue, set-up (loading, compiling, recording), wall time of "
        "training and evaluation, which networks trained at once share; own share: one's part of it. Multiply-adds are "
        "for one picture forwards. Arithmetic: the share of a step it would take as fast as a wide convolution here."
    )
