"""What trains and waits, drawn anew while it does; after its end, what has come of it."""

from collections.abc import Callable, Sequence

import streamlit as st

from cnnviz.analysis import headline, launches
from cnnviz.app import cache, shell, widgets
from cnnviz.app.markdown import plain
from cnnviz.app.state import flag_key
from cnnviz.app.watching import batch, board, chart, nodes, style
from cnnviz.app.watching.film import PICTURE, RUN, film
from cnnviz.jobs import control, stages
from cnnviz.jobs.status import WorkerStatus, workers
from cnnviz.store.runs import Run, figure_to_rank
from cnnviz.wording import count, duration, elapsed, listed

SECONDS = 1.5  # between two looks
PROJECTOR = flag_key("projector")
KEYS = (PROJECTOR, RUN, PICTURE)  # for Home's address


def section(found: Sequence[Run], update: Callable[[], object] = lambda: None) -> None:
    """What trains and waits, or the last launch; found: not empty; update: writes the address, after a choice."""
    _show(found, update, large=False)


def projector(found: Sequence[Run], update: Callable[[], object] = lambda: None) -> None:
    """For a class: what trains, or the last launch, over all of the screen and in large type, without controls."""
    style.fill_screen()
    st.button("✕", key="leave_projector", help="Leave (Escape)", shortcut="Esc", on_click=PROJECTOR.set, args=(False,))
    if found:
        _show(found, update, large=True)
    else:
        st.header("Nothing has been trained yet")


def _show(found: Sequence[Run], update: Callable[[], object], large: bool) -> None:
    style.once()
    if any(run.active for run in found):
        st.fragment(_live, run_every=SECONDS)(_state(found), update, large)
    else:
        _draw(batch.newest(found), update, large)


def _state(found: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    return tuple((run.id, run.status) for run in found)


def _live(known: tuple[tuple[str, str], ...], update: Callable[[], object], large: bool) -> None:
    with shell.readable_errors():  # app.py's are not around a fragment that runs by itself
        found = cache.runs()
        if _state(found) != known:
            st.rerun(scope="app")
        runs = batch.newest(found)
        _draw(runs, update, large, [run for run in found if run.active and run not in runs])


def _draw(runs: Sequence[Run], update: Callable[[], object], large: bool, later: Sequence[Run] = ()) -> None:
    with st.container(key="watching"):
        _drawn(runs, update, large, later)


def _drawn(runs: Sequence[Run], update: Callable[[], object], large: bool, later: Sequence[Run]) -> None:
    active = [run for run in runs if run.active]
    if active:
        _stages(active, len(runs), large)
        if waiting := [run.name for run in later if run.is_here]:
            st.caption(plain(f"{count(len(waiting), 'network')} after these: {listed(waiting)}"))
        if line := stages.elsewhere(later):
            st.caption(plain(line))
    else:
        _ended(runs, large)
    group = chart.grouping(runs)
    standings = launches.standings(runs, chart.lost(runs))
    left, right = st.columns([3, 2], gap="medium")
    with left.container(key="watching_charts"):
        chart.chart(runs, group, chart.LARGE if large else chart.SMALL)
    right.html(board.board(standings, {run.id: group.hue(run) for run in runs}))
    best = standings[0].run if standings[0].rank else None
    film(runs, best, update, controls=not large)


def _stages(active: Sequence[Run], many: int, large: bool) -> None:
    statuses = workers()
    if not any(status.alive for status in statuses):
        control.ensure_worker()
    training = [run for run in active if run.status == "RUNNING"]
    waiting = [run for run in active if run.status == "SCHEDULED"]
    head = count(many, "network") if len(active) == many else f"{len(active)} of {count(many, 'network')}"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(head + (" training" if training else " about to train"), anchor=False)
        if not large:
            with st.container(horizontal=True, width="content"):
                _stop(active)
                to_projector()
    for line in control.troubles(statuses, active):
        st.warning(plain(line), icon=":material/warning:")
    for status in statuses:
        hung(status)
    if line := stages.elsewhere(active):
        st.caption(plain(line))
    active = [run for run in active if run.is_here]
    if not active:
        return
    alive: list[WorkerStatus | None] = [status for status in statuses if status.alive]
    busy = [status for status in alive if status and stages.of_runs(status, active)]
    for each in busy or alive[:1] or [None]:
        st.html(board.steps(stages.steps(each, active)))
    if any(run.device == "cluster" for run in active) and not large:
        nodes.line()
    if waiting := [run for run in waiting if run.is_here and training]:
        st.caption(plain(f"{len(waiting)} waiting: {listed([run.name for run in waiting])}"))


def _ended(runs: Sequence[Run], large: bool) -> None:
    """What has come of them, where the stages were."""
    title, findings = headline.headline(runs, cache.findings(runs))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(plain(title), anchor=False)
        if not large:
            to_projector()
    took, finished = launches.took(runs), sum(run.status == "FINISHED" for run in runs)
    words = f"{count(finished, 'network')} finished" if finished else f"{count(len(runs), 'network')} ended"
    words += f" in {elapsed(took)}" if took is not None else ""
    for word, status in (("failed", "FAILED"), ("stopped", "KILLED")):
        if number := sum(run.status == status for run in runs):
            words += f", {number} {word}"
    st.markdown(plain(". ".join([words, *findings]) + "."))
    if not large:
        best = max(runs, key=figure_to_rank(runs))
        with st.container(horizontal=True):
            icon, which = ":material/show_chart:", {"runs": [run.id[:8] for run in runs]}
            st.page_link("pages/curves.py", label="Why? Look at the curves", icon=icon, query_params=which)
            icon = ":material/grid_view:"
            of = {"run": best.id[:8]}
            st.page_link("pages/feature_maps.py", label="Look inside the best one", icon=icon, query_params=of)
    for run in runs:
        if run.status == "FAILED" and run.message:
            st.warning(plain(f"{run.name}: {run.message}"), icon=":material/warning:")


def _stop(active: Sequence[Run]) -> None:
    """Asked once more: there is no way back but to continue them."""
    many = count(len(active), "network")
    place = st.popover("Stop", icon=":material/stop:", key="stop_watched", on_change="rerun")
    if place.open:
        with place:
            st.markdown("Each keeps its last complete epoch, and can be continued from there.")
            if st.button(f"Stop {many}", type="primary", icon=":material/stop:", key="stop_all_watched"):
                control.stop([run.id for run in active], ended_ok=True)
                st.toast(f"{many} stop after this step", icon=":material/stop:")
                widgets.refresh()


def to_projector() -> None:
    icon = ":material/present_to_all:"
    if st.button("Projector", key="to_projector", icon=icon):
        PROJECTOR.set(True)
        st.rerun()  # the whole page: what trains is drawn by a fragment


def hung(status: WorkerStatus) -> None:
    if (seconds := status.hangs_for) is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"The worker on {status.device} has not moved for {duration(seconds)}. "
            "Replaced, it goes on from the last complete epochs.",
            icon=":material/warning:",
        )
        if st.button("Replace it", key=f"replace {status.device}", icon=":material/restart_alt:"):
            control.replace_worker(status.device)
            st.rerun()
