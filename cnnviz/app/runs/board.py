"""The table of runs. Ticks are kept as ids: they stay with their runs, whatever becomes of the rows."""

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cnnviz import wording
from cnnviz.analysis import leaderboard
from cnnviz.app import widgets
from cnnviz.app.components.table import Column, Row, table
from cnnviz.app.runs import filters
from cnnviz.app.state import Slot
from cnnviz.store.runs import Run

TICKED = Slot[list[str]]("ticked_runs", [])  # ids, in the order of the ticks; also of runs that a filter hides
NOTHING = "–"

_HELP = {
    "@ epoch": "the best epoch",
    "last": "test accuracy after the last epoch",
    "epochs": "trained of those asked for",
    "time": "of training and testing",
}


def board(shown: Sequence[Run]) -> list[Run]:
    """Draw it; the ticked ones of these runs."""
    names, by = leaderboard.columns(shown), leaderboard.chosen_by(shown)
    first = ["name"] if any(leaderboard.own_name(run) for run in shown) else []
    last = ["note"] if any(leaderboard.note(run) for run in shown) else []
    top = max((value for run in shown for value in run.accuracy if not math.isnan(value)), default=1.0)
    columns = [Column("status")]
    columns += [Column("name", kind="long")] if first else []
    columns += [Column("best", f"test accuracy at the best epoch; {by}; ★ the best of those shown", "number")]
    columns += [Column(leaderboard.heading(name), kind=_kind(shown, name)) for name in names]
    columns += [Column(name, _HELP[name], "number") for name in ("@ epoch", "last")]
    columns += [Column("test accuracy", f"by epoch, 0 to {_percent(top)}", "line", sorts=False)]
    columns += [Column(name, _HELP[name], "number") for name in ("epochs", "time")]
    columns += [Column("started"), Column("run", "the run's id")]
    columns += [Column("note", kind="long")] if last else []
    stars = leaderboard.best(shown)
    rows = [
        Row(
            run.id,
            leaderboard.label(run, names),
            [
                widgets.status(run),
                *([leaderboard.own_name(run) or NOTHING] if first else []),
                ("★ " if run.id in stars else "") + _percent(run.best[1] if run.best else math.nan),
                *(leaderboard.value(run, name) for name in names),
                str(run.best[0]) if run.best else NOTHING,
                _percent(run.accuracy[-1] if run.accuracy else math.nan),
                [round(value / top, 3) if top else 0 for value in run.accuracy if not math.isnan(value)],
                f"{run.epoch if run.epoch >= 0 else NOTHING} / {run.config.epochs}",
                wording.duration(run.seconds) if run.segments else NOTHING,
                f"{run.created:%-d %b, %H:%M}",
                run.id[:8],
                *([leaderboard.note(run) or NOTHING] if last else []),
            ],
        )
        for run in shown
    ]
    order = filters.ORDER.get().removeprefix("-")
    descends = (order in leaderboard.DESCENDING) != filters.ORDER.get().startswith("-")
    titles = {leaderboard.heading(name): name for name in names}
    sorted_by = leaderboard.heading(order) if order in names else order
    table(
        "Runs",
        columns,
        rows,
        TICKED.get(),
        _tick,
        (sorted_by, descends),
        lambda title: filters.sort(titles.get(title, title)),
        key="runs_table",
    )
    if any(run.best for run in shown):
        st.caption(f"Best epochs were {by}.")
    ticked = set(TICKED.get())
    return [run for run in shown if run.id in ticked]


def _tick(changes: dict[str, bool]) -> None:
    kept = [run_id for run_id in TICKED.get() if changes.get(run_id, True)]
    TICKED.set(list(dict.fromkeys([*kept, *(run_id for run_id, on in changes.items() if on)])))


def forget(found: Sequence[Run]) -> None:
    """The ticks of runs that are gone."""
    ids = {run.id for run in found}
    if gone := [run_id for run_id in TICKED.get() if run_id not in ids]:
        TICKED.set([run_id for run_id in TICKED.get() if run_id not in gone])


def _percent(share: float) -> str:
    return wording.percent(share)


def _kind(shown: Sequence[Run], name: str) -> str:
    values: set[Any] = {getattr(run.config, name) for run in shown}
    return "number" if all(isinstance(value, int | float) for value in values) else "text"
