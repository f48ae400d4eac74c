"""cnnviz: streamlit run app.py"""

import streamlit as st

from cnnviz.app import shell
from cnnviz.app.home import opening

page = shell.begin()
if page.title == "Home":
    opening.first()
shell.load()

from cnnviz.app import launch  # noqa: E402 — it takes seconds the first time, and load() has said so
from cnnviz.app.watching.pill import pill  # noqa: E402

with st.sidebar:
    launch.launcher()
pill(page)
with shell.readable_errors():
    page.run()
