"""Around every page: navigation, the guard, readable errors."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from typing import Any

import streamlit as st

from cnnviz import paths
from cnnviz.app import widgets
from cnnviz.app.state import Slot
from cnnviz.errors import CnnvizError
from cnnviz.jobs import control, processes

_APP_RAN = Slot("app_ran", False)  # in the run that draws this page
_WORKER_SEEN_TO = Slot("worker_seen_to", False)


def navigation() -> Any:
    """The app's pages; a file's name is its address."""
    return st.navigation(
        [
            st.Page("pages/runs.py", title="Runs", icon=":material/list:", default=True),
            st.Page("pages/curves.py", title="Curves", icon=":material/show_chart:"),
            st.Page("pages/feature_maps.py", title="Feature maps", icon=":material/grid_view:"),
        ]
    )


def begin() -> Any:
    """What app.py does before a page: the page that is asked for."""
    _APP_RAN.set(True)
    page = navigation()
    if not _WORKER_SEEN_TO.get():
        with readable_errors():
            control.ensure_worker()  # runs whose worker died go on
        _WORKER_SEEN_TO.set(True)
    return page


def guard() -> None:
    """Streamlit runs a page without app.py when a fresh server is asked for its address: begin again with app.py."""
    if not _APP_RAN.pop():
        st.set_page_config(page_icon="🔍")  # else the page's own icon is fetched from the network
        navigation()
        st.rerun()


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """A CnnvizError as its one line; anything else as one line and its traceback in a log file."""
    try:
        yield
    except CnnvizError as error:
        st.error(widgets.plain(str(error)), icon=":material/error:")
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
        st.error(widgets.plain(f"Unexpected: {type(error).__name__}. Reload the page; the details are in {log}."))


def show(page: Callable[[], None]) -> None:
    """Draw a page of the app; whatever goes wrong in it is reported in one line."""
    guard()
    with readable_errors():
        page()
