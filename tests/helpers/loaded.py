"""What the server of warm processes imports, and all that are forked from it have."""

import importlib

from cnnviz.loading import loading
from tests.helpers.migrations import read_migrations_once

with loading():  # no process forked from it looks through all of that for garbage, nor copies it in doing so
    for name in (
        *("cnnviz.jobs.worker", "cnnviz.jobs.control", "cnnviz.__main__"),
        *("cnnviz.render.curve_charts", "cnnviz.inspection.mistakes", "cnnviz.inspection.attribution"),
        *("streamlit.web.bootstrap", "streamlit.web.cli", "streamlit.components.v2"),
    ):
        importlib.import_module(name)
    read_migrations_once()
