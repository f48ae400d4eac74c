"""cnnviz: streamlit run app.py"""

import streamlit as st

from cnnviz import jobs, ui

st.set_page_config(page_title="cnnviz", page_icon=":material/grid_view:", layout="wide")
st.session_state.app_ran = True
page = ui.navigation()
if "worker_seen_to" not in st.session_state:
    with ui.readable_errors():
        jobs.ensure_worker()  # runs whose worker died go on
    st.session_state.worker_seen_to = True
with st.sidebar:
    ui.launcher()
with ui.readable_errors():
    page.run()
