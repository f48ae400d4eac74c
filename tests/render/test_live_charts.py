import itertools
import json
import math
import random

import pandas as pd
import vl_convert

from cnnviz.render import live_charts

LINES = pd.DataFrame(
    [(run, float(epoch), value) for run, value in (("a", 61.0), ("b", 61.5), ("c", 10.0)) for epoch in range(3)],
    columns=["run_id", "x", "value"],
)
NAMES = {"a": "lr 0.1", "b": "lr 0.01", "c": "lr 0.001"}


def test_the_axis_never_cuts_off_the_best_and_grows_in_steps() -> None:
    assert live_charts.top([]) == live_charts.top([10.0, math.nan]) == 30.0
    assert live_charts.top([57.9]) == 60.0
    assert live_charts.top([58.1]) == 70.0
    assert live_charts.top([99.5]) == 100.0


def test_names_lie_apart_in_the_order_of_their_lines_and_as_near_as_can_be() -> None:
    draws = random.Random(1)
    for many in (1, 2, 5, 12):
        places = [draws.uniform(5, 12) for _ in range(many)]
        found = live_charts.spread(places, 4.0, 0.0, 60.0)
        assert sorted(range(many), key=places.__getitem__) == sorted(range(many), key=found.__getitem__)
        assert all(after - before > 3.999 for before, after in itertools.pairwise(sorted(found)))
        assert min(found) > -1e-9
        assert max(found) < 60.001
    assert live_charts.spread([10.0, 50.0], 4.0, 0.0, 60.0) == [10.0, 50.0]
    assert live_charts.spread([59.0, 60.0], 4.0, 0.0, 60.0) == [56.0, 60.0]


def test_each_line_has_its_points_and_its_name_at_its_end() -> None:
    rows = live_charts.rows(LINES, NAMES, NAMES, (0.0, 20.0), 4.0, 70.0, 30)
    assert (rows.kind == "point").sum() == len(LINES)
    named = rows[rows.kind == "name"].set_index("run_id")
    assert named.x.tolist() == [2.0] * 3  # where the lines end so far
    assert (named.y == named.value).all()
    assert abs(named.y2["a"] - named.y2["b"]) >= 3.999
    assert named.name.to_dict() == NAMES


def test_names_that_would_be_cut_to_the_same_letters_are_left_out() -> None:
    names = {
        "a": "lenet5x5, dropout 0.3, batch 32",
        "b": "lenet5x5, dropout 0.3, batch 64",
        "c": "residual-8, dropout 0.3",
    }
    rows = live_charts.rows(LINES, names, names, (0.0, 20.0), 4.0, 70.0, 20)
    assert rows[rows.kind == "name"].run_id.tolist() == ["c"]
    assert rows[rows.kind == "point"].name.nunique() == 3  # their points still say whose they are
    whole = live_charts.rows(LINES, names, names, (0.0, 20.0), 4.0, 70.0, 31)
    assert (whole.kind == "name").sum() == 3


def test_the_chart_draws_with_and_without_points() -> None:
    spec = live_charts.spec((0.0, 20.0), 70.0, {"lr 0.1": "#0072b2"}, 9, 200, 12, "#000")
    for lines in (LINES, LINES.iloc[:0]):
        rows = live_charts.rows(lines, NAMES, NAMES, (0.0, 20.0), 4.0, 70.0, 30)
        values = json.loads(rows.to_json(orient="records"))
        drawn = vl_convert.vegalite_to_svg(spec | {"data": {"values": values}, "width": 300})
        assert ("lr 0.001" in drawn) == bool(len(lines))
        assert ">20<" in drawn  # x goes to the target from the beginning
        assert "NaN" not in drawn
