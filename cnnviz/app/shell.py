"""Around every page: navigation, the guard, readable errors.

It imports nothing that takes long: a server's first visitor sees the app before PyTorch and MLflow are loaded.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import streamlit as st

from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.errors import CnnvizError

_SLOW = {"torch": "PyTorch", "mlflow": "MLflow", "cnnviz.app.launch": "cnnviz"}
_APP_RAN = Slot("app_ran", False)  # in the run that draws this page
_WORKER_SEEN_TO = Slot("worker_seen_to", False)


def navigation() -> Any:
    """The app's pages; a file's name is its address."""
    return st.navigation(
        [
            st.Page("pages/home.py", title="Home", icon=":material/home:", default=True),
            st.Page("pages/runs.py", title="Runs", icon=":material/list:"),
            st.Page("pages/curves.py", title="Curves", icon=":material/show_chart:"),
            st.Page("pages/feature_maps.py", title="Feature maps", icon=":material/grid_view:"),
        ],
        position="top",
    )


def begin() -> Any:
    """What app.py does before a page: the page that is asked for."""
    _APP_RAN.set(True)
    page = navigation()
    _load()
    if not _WORKER_SEEN_TO.get():
        from cnnviz.jobs import control

        with readable_errors():
            control.ensure_worker()  # runs whose worker died go on
        _WORKER_SEEN_TO.set(True)
    return page


def _load() -> None:
    """Import what takes seconds, once a server, and say so meanwhile."""
    if all(name in sys.modules for name in _SLOW):
        return
    place = st.empty()
    for step, (name, title) in enumerate(_SLOW.items()):
        place.progress(step / len(_SLOW), f"Starting: loading {title} …")
        importlib.import_module(name)
    place.empty()


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
        st.error(plain(str(error)), icon=":material/error:")
    except Exception as error:
        from cnnviz.app import error_log

        log = error_log.write(error)
        st.error(plain(f"Unexpected: {type(error).__name__}. Reload the page; the details are in {log}."))


def show(folder: str) -> None:
    """Draw the page of that folder, cnnviz.app.FOLDER.page; whatever goes wrong in it is reported in one line."""
    guard()
    with readable_errors():
        importlib.import_module(f"cnnviz.app.{folder}.page").page()
