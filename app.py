"""cnnviz: streamlit run app.py"""

import streamlit as st
from PIL import Image

from cnnviz.app import launch, shell
from cnnviz.jobs import control

icon = Image.frombytes("RGB", (2, 2), bytes.fromhex("0072b2e69f00009e73cc79a7")).resize(
    (32, 32), Image.Resampling.NEAREST
)
st.set_page_config(page_title="cnnviz", page_icon=icon, layout="wide")  # a named icon would be fetched from the network
st.session_state.app_ran = True
page = shell.navigation()
if "worker_seen_to" not in st.session_state:
    with shell.readable_errors():
        control.ensure_worker()  # runs whose worker died go on
    st.session_state.worker_seen_to = True
with st.sidebar:
    launch.launcher()
with shell.readable_errors():
    page.run()
