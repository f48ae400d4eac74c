"""The sections of a report: their order, which are folded or left out, and what somebody writes between them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from cnnviz.app import shell
from cnnviz.app.components.writing import writing
from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.render.report import document
from cnnviz.render.report.sections import Section
from cnnviz.store import reports
from cnnviz.store.reports import MOST_WORDS, STATES, Report, State
from cnnviz.wording import count

PLACEHOLDER = "In Markdown: what you see, and why you think it is so"


def show(runs: Sequence[str]) -> None:
    """Drawn anew by itself, for whatever is written."""
    with shell.readable_errors():
        report = reports.load(runs)
        _title(report)
        sections = document.template(report)
        for place, section in enumerate(sections):
            _section(report, section, place, len(sections))


def _title(report: Report) -> None:
    slot = Slot(f"{report.key} title", "")
    slot.set(report.title)

    def keep() -> None:
        _change(report, lambda it: replace(it, title=slot.get()))

    st.text_input(
        "Title", key=slot.name, placeholder=document.title_of(replace(report, title="")), on_change=keep, max_chars=200
    )


def _section(report: Report, section: Section, place: int, many: int) -> None:
    key = f"{report.key} {section.key}"
    words = report.words.get(section.key, "")
    notes: list[str] = [] if report.state(section.key) == "open" else [report.state(section.key)]
    notes += [count(len(words.split()), "word")] if words.strip() else []
    if notes:  # not in the fold's label: with another one the browser closes it
        st.caption(f"↓ {' · '.join(notes)}")
    with st.expander(plain(section.title), key=f"{key} fold", on_change="rerun") as fold:
        if not fold.open:
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            state = Slot[State](f"{key} state", "open")
            state.set(report.state(section.key))

            def show_as() -> None:
                _change(report, lambda it: replace(it, states={**it.states, section.key: state.get()}))

            st.segmented_control(
                f"Show {section.title}",
                STATES,
                key=state.name,
                required=True,
                label_visibility="collapsed",
                on_change=show_as,
            )
            for name, by, ends in (("Up", -1, place == 0), ("Down", 1, place == many - 1)):
                st.button(name, key=f"{key} {name}", disabled=ends, on_click=_move, args=(report, section.key, by))
        keep = partial(_write, report, section.key)
        writing("Your own words", words, f"{key} words", keep, MOST_WORDS, PLACEHOLDER)


def _move(report: Report, section: str, by: int) -> None:
    def moved(it: Report) -> Report:
        order = [each.key for each in document.template(it)]
        place = order.index(section)
        order.insert(max(place + by, 0), order.pop(place))
        return replace(it, order=tuple(order))

    _change(report, moved)


def _write(report: Report, section: str, text: str) -> None:
    with shell.readable_errors():
        reports.write_words(report.runs, section, text)


def _change(report: Report, how: Callable[[Report], Report]) -> None:
    with shell.readable_errors():
        reports.change(report.runs, how)
