"""Around every page: navigation, the guard, readable errors.

It imports nothing that takes long: a server's first visitor sees the app before PyTorch and MLflow are loaded.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import streamlit as st
from PIL import Image

from cnnviz.app.markdown import plain
from cnnviz.app.state import Slot
from cnnviz.errors import CnnvizError, UnreachableError
from cnnviz.loading import loading

_SLOW = {"torch": "PyTorch", "mlflow": "MLflow", "cnnviz.render.drawings": "Altair", "cnnviz.app.launch": "cnnviz"}
PAGES = {  # by address, the names of the files: title and icon
    "home": ("Home", "home"),
    "runs": ("Runs", "list"),
    "curves": ("Curves", "show_chart"),
    "feature_maps": ("Feature maps", "grid_view"),
    "mistakes": ("Mistakes", "rule"),
    "report": ("Report", "description"),
}
ICON = bytes.fromhex("0072b2e69f00009e73cc79a7")  # of 2 × 2 pixels
FORM_OPEN = Slot("form_open", False)  # the sidebar with the launch form; results have the room otherwise
_APP_RAN = Slot("app_ran", False)  # in the run that draws this page
_WORKER_SEEN_TO = Slot("worker_seen_to", False)


def navigation() -> Any:
    """The app's pages; a file's name is its address."""
    pages = [
        st.Page(f"pages/{name}.py", title=title, icon=f":material/{icon}:", default=name == "home")
        for name, (title, icon) in PAGES.items()
    ]
    return st.navigation(pages, position="top")


def begin() -> Any:
    """What app.py does first: the page that is asked for, with its name and the navigation."""
    _APP_RAN.set(True)
    # Before the navigation, whose named icons would be fetched from the network.
    st.set_page_config(page_title="cnnviz", page_icon=_icon(), layout="wide")
    page = navigation()
    sidebar: Literal["expanded", "collapsed"] = "expanded" if FORM_OPEN.get() else "collapsed"
    st.set_page_config(page_title=f"{page.title} · cnnviz", initial_sidebar_state=sidebar)
    st.html(Path(__file__).with_name("style.css"))
    with st.container(key="train_button"):  # beside the navigation, by style.css
        st.button(
            "New experiment",
            key="open_form",
            icon=":material/add:",
            on_click=_toggle_form,
            help="Show or hide the form",
        )
        scripts = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("history.js", "form.js")]
        with st.container(key="form_is_open" if FORM_OPEN.get() else "form_is_closed"):  # form.js looks for it
            # Here it takes no room on the page.
            st.html(f"<script>{''.join(scripts)}</script>", unsafe_allow_javascript=True)
    return page


def _icon() -> Image.Image:
    return Image.frombytes("RGB", (2, 2), ICON).resize((32, 32), Image.Resampling.NEAREST)


def _toggle_form() -> None:
    FORM_OPEN.set(not FORM_OPEN.get())


def is_loaded() -> bool:
    """Whether what takes seconds to import has been imported."""
    return all(name in sys.modules for name in _SLOW)


def load() -> None:
    """Import what takes seconds, once a server, and say so meanwhile; see that a worker is there if one is needed."""
    place = st.empty()  # always: were it not there later, all of the page would be put up anew
    if not is_loaded():
        with loading():
            for step, (name, title) in enumerate(_SLOW.items()):
                place.progress(step / len(_SLOW), f"Starting: loading {title} …")
                importlib.import_module(name)
        place.empty()
    if not _WORKER_SEEN_TO.get():
        from cnnviz.jobs import control

        with readable_errors():
            control.ensure_worker()  # runs whose worker died go on
        _WORKER_SEEN_TO.set(True)


def guard() -> None:
    """Streamlit runs a page without app.py when a fresh server is asked for its address: begin again with app.py."""
    if not _APP_RAN.pop():
        st.set_page_config(page_icon=_icon())  # else the page's own icon is fetched from the network
        navigation()
        st.rerun()


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """A CnnvizError as its one line; anything else as one line and its traceback in a log file."""
    try:
        yield
    except CnnvizError as error:
        st.error(plain(str(error)), icon=":material/error:")
        if isinstance(error, UnreachableError):
            from cnnviz.jobs.status import workers

            for line in dict.fromkeys(status.away for status in workers() if status.away):
                st.info(plain(f"{line}."), icon=":material/save:")
    except Exception as error:
        from cnnviz.app import error_log

        log = error_log.write(error)
        st.error(plain(f"Unexpected: {type(error).__name__}. Reload the page; the details are in {log}."))


def show(folder: str) -> None:
    """Draw the page of that folder, cnnviz.app.FOLDER.page; whatever goes wrong in it is reported in one line."""
    guard()
    with readable_errors():
        importlib.import_module(f"cnnviz.app.{folder}.page").page()
