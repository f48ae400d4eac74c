"""cnnviz: streamlit run app.py"""

import streamlit as st
from PIL import Image

from cnnviz.app import shell

icon = Image.frombytes("RGB", (2, 2), bytes.fromhex("0072b2e69f00009e73cc79a7")).resize(
    (32, 32), Image.Resampling.NEAREST
)
st.set_page_config(page_title="cnnviz", page_icon=icon, layout="wide")  # a named icon would be fetched from the network
page = shell.begin()

from cnnviz.app import launch  # noqa: E402 — it takes seconds the first time, and begin() has said so

with st.sidebar:
    launch.launcher()
with shell.readable_errors():
    page.run()
