"""What a page remembers, in the session and in its address."""

from collections.abc import Sequence
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def remembered(name: str, options: Sequence[T], default: T) -> T:
    """What is chosen under that name: in this session, else in the page's address, else the default.

    It is put in the session's state, so that a widget with this key shows it.
    """
    value = st.session_state.get(name, default)
    if name not in st.session_state and name in st.query_params:
        said = st.query_params[name]
        value = next((option for option in options if str(option) == said), default)
    if value not in options:
        value = default
    st.session_state[name] = value
    return value
