import json
import math
from typing import Any

import pandas as pd
import pytest
import vl_convert

from cnnviz.analysis import curves
from cnnviz.render import curve_charts
from cnnviz.render.colours import PALETTE
from cnnviz.render.curve_charts import View
from cnnviz.render.exports import as_file, together
from tests.helpers.runs import history, lines, run


def draw(frame: pd.DataFrame, view: View = View(), **how: Any) -> list[curve_charts.Panel]:  # noqa: B008 — frozen
    return curve_charts.panels(frame, view, curve_charts.hues(frame[view.colour]), **how)


def domain(panel: curve_charts.Panel) -> tuple[float, float]:
    low, high = panel.drawing.whole()["layer"][0]["encoding"]["y"]["scale"]["domain"]
    return low, high


def test_a_diverged_line_ends_at_a_marked_death_and_spares_the_rest() -> None:
    values = {"good": [2.0, 1.5, 1.0], "dead": [2.0, 9e30, math.nan], "gone": [2.0, math.inf, math.inf]}
    frame, view = lines(values), View(splits=("test",))
    (panel,) = draw(frame, view)
    text = json.dumps(panel.drawing.whole())
    assert "NaN" not in text
    assert "Infinity" not in text
    assert "diverged" in text
    low, high = domain(panel)
    assert low < 1.0
    assert 2.0 < high < 3.5
    assert curve_charts.ends_at(frame, view) == high
    assert curve_charts.ends_at(lines({"good": [2.0, 1.5, 1.0]}), view) is None


@pytest.mark.parametrize("measure", ["Error", "Accuracy"])
@pytest.mark.parametrize("same_axis", [True, False])
def test_the_one_run_that_learns_is_in_view_among_seventy_that_do_not(measure: str, same_axis: bool) -> None:
    stalled = {f"stalled {at}": [1.0, 1.1 + at / 100, 1.2] for at in range(72)}  # accuracies a tenth of it
    runs = [run(name, activation="sigmoid") for name in stalled] + [run("winner")]
    frame = lines(stalled | {"winner": [1.0, 4.0, 4.95]}, runs, measure=measure)
    view = View(measure, facets=("activation",), same_axis=same_axis)
    winning = draw(frame, view)[1]
    value = {"Error": 50.5, "Accuracy": 49.5}[measure]
    low, high = domain(winning)
    assert low <= value <= high
    assert winning.name.startswith(f"{measure} of tanh against epochs: 1 line. Best on test pictures: winner, {value}")
    assert curve_charts.ends_at(frame, view) is None


def test_all_panels_have_one_x_axis() -> None:
    runs = [run("a"), run("b", loss="mse")]
    made = draw(lines({"a": [2.0, 1.0], "b": [0.2] * 9}, runs), View(facets=("loss",)))
    spans = [panel.drawing.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] for panel in made]
    assert spans == [[0.0, 8.0]] * 2


def test_a_panel_is_drawn_anew_only_if_what_it_shows_is_new() -> None:
    runs = [run("a"), run("b", loss="mse"), run("c", loss="mse", lr=0.5)]
    values = {"a": [2.0, 1.0], "b": [0.2, 0.1], "c": [0.3, 0.15]}
    view = View(facets=("loss",))
    two = lines({name: values[name] for name in "ab"}, runs[:2])
    three = lines(values, runs)
    hues = curve_charts.hues(three.lr)
    (crossed, squared), (same, more) = (curve_charts.panels(each, view, hues) for each in (two, three))
    assert same is crossed
    assert more.name != squared.name
    found = pd.DataFrame({"run_id": ["a"], "epoch": [1], "what": ["overfitting since epoch 1"]})
    mark = curves.point(three, "b", 1)
    for how, anew in (
        ({"chosen": mark}, [False, True]),
        ({"segments": mark}, [False, True]),
        ({"findings": found}, [True, False]),
        ({"height": 90}, [True, True]),
    ):
        again = curve_charts.panels(three, view, hues, **how)
        assert [each not in (same, more) for each in again] == anew, how


@pytest.mark.parametrize("measure", curves.MEASURES)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("line", [[2.0], [2.0] * 3, [1.0 / (1 + epoch) for epoch in range(500)], [math.nan] * 2, [0.0]])
def test_odd_lines_draw(measure: str, log: bool, line: list[float]) -> None:
    for axis in curves.AXES:
        view = View(measure, axis, log_x=log, log_y=log, smoothing=1 + 4 * log)
        for panel in draw(lines({"odd": line}, measure=measure, axis=axis), view, legend=True):
            assert panel.drawing.whole()
    for panel in draw(lines({"odd": line}, measure=measure), View(measure, log_y=log), legend=True):
        assert as_file(together([panel]), "svg").startswith(b"<svg")


