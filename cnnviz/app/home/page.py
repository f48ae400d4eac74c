"""Home: what there is to see, what has come of it, and what to do next."""

import streamlit as st

from cnnviz.app import cache, watching, widgets
from cnnviz.app.state import Address

ADDRESS = Address("pages/home.py")


def page() -> None:
    st.title("cnnviz")
    with ADDRESS.on_show():
        found = cache.runs()
        watching.section(found)
        if not found:
            widgets.empty_state(
                "No runs yet. Choose a preset in the sidebar and click **Train**: "
                "the curves grow here while the networks learn."
            )
