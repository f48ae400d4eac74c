"""The line about a cluster, with AppTest."""

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz.jobs import devices, nodes
from cnnviz.train.nodes import Node


def script() -> None:
    from cnnviz.app.watching import nodes

    nodes.line()


def test_a_cluster_is_one_line_with_its_nodes_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = AppTest.from_function(script).run()
    assert not opened.caption
    monkeypatch.setenv("CNNVIZ_RAY", "head:1")
    monkeypatch.setattr(devices, "no_cluster", lambda: "")
    monkeypatch.setattr(nodes.processes, "detached", lambda *arguments, **settings: None)
    assert [each.value for each in opened.run().caption] == ["The cluster is being looked at …"]
    nodes.note("head:1", [Node("a_b_", 8, 1, busy_cores=5), Node("c", 4, trouble="has no cnnviz")])
    (folded,) = opened.run().expander
    assert folded.label.replace("\\", "") == "Cluster: 1 node · 8 cores, 5 busy · 1 GPU, none busy · 1 cannot train"
    assert folded.caption[0].value == "- a\\_b\\_\\: 8 cores, 5 busy · 1 GPU, none busy\n- c\\: has no cnnviz"
    nodes.note("head:1", (), "the Ray cluster at head:1 does not answer")
    assert [each.value for each in opened.run().caption] == ["the Ray cluster at head\\:1 does not answer"]