def test_one_axis_for_what_compares() -> None:
    runs = [run("a"), run("b", loss="mse"), run("c", activation="sigmoid")]
    frame = lines({"a": [2.0, 1.0], "b": [0.2, 0.1], "c": [4.0, 3.0]}, runs)
    found = {panel.title: domain(panel) for panel in draw(frame, View(facets=("activation", "loss")))}
    assert found["sigmoid, cross entropy"] == found["tanh, cross entropy"] != found["tanh, mse"]
    own = {panel.title: domain(panel) for panel in draw(frame, View(facets=("activation", "loss"), same_axis=False))}
    assert own["sigmoid, cross entropy"] != own["tanh, cross entropy"]


def test_noise_of_a_tenth_of_a_point_fills_no_axis() -> None:
    (panel,) = draw(lines({"a": [1.0, 1.01, 1.0]}, measure="Accuracy"), View("Accuracy"))
    low, high = domain(panel)
    assert high - low > 5
    assert low < 9 < 11 < high


def test_what_happens_is_marked_where_it_happens() -> None:
    runs = [run("a", starts=(0, 2))]
    frame = lines({"a": [3.0, 2.0, 1.0, 2.0]}, runs)
    findings = pd.DataFrame({"run_id": ["a"], "epoch": [2], "what": ["overfitting since epoch 2"]})
    (panel,) = draw(frame, segments=curves.segment_starts(frame, runs), findings=findings)
    spec = panel.drawing.whole()
    marked = {}
    for layer in spec["layer"]:
        if layer["mark"]["type"] == "point" and "what" in json.dumps(layer["encoding"]):
            (row,) = spec["datasets"][layer["data"]["name"]]
            marked[row["what"]] = (row["epoch"], row["value"], row["split"])
    assert marked == {
        "training was continued, or a fork left its parent": (2, 1.0, "test"),
        "best epoch": (2, 1.0, "test"),
        "overfitting since epoch 2": (2, 1.0, "test"),
    }
    assert panel.marks == ("segment", "best", "finding")


def test_marks_lie_above_what_the_pointer_finds_and_the_ring_below() -> None:
    runs = [run("a", activation="sigmoid"), run("b")]
    frame = lines({"a": [3.0, 2.0], "b": [3.0, math.nan]}, runs)
    chosen = curves.point(frame, "a", 1)
    panels = draw(frame, View(facets=("activation",)), chosen=chosen)
    layers = [
        [
            layer["mark"].get("shape", "ring" if layer["mark"].get("size") == 230 else layer["mark"]["type"])
            for layer in each
        ]
        for each in (panel.drawing.whole()["layer"] for panel in panels)
    ]
    assert layers == [["line", "ring", "point", "circle"], ["line", "point", "cross"]]
    spec = panels[0].drawing.whole()
    (ring,) = spec["datasets"][spec["layer"][1]["data"]["name"]]
    assert (ring["run_id"], ring["epoch"], ring["value"], ring["split"]) == ("a", 1, 2.0, "test")


def test_what_happened_to_one_run_is_not_marked_on_the_mean_of_its_seeds() -> None:
    runs = [run("a", seed=1, starts=(0, 1)), run("b", seed=2)]
    frame = lines({"a": [4.0, 2.0], "b": [6.0, 4.0]}, runs)
    findings = pd.DataFrame({"run_id": ["a"], "epoch": [1], "what": ["overfitting since epoch 1"]})
    marks = {"segments": curves.segment_starts(frame, runs), "findings": findings}
    (apart,), (mean,) = draw(frame, **marks), draw(curves.collapse(frame), **marks)
    for words in ("overfitting since epoch 1", "training was continued"):
        assert words in json.dumps(apart.drawing.whole())
        assert words not in json.dumps(mean.drawing.whole())


def test_smoothing_never_hides_the_raw_line() -> None:
    (panel,) = draw(lines({"a": [3.0, 1.0, 2.0]}), View(smoothing=3))
    drawn = [layer["mark"] for layer in panel.drawing.whole()["layer"] if layer["mark"]["type"] == "line"]
    assert [mark.get("opacity", 1) for mark in drawn] == [curve_charts.FAINT, 1]


def test_repeats_have_a_band() -> None:
    runs = [run("a", seed=1), run("b", seed=2)]
    (panel,) = draw(curves.collapse(lines({"a": [4.0, 2.0], "b": [6.0, 4.0]}, runs)))
    assert "area" in {layer["mark"]["type"] for layer in panel.drawing.whole()["layer"]}


