"""Which runs are shown, and in which order. All of it is in the address."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cnnviz import wording
from cnnviz.analysis import leaderboard
from cnnviz.analysis.leaderboard import EVERYTHING
from cnnviz.app.markdown import plain
from cnnviz.app.state import Key, list_key, text_key, whole_number
from cnnviz.config import PARAMETERS
from cnnviz.store.runs import Run

FILTERED = ("status", *PARAMETERS)
MOST_PILLS = 12  # values of one thing


def _percents(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    found = whole_number(low), whole_number(high)
    if not 0 <= found[0] <= found[1] <= 100:
        raise ValueError("is not a range of percents such as 40-63")
    return found


SEARCH = text_key("search", key="runs_search")
VALUES = {name: list_key(name, key=f"runs_{name}") for name in FILTERED}
ACCURACY = Key[tuple[int, int]](
    "accuracy", EVERYTHING, _percents, lambda span: f"{span[0]}-{span[1]}", key="runs_accuracy"
)
ORDER = text_key("sort", leaderboard.ORDERS[0], key="runs_order")  # "-lr": the other way round
KEYS: tuple[Key[Any], ...] = (SEARCH, *VALUES.values(), ACCURACY, ORDER)
_ORDERS = [f"{sign}{name}" for name in leaderboard.ORDERS for sign in ("", "-")]


def controls(found: Sequence[Run]) -> list[Run]:
    """One line to search and filter; the runs that pass, in the order asked for."""
    SEARCH.offer([SEARCH.get()])
    ACCURACY.offer([ACCURACY.get()])
    options = {name: leaderboard.values(found, name) for name in FILTERED}
    for name, key in VALUES.items():
        key.offer(options[name])
    ORDER.offer(_ORDERS)
    shown = passing(found)
    if len(found) == len(shown) == 1:
        st.caption(plain(_in_common(shown)))
        return shown
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text_input(
            "Search runs",
            key=SEARCH.widget,
            type="search",
            placeholder="Search: tanh 0.01",
            label_visibility="collapsed",
            live="400ms",
            width=230,
        )
        # Drawn only while it is open: closed, the browser would go on reporting what it last showed there.
        place = st.popover("Filter", icon=":material/filter_list:", key="runs_filter", on_change="rerun")
        if place.open:
            with place:
                _choices(options, any(run.best for run in found))
        else:
            for key in VALUES.values():
                key.keep()
            ACCURACY.keep()
        if len(shown) < len(found):
            st.caption(f"**{len(shown)} of {len(found)} runs**{plain(_said())}", width="content")
            st.button("Show all", key="runs_all", type="tertiary", icon=":material/close:", on_click=clear)
        else:
            st.caption(wording.count(len(found), "run"), width="content")
    st.caption(plain(_in_common(shown) or "No run is like that."))
    return shown


def passing(found: Sequence[Run]) -> list[Run]:
    by = ORDER.get()
    shown = leaderboard.chosen(found, SEARCH.get(), {name: key.get() for name, key in VALUES.items()}, ACCURACY.get())
    return leaderboard.ordered(shown, by.removeprefix("-"), by.startswith("-"))


def sort(name: str) -> None:
    """By that column; by the one that sorts already, the other way round."""
    ORDER.set(f"-{name}" if ORDER.get() == name else name)


def clear() -> None:
    for key in KEYS:
        if key is not ORDER:
            key.set(key.default)


def _choices(options: dict[str, list[str]], has_figures: bool) -> None:
    for name, values in options.items():
        if len(values) > 1:
            key: Key[Any] = VALUES[name]
            kind = st.pills if len(values) <= MOST_PILLS else _multiselect
            kind(_title(name), values, format_func=plain, selection_mode="multi", key=key.widget)
    if has_figures:
        st.slider("best test accuracy", 0, 100, key=ACCURACY.widget, format="%d %%")


def _multiselect(title: str, values: Sequence[str], selection_mode: str, **how: Any) -> None:
    st.multiselect(title, values, **how)


def _title(name: str) -> str:
    return name if name == "status" else leaderboard.heading(name)


def _said() -> str:
    """What is asked for, beside the search."""
    parts = [f"{_title(name)} {', '.join(key.get())}" for name, key in VALUES.items() if key.get()]
    low, high = ACCURACY.get()
    parts += [f"{low} to {high} %"] if (low, high) != EVERYTHING else []
    return "".join(f" · {part}" for part in parts)


def _in_common(shown: Sequence[Run]) -> str:
    words = leaderboard.shared(shown)
    return f"All: {words}" if len(shown) > 1 and words else words
