"""The cluster in one line, its nodes folded."""

import streamlit as st

from cnnviz.app.markdown import plain
from cnnviz.jobs import devices, nodes


def line() -> None:
    """Nothing where no cluster is named."""
    if "cluster" not in devices.available():
        return
    address = devices.cluster_address()
    nodes.look(address)
    found = nodes.seen(address)
    if found is None:
        st.caption("The cluster is being looked at …")
    elif not found.nodes:
        st.caption(plain(nodes.headline(found)))
    else:
        with st.expander(plain(f"Cluster: {nodes.headline(found)}")):
            st.caption(
                "\n".join(f"- {plain(f'{node.name}: {node.trouble or nodes.used(node)}')}" for node in found.nodes)
            )