def test_the_pointer_finds_the_nearest_line_and_tells_all_of_its_epoch() -> None:
    runs = [run("a", lr=0.5), run("b", lr=0.25)]
    (panel,) = draw(lines({"a": [4.0, 2.0], "b": [6.0, 4.0]}, runs))
    spec = panel.drawing.whole()
    pointer = next(layer for layer in spec["layer"] if "transform" in layer)
    titles = {tip["title"]: tip["field"] for tip in pointer["encoding"]["tooltip"] if "title" in tip}
    assert titles["nearest"] == "name"
    (joined,) = pointer["transform"]
    first = spec["datasets"][joined["from"]["data"]["name"]][0]
    assert first[titles["0.5 test"]] == 4.0
    assert first[titles["0.25 train"]] == 12.0
    (pick,) = (each for each in spec["params"] if each["name"] == "pick")
    assert (pick["select"]["fields"], pick["select"]["nearest"]) == (["run_id", "epoch"], True)


def test_of_many_lines_the_nearest_alone_is_told() -> None:
    runs = [run(str(index), lr=0.1 + index / 100) for index in range(20)]
    (panel,) = draw(lines({each.id: [2.0, 1.0] for each in runs}, runs))
    layers = panel.drawing.whole()["layer"]
    assert all("transform" not in layer for layer in layers)
    assert "nearest" in json.dumps(layers)


def test_a_value_keeps_its_colour_as_the_store_grows() -> None:
    known = [0.1, 0.01]
    before = curve_charts.hues([0.01], known)
    assert curve_charts.hues([0.5, 0.01], [*known, 0.5])["0.01"] == before["0.01"] == PALETTE[1]
    many = [float(value) for value in range(20)]
    clashing = curve_charts.hues([0.0, 8.0], many)  # the same place in the palette
    assert len(set(clashing.values())) == 2


def test_strokes_tell_a_parameters_values_apart() -> None:
    runs = [run("a", batch_size=10), run("b", batch_size=100)]
    (panel,) = draw(lines({"a": [2.0, 1.0], "b": [3.0, 2.0]}, runs), View(stroke="batch_size", splits=("test",)))
    scale = panel.drawing.whole()["layer"][0]["encoding"]["strokeDash"]["scale"]
    assert scale["domain"] == ["100", "10"]
    assert scale["range"][0] != scale["range"][1]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(2e-5, 3e-3, [1e-4, 1e-3]), (1e-9, 1.0, [1e-9, 1e-6, 1e-3, 1.0]), (0.2, 0.5, [0.2, 0.5]), (0.3, 0.3, [0.3])],
)
def test_a_colour_bar_has_at_most_four_ticks(low: float, high: float, found: list[float]) -> None:
    assert curve_charts.ticks(low, high) == pytest.approx(found)


def test_gradient_flow_is_layer_by_epoch() -> None:
    rows = [("a", f"grad_norm/{layer}", epoch, 0.1) for layer in ("c1", "fc2") for epoch in range(3)]
    recorded = pd.DataFrame([*rows, ("a", "grad_norm/c1", 3, math.nan)], columns=["run_id", "metric", "epoch", "value"])
    recorded = pd.concat([recorded, recorded.assign(run_id="b", value=10.0)])
    layers = {"a": ["c1", "fc2"], "b": ["c1", "fc2"]}
    made = curve_charts.flow(recorded, "grad_norm", layers)
    assert list(made) == ["a", "b"]
    spec = made["a"].whole()
    assert len(spec["datasets"][spec["data"]["name"]]) == 6
    assert spec["encoding"]["y"]["scale"]["domain"] == ["c1", "fc2"]
    assert spec["encoding"]["x"]["scale"]["domain"] == [-0.5, 3.5]
    assert [made[each].spec["encoding"]["color"]["scale"]["domain"] for each in "ab"] == [[0.1, 10.0]] * 2
    assert curve_charts.flow(recorded, "saturation", layers) == {}


def test_a_gradient_of_exactly_zero_is_written_where_a_log_scale_has_no_colour_for_it() -> None:
    rows = [(run, "grad_norm/c1", epoch, value) for run, value in (("a", 0.1), ("dead", 0.0)) for epoch in range(3)]
    recorded = pd.DataFrame([*rows, ("dead", "grad_norm/c1", 3, 1e-3)], columns=["run_id", "metric", "epoch", "value"])
    made = curve_charts.flow(recorded, "grad_norm", {"a": ["c1"], "dead": ["c1"]})
    assert "layer" not in made["a"].spec
    spec = made["dead"].whole()
    coloured, written = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
    assert [row["epoch"] for row in coloured] == [3]
    assert [row["epoch"] for row in written] == [0, 1, 2]
    drawn = vl_convert.vegalite_to_svg(spec | {"width": 300})
    assert drawn.count(">epoch<") == 1
    assert "NaN" not in drawn


def test_the_history_of_these_tests_is_of_the_stores_form() -> None:
    assert history({"a": [1.0]}).columns.tolist() == ["run_id", "metric", "epoch", "value"]
