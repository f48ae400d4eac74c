import json
import math

import pandas as pd
import pytest

from cnnviz import charts


def frames(values: dict[str, list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and parameters of runs r0, r1, … with these test losses; accuracies are a tenth of them."""
    runs = [
        {"run_id": name, "name": name, "lr": 10.0**-index, "loss": "mse", "activation": "tanh"}
        for index, name in enumerate(values)
    ]
    rows = [
        (name, metric, epoch, value * factor)
        for name, line in values.items()
        for epoch, value in enumerate(line)
        for metric, factor in (("test_loss", 1), ("train_loss", 1), ("test_accuracy", 0.1), ("train_accuracy", 0.1))
    ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"]), pd.DataFrame(runs)


def tidy(values: dict[str, list[float]], measure: str = "Loss") -> pd.DataFrame:
    return charts.tidy(*frames(values), measure)


def test_units() -> None:
    assert tidy({"a": [2.0]}, "Accuracy").value.tolist() == pytest.approx([20, 20])
    assert tidy({"a": [2.0]}, "Error").value.tolist() == pytest.approx([80, 80])


def test_a_diverged_line_ends_at_a_marked_death_and_spares_the_rest() -> None:
    frame = tidy({"good": [2.0, 1.5, 1.0], "dead": [2.0, 9e30, math.nan], "gone": [2.0, math.inf, math.inf]})
    (panel,) = charts.panels(frame, "Loss", [], "lr", ["test"])
    spec = panel.chart.to_dict()
    text = json.dumps(spec)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert "diverged" in text
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < 1.0
    assert 2.0 < high < 20
    assert charts.clipped(frame)
    deaths = charts._deaths(frame)
    assert set(zip(deaths.run_id, deaths.epoch, strict=True)) == {("dead", 1), ("gone", 0)}


@pytest.mark.parametrize("measure", charts.MEASURES)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("line", [[2.0], [2.0] * 3, [1.0 / (1 + epoch) for epoch in range(500)], [math.nan] * 2, [0.0]])
def test_odd_lines_draw(measure: str, log: bool, line: list[float]) -> None:
    for panel in charts.panels(tidy({"odd": line}, measure), measure, [], "lr", log=log, legend=True):
        assert charts.as_file(charts.together([panel]), "svg").startswith(b"<svg")


def test_the_best_is_the_lowest_loss_and_the_highest_accuracy_after_training_began() -> None:
    line = {"a": [9.0, 5.0, 2.0, 3.0, 6.0]}
    assert charts._best(tidy(line), True).epoch.tolist() == [2]
    assert charts._best(tidy(line, "Accuracy"), False).epoch.tolist() == [4]


def test_one_axis_for_what_compares() -> None:
    history, runs = frames({"a": [2.0, 1.0], "b": [0.2, 0.1], "c": [4.0, 3.0]})
    runs["loss"] = ["cross_entropy", "mse", "cross_entropy"]
    runs["activation"] = ["tanh", "tanh", "sigmoid"]
    made = charts.panels(charts.tidy(history, runs, "Loss"), "Loss", ["activation", "loss"], "lr")
    domains = {panel.title: panel.chart.to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"] for panel in made}
    assert domains["sigmoid, cross entropy"] == domains["tanh, cross entropy"] != domains["tanh, mse"]


def test_groups_follow_what_differs() -> None:
    runs = pd.DataFrame(
        {"activation": ["tanh", "sigmoid"] * 2, "loss": ["mse"] * 2 + ["cross_entropy"] * 2, "lr": [0.1, 0.01] * 2}
    )
    assert charts.default_grouping(runs) == (["activation", "loss"], "lr")
    assert charts.default_grouping(runs.iloc[:1]) == ([], "lr")
    assert charts.default_grouping(runs.assign(lr=0.1)) == (["activation"], "loss")


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("html", b"<!DOCTYPE html>")])
def test_exports(kind: str, start: bytes) -> None:
    made = charts.panels(tidy({"a": [2.0, 1.0], "b": [1.0, 0.5]}), "Loss", [], "lr", legend=True)
    content = charts.as_file(charts.together(made), kind)
    assert content.strip().startswith(start)
    if kind == "html":
        assert b"src=" not in content.replace(b'src="data:', b"")[:200_000].split(b"<body")[0]


def test_probabilities_are_percent_and_name_the_true_class() -> None:
    text = json.dumps(charts.probabilities(["cat", "dog"], [0.25, 0.75], 0).to_dict())
    assert "cat (true)" in text
    assert "75.0 %" in text


def test_probabilities_before_and_after_keep_their_places() -> None:
    spec = charts.before_after(("ship", "cat"), [0.25, 0.75], [0.5, 0.5], true=1).to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(row["label"], row["when"], row["share"]) for row in rows] == [
        ("ship", "before", 25.0),
        ("cat (true)", "before", 75.0),
        ("ship", "after", 50.0),
        ("cat (true)", "after", 50.0),
    ]


def test_a_distribution_is_cut_to_its_filled_bins_and_adds_up_to_all() -> None:
    spec = charts.distribution([0, 1, 0, 3, 0], [0, 1, 2, 3, 4, 5], "c1").to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [(row["low"], row["high"], row["share"]) for row in rows] == [(1, 2, 25.0), (2, 3, 0.0), (3, 4, 75.0)]
    assert charts.distribution([0, 0], [0, 1, 2], "c1").to_dict()


def test_a_similarity_that_is_not_finite_stays_empty() -> None:
    spec = charts.similarity(["c1", "c3"], ["c1"], [[0.5], [float("nan")]], ("left", "right")).to_dict()
    assert next(iter(spec["datasets"].values())) == [{"row": "c1", "column": "c1", "value": 0.5, "text": "0.50"}]
