"""Which setting matters: heat maps of the best test accuracy, and how far each parameter alone moves it."""

from collections.abc import Sequence

import streamlit as st

from cnnviz.analysis import settings
from cnnviz.analysis.comparison import setting
from cnnviz.analysis.evidence import accuracy
from cnnviz.analysis.settings import Cell, HeatMaps
from cnnviz.app.components.heat import Bar, Square, heat
from cnnviz.app.curves import choices
from cnnviz.app.markdown import plain
from cnnviz.config import SETTINGS
from cnnviz.render.heat import bar, shades
from cnnviz.store.runs import Run
from cnnviz.wording import count, listed


def section(chosen: Sequence[Run]) -> None:
    maps = settings.heat_maps(chosen)
    if maps is None:
        st.caption("Choose two or more trained runs that differ in a parameter: then this shows which one matters.")
        return
    found = settings.spans(chosen)
    if found:
        st.markdown(plain(lead(found)))
    if cell := _draw(maps):
        choices.RUNS.set([run.id[:8] for run in cell.runs])
        st.rerun()
    st.caption(plain(" ".join([settings.caveat(maps, chosen), *settings.notes(maps, chosen)])))
    if not found:
        st.caption("No two of these runs differ in one parameter alone: “What differs” says which to train.")
        return
    st.markdown("**Each setting alone, the rest held fixed**: how far it moves the best test accuracy")
    st.markdown("\n".join(f"- **{plain(each.title)}**: {plain(each.says)}" for each in found))


def lead(found: Sequence[settings.Span]) -> str:
    """The answer in a sentence."""
    first, *rest = found
    name = first.title
    if rest and first.high == rest[0].high:
        return f"{name} and {rest[0].title.lower()} matter most here."
    return f"{name} matters most here: alone it moves the best test accuracy by up to {100 * first.high:.0f} points."


def _draw(maps: HeatMaps) -> Cell | None:
    """The cell that was just chosen."""
    cells, titles = maps.cells, [SETTINGS[name].title.lower() for name in maps.parameters]
    low, high = min(cell.mean for cell in cells), max(cell.mean for cell in cells)
    colours = dict(zip(map(id, cells), shades([cell.mean for cell in cells], low, max(high, low + 0.01)), strict=True))
    within = f"within {count(maps.epochs, 'epoch')}"
    place = heat(
        f"Best test accuracy {within} by {listed(titles)}",
        maps.columns,
        maps.rows,
        [
            (
                each.title,
                [[square(cell, maps, *colours[id(cell)]) if cell else None for cell in row] for row in each.cells],
            )
            for each in maps.maps
        ],
        Bar(
            f"Best test accuracy {within}, mean over seeds",
            accuracy(low),
            accuracy(high),
            bar(low, max(high, low + 0.01)),
        ),
        key="which_setting",
    )
    return maps.maps[place[0]].cells[place[1]][place[2]] if place else None


def square(cell: Cell, maps: HeatMaps, paper: str, ink: str) -> Square:
    """A cell with its mean, and the lowest and highest of its seeds."""
    short = "†" if cell.epochs < maps.epochs else ""
    spread = f"{100 * cell.low:.1f} to {100 * cell.high:.1f}"
    many = len(cell.runs) > 1 and (cell.seeds > 1 or cell.mixed)
    note = f"{spread}, n = {cell.seeds}" if many else "n = 1, no spread"
    config = vars(cell.runs[0].config)
    what = ", ".join(setting(name, config[name]) for name in maps.parameters)
    said = f"mean {accuracy(cell.mean)}, {spread} % over {count(cell.seeds, 'seed')}" if many else accuracy(cell.mean)
    if not many:
        said += ", one seed, no spread"
    if short:
        said += f", trained for {count(cell.epochs, 'epoch')} only"
    curves = "its curve" if len(cell.runs) == 1 else f"its {len(cell.runs)} curves"
    return Square(accuracy(cell.mean) + short, note, f"{what}: {said}. Show {curves}", paper, ink)
