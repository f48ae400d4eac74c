"""A report made: its sections in order, each with what it shows and what was written for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cnnviz import data
from cnnviz.analysis import study
from cnnviz.data import Progress, silent
from cnnviz.errors import StoreError
from cnnviz.render.report import sections, vega
from cnnviz.render.report.pieces import Piece
from cnnviz.render.report.sections import Section
from cnnviz.render.report.sources import Sources, best
from cnnviz.store import reading
from cnnviz.store.reports import Report, State
from cnnviz.store.runs import Run
from cnnviz.wording import count

STUDY_TITLE = "What a small convolutional network learns, and why"


@dataclass(frozen=True)
class Chapter:
    """A section as it is handed in."""

    key: str
    title: str
    state: State  # never "left out"
    words: str  # Markdown
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Document:
    title: str
    made: datetime
    chapters: Sequence[Chapter]


def template(report: Report) -> list[Section]:
    """Its sections, in the chosen order."""
    every = {section.key: section for section in (sections.RUNS if report.runs else sections.STUDY)}
    return [every[key] for key in report.ordered(list(every))]


def title_of(report: Report) -> str:
    """Its own title, or else the template's."""
    if report.title.strip():
        return " ".join(report.title.split())
    return count(len(report.runs), "run") if report.runs else STUDY_TITLE


def make(report: Report, on_progress: Progress = silent) -> Document:
    """The document: what the runs' records say now. Raises StoreError for a run that is gone."""
    on_progress("reading the runs", 0.0)
    vega.prepare()
    sources = _sources(report, reading.runs())
    shown = [section for section in template(report) if report.state(section.key) != "left out"]
    needed = dict.fromkeys(part for section in shown for part in section.answers)
    sources.look_ahead([run for part in needed if (run := best(sources.of_part(part)))])
    total, done, chapters = sum(section.share for section in shown), 0.0, []
    for section in shown:
        on_progress(section.title, done / total)
        pieces = sections.pieces(section, sources)
        words = report.words.get(section.key, "")
        chapters.append(Chapter(section.key, section.title, report.state(section.key), words, pieces))
        done += section.share
    return Document(title_of(report), datetime.now(), chapters)


def _sources(report: Report, every: Sequence[Run]) -> Sources:
    if report.runs:
        known = {run.id: run for run in every}
        if gone := [run_id for run_id in report.runs if run_id not in known]:
            raise StoreError(f"{count(len(gone), 'run')} of this report no longer there ({gone[0][:8]}): choose others")
        return Sources([known[run_id] for run_id in report.runs], every)
    parts = study.checklist(every, dataset_of_study(every))
    ids = dict.fromkeys(run_id for part in parts if part.key in ("1a", "2a", "3a") for run_id in part.look)
    known = {run.id: run for run in every}
    return Sources([known[run_id] for run_id in ids], every, parts)


def dataset_of_study(every: Sequence[Run]) -> str:
    """The photographs, unless there are neither they nor runs on them."""
    on_photographs = any(run.config.dataset == "cifar10" for run in every) or data.available("cifar10")
    return "cifar10" if on_photographs else "synthetic"
