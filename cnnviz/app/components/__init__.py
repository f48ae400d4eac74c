"""What Streamlit has no widget for: each a Python function, its JavaScript and its CSS."""

from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).parent


def component(name: str, html: str) -> Any:
    """The component of NAME.css and NAME.js."""
    css, js = ((_FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(f"cnnviz_{name}", html=html, css=css, js=js)
