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
    state = Slot[State](f"{key} state", "open")
    state.set(report.state(section.key))
    with st.container(border=True, key=f"section {key}", gap="small"):
        st.markdown(f"**{plain(section.title)}**")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.selectbox(
                f"Show {section.title}",
                STATES,
                key=state.name,
                label_visibility="collapsed",
                width=120,
                on_change=lambda: _change(
                    report, lambda it: replace(it, states={**it.states, section.key: state.get()})
                ),
            )
            st.button(
                "Up",
                key=f"{key} up",
                disabled=place == 0,
                on_click=_move,
                args=(report, section.key, -1),
                help=f"Before the section above: {section.title}",
            )
            st.button(
                "Down",
                key=f"{key} down",
                disabled=place == many - 1,
                on_click=_move,
                args=(report, section.key, 1),
                help=f"After the section below: {section.title}",
            )
        words = report.words.get(section.key, "")
        sign = f" · {len(words.split())} words" if words.strip() else ""
        with st.expander(f"Your own words{sign}", key=f"{key} fold", on_change="rerun") as fold:
            if fold.open:
                keep = partial(_write, report, section.key)
                label = f"Your own words on: {section.title}"
                writing(label, words, f"{key} words", keep, MOST_WORDS, PLACEHOLDER)


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
