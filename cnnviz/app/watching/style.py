"""What the pictures of a training look like: one style sheet."""

from pathlib import Path

import streamlit as st


def once() -> None:
    """To be called by whatever needs it; it takes no room on the page."""
    st.html(Path(__file__).with_name("watching.css"))


def fill_screen() -> None:
    """For a projector: large type, and nothing of the app around the page."""
    st.html(Path(__file__).with_name("projector.css"))
