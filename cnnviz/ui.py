"""What the pages share: navigation, the guard, readable errors, what is read from the store."""

import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from logging.handlers import RotatingFileHandler
from threading import Lock
from typing import Any

import pandas as pd
import streamlit as st

from cnnviz import paths, wording
from cnnviz.errors import CnnvizError
from cnnviz.jobs import processes
from cnnviz.render import curve_charts
from cnnviz.store import connection, reading
from cnnviz.store.runs import Run

STATUS = {
    "SCHEDULED": "◷ waiting",
    "RUNNING": "▶ training",
    "FINISHED": "✓ finished",
    "FAILED": "✕ failed",
    "KILLED": "■ stopped",
}


def navigation() -> Any:
    """The app's pages; a file's name is its address."""
    return st.navigation(
        [
            st.Page("pages/runs.py", title="Runs", icon=":material/list:", default=True),
            st.Page("pages/curves.py", title="Curves", icon=":material/show_chart:"),
            st.Page("pages/feature_maps.py", title="Feature maps", icon=":material/grid_view:"),
        ]
    )


def guard() -> None:
    """Streamlit runs a page without app.py when a fresh server is asked for its address: begin again with the app."""
    if not st.session_state.pop("app_ran", False):
        st.set_page_config(page_icon="🔍")  # else the page's own icon is fetched from the network
        navigation()
        st.rerun()


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """A CnnvizError as its one line; anything else as one line and its traceback in a log file."""
    try:
        yield
    except CnnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
    except Exception as error:
        log = paths.home() / "app.log"
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(log, maxBytes=processes.LOG_BYTES, backupCount=1, encoding="utf-8")
            logger = logging.getLogger("cnnviz.app")
            logger.addHandler(handler)
            logger.exception("unexpected")
            logger.removeHandler(handler)
            handler.close()
        st.error(plain(f"Unexpected: {type(error).__name__}. Reload the page; the details are in {log}."))


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:])", r"\\\1", text)


def is_dark() -> bool:
    return st.context.theme.type == "dark"


@st.cache_data(ttl=1.0, show_spinner=False)
def all_runs(uri: str) -> list[Run]:
    return reading.runs()


def runs() -> list[Run]:
    """All runs, newest first, at most a second old."""
    return all_runs(connection.tracking_uri())


class _Histories:
    """Recorded values that were read before: those of an epoch never change. Bounded; shared by all sessions."""

    MOST = 20_000  # lines of one metric of one run: 40 epochs of them take 2 KB each

    def __init__(self) -> None:
        self.lock, self.kept = Lock(), OrderedDict[tuple[str, str, tuple[str, ...]], tuple[int, pd.DataFrame]]()

    def read(self, uri: str, runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
        keys = {(uri, run.id, tuple(metrics)): run for run in runs}
        with self.lock:
            kept = {key: self.kept[key] for key in keys if key in self.kept}
        found = {key: part for key, (epoch, part) in kept.items() if epoch == keys[key].epoch}
        if new := {key: run for key, run in keys.items() if key not in found}:
            history = reading.history([run.id for run in new.values()], metrics)
            parts = dict(iter(history.groupby("run_id")))
            found |= {key: parts.get(run.id, history.iloc[:0].copy()) for key, run in new.items()}
        with self.lock:
            for key, part in found.items():
                self.kept[key] = keys[key].epoch, part
                self.kept.move_to_end(key)
            while sum(len(metrics) for _, _, metrics in self.kept) > self.MOST:
                self.kept.popitem(last=False)
        return pd.concat(found.values(), ignore_index=True)


@st.cache_resource(show_spinner=False)
def _histories() -> _Histories:
    return _Histories()


def history(found: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """tracking.history() of these runs, each epoch read once."""
    return _histories().read(connection.tracking_uri(), found, metrics)


def hues(parameter: str, found: Sequence[Run]) -> dict[str, str]:
    """The colours of a parameter's values among these runs: the same on every page, as long as the store only grows."""
    known = [vars(run.config)[parameter] for run in reversed(runs())]
    return curve_charts.hues([vars(run.config)[parameter] for run in found], known)


def stretches(run: Run) -> str:
    """Training time by stretch: "0 to 20: 4 min, 20 to 40: 2 min"."""
    starts = [segment.start_epoch for segment in run.segments]
    parts = zip(starts, [*starts[1:], run.epoch], run.segments, strict=False)
    return ", ".join(f"{start} to {end}: {wording.duration(segment.seconds)}" for start, end, segment in parts)


def refresh() -> None:
    """Draw the whole page anew, from the store as it is now."""
    st.cache_data.clear()
    st.rerun()


def label(run: Run) -> str:
    return f"{run.name} · {run.id[:6]}"


def empty_state(text: str) -> None:
    st.info(text, icon=":material/lightbulb:")
