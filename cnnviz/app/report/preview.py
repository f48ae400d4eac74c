"""The report as it will be: made when it is asked for, shown, and downloaded."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st
import torch

from cnnviz.app import cache, shell, widgets
from cnnviz.app.state import Slot
from cnnviz.render.report import archive, document, page
from cnnviz.render.report.document import Document
from cnnviz.store import reports
from cnnviz.store.reports import Report
from cnnviz.wording import duration

HEIGHT = 900  # pixels
MOST_NAME = 60  # characters of a file's name
FIGURES = 0.85  # of the time that making takes; the rest is writing the file


@dataclass(frozen=True)
class Made:
    report: Report  # as it was then
    epochs: tuple[tuple[str, int, int | None], ...]  # of the store's runs, then
    document: Document
    html: str


_MADE = Slot[Made | None]("report_made", None)


def show(runs: Sequence[str]) -> None:
    """Drawn anew by itself."""
    with shell.readable_errors():
        report = reports.load(runs)
        made = _MADE.get()
        if made is not None and made.report.key != report.key:
            made = None
        with st.container(horizontal=True, vertical_alignment="center"):
            pressed = st.button(
                "Make it again" if made else "Make the report",
                type="secondary" if made else "primary",
                key="report_make",
                icon=":material/description:",
            )
            place = st.container(horizontal=True, width="content")
        if pressed:
            made = make(report)
            _MADE.set(made)
        if made is None:
            widgets.empty_state(
                "One file with all that is on the left: it opens in any browser without a network, and prints. "
                "It takes some 20 seconds."
            )
            return
        with place:
            _downloads(made)
        if (made.report, made.epochs) != (report, _epochs()):
            st.caption("Something has changed since it was made: make it again.")
        st.iframe(made.html, height=HEIGHT, alt=f"Report: {made.document.title}")


def make(report: Report) -> Made:
    bar, began = st.progress(0.0, "Making the report …"), time.monotonic()

    def said(share: float, offset: float) -> Callable[[str, float], None]:
        def show(message: str, fraction: float) -> None:
            done = min(offset + share * fraction, 1.0)
            gone = time.monotonic() - began
            left = f", {duration(gone * (1 - done) / done)} left" if done > 0.1 else ""
            bar.progress(done, f"{message}{left}".replace("[", "\\["))

        return show

    torch.set_num_threads(1)  # more would only wait for the cores that train
    epochs = _epochs()
    made = document.make(report, said(FIGURES, 0.0))
    html = page.as_html(made, said(1 - FIGURES, FIGURES))
    bar.empty()
    return Made(report, epochs, made, html)


def _downloads(made: Made) -> None:
    name = file_name(made.document.title)
    st.download_button(
        f"HTML, {len(made.html.encode()) / 1e6:.1f} MB",
        made.html,
        f"{name}.html",
        "text/html",
        key="report_html",
        on_click="ignore",
        type="primary",
        icon=":material/download:",
    )
    st.download_button(
        "Markdown and pictures",
        lambda: archive.as_zip(made.document),  # takes seconds: only when it is asked for
        f"{name}.zip",
        "application/zip",
        key="report_zip",
        on_click="ignore",
    )


def file_name(title: str) -> str:
    """A name of a file that any system takes: "What a network learns" → "what-a-network-learns"."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower())[:MOST_NAME].strip("-") or "report"


def _epochs() -> tuple[tuple[str, int, int | None], ...]:
    return tuple((run.id, run.epoch, run.half_since) for run in cache.runs())
