"""Charts of one network's figures: what is in their data."""

import json

from cnnviz.render import network_charts


def test_probabilities_are_percent_and_name_the_true_class() -> None:
    text = json.dumps(network_charts.probabilities(["cat", "dog"], [0.25, 0.75], 0).to_dict())
    assert "cat (true)" in text
    assert "75.0 %" in text


def test_probabilities_before_and_after_keep_their_places() -> None:
    spec = network_charts.before_after(("ship", "cat"), [0.25, 0.75], [0.5, 0.5], true=1).to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(row["label"], row["when"], row["share"]) for row in rows] == [
        ("ship", "before", 25.0),
        ("cat (true)", "before", 75.0),
        ("ship", "after", 50.0),
        ("cat (true)", "after", 50.0),
    ]


def test_a_distribution_is_cut_to_its_filled_bins_and_adds_up_to_all() -> None:
    spec = network_charts.distribution([0, 1, 0, 3, 0], [0, 1, 2, 3, 4, 5], "c1").to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(row["low"], row["high"], row["share"]) for row in rows] == [(1, 2, 25.0), (2, 3, 0.0), (3, 4, 75.0)]
    assert network_charts.distribution([0, 0], [0, 1, 2], "c1").to_dict()


def test_a_similarity_that_is_not_finite_stays_empty() -> None:
    spec = network_charts.similarity(
        ["c1", "c3", "s4"], ["c1"], [[0.5], [float("nan")], [-0.001]], [[0.1], [0.1], [0.2]], ("left", "right")
    ).to_dict()
    assert next(iter(spec["datasets"].values())) == [
        {"row": "c1", "column": "c1", "value": 0.5, "error": 0.1, "text": "0.50"},
        {"row": "s4", "column": "c1", "value": -0.001, "error": 0.2, "text": "0.00"},
    ]
