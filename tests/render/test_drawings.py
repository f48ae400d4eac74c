from typing import Any

import altair as alt
import pandas as pd

from cnnviz.render.drawings import Drawing, Rows, fingerprint

POINTS = pd.DataFrame({"x": [1, 2], "y": [0.5, float("nan")]})


def elsewhere(data: Any) -> Any:
    return {"name": "elsewhere"}


def drawn() -> Drawing:
    rows = Rows()
    dots = alt.Chart(rows.add(POINTS)).mark_point().encode(x="x:Q", y="y:Q")
    joined = alt.Chart(rows.add(POINTS.head(1))).transform_lookup("x", alt.LookupData(rows.add(POINTS), "x", ["y"]))
    return Drawing.of(dots + joined.mark_line().encode(x="x:Q", y="y:Q"), rows)


def test_a_whole_chart_has_its_data_whatever_altair_is_set_to_do_with_data() -> None:
    made = drawn()
    assert [len(rows) for rows in made.rows.values()] == [2, 1]  # equal rows are there once
    alt.data_transformers.register("elsewhere", elsewhere)
    with alt.data_transformers.enable("elsewhere"):
        whole, again = made.whole(), drawn().chart().to_dict()
    points = [{"x": 1, "y": 0.5}, {"x": 2, "y": None}]
    for data in (whole["layer"][0]["data"], whole["layer"][1]["transform"][0]["from"]["data"]):
        assert whole["datasets"][data["name"]] == points
    assert again["layer"][0]["data"]["values"] == points
    assert "elsewhere" not in str(again)


def test_a_chart_that_is_changed_leaves_the_drawing_as_it_is() -> None:
    made = drawn()
    made.whole()["layer"].clear()
    made.apart()["datasets"].clear()
    assert len(made.whole()["layer"]) == 2
    assert len(made.apart()["datasets"]) == 2


def test_a_fingerprint_is_of_values_and_columns() -> None:
    assert fingerprint(POINTS) == fingerprint(POINTS.copy())
    assert len({fingerprint(each) for each in (POINTS, POINTS.rename(columns={"y": "z"}), POINTS.fillna(0.0))}) == 3
