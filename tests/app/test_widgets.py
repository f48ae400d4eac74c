"""Small things that several pages show."""

from dataclasses import replace

from streamlit.testing.v1 import AppTest

from cnnviz.app import widgets
from cnnviz.config import RunConfig
from cnnviz.store import changes
from cnnviz.store.runs import Segment
from tests.helpers.runs import run
from tests.helpers.screens import said


def test_training_time_by_segment() -> None:
    segments = (Segment(0, 0.0, 240.0, "cpu", 1), Segment(20, 9e9, 90.0, "cpu", 1))
    assert widgets.segments(replace(run("a"), epoch=40, segments=segments)) == "0 to 20: 4 min, 20 to 40: 2 min"
    assert widgets.segments(run("a")) == ""


def _page() -> None:
    """Run by AppTest as a script of its own: a session with a cache, and a button that changes a run."""
    import streamlit as st

    from cnnviz.app import cache, widgets

    @st.cache_data
    def slow() -> str:
        st.session_state.asked = st.session_state.get("asked", 0) + 1
        return "made"

    st.caption(f"{slow()}, {len(cache.runs())} runs")
    if st.button("Refresh", key="refresh"):
        widgets.refresh()


def test_refreshing_reads_the_runs_again_and_leaves_other_caches_alone() -> None:
    app = AppTest.from_function(_page, default_timeout=20).run()
    assert "made, 0 runs" in said(app)
    changes.schedule([RunConfig(dataset="synthetic")], "cpu")
    app.button(key="refresh").click().run()
    assert "made, 1 runs" in said(app)
    assert app.session_state.asked == 1
