"""What each parameter of an address means: every one that a version ever wrote shows what it showed then."""

from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import cache
from cnnviz.app.curves.reasons import SECTIONS
from cnnviz.app.maps import uploads
from cnnviz.store import reading
from tests.helpers.runs import recorded, seed
from tests.helpers.screens import diagram, said, with_open

pytestmark = pytest.mark.usefixtures("few_pictures", "no_worker")


def opened(page: str, /, **address: object) -> AppTest:
    app = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    app.switch_page(f"pages/{page}.py")
    for name, value in address.items():
        app.query_params[name] = value
    app.session_state[uploads.MORE.name] = True
    return with_open(app, *(POPOVERS if page == "curves" else ["maps_layout"]))


def two_runs() -> list[str]:
    """They differ in learning rate and seed, and in when the first ended."""
    return [run_id[:8] for run_id in seed([0.1, 0.4, 0.5], [0.1, 0.3])]


def widget(app: AppTest, kind: str, key: str) -> Any:
    return getattr(app, kind)(key=key).value


POPOVERS = ("curves_runs", "curves_layout")  # what stands in them is drawn while they are open
CURVES = {  # parameter → its texts in an address, the widget that shows it, and what that shows
    "measure": ("Accuracy", "selectbox", "Accuracy"),
    "axis": ("Images", "segmented_control", "Images"),
    "facets": (["loss", "lr"], "multiselect", ["loss", "lr"]),
    "colour": ("seed", "selectbox", "seed"),
    "stroke": ("batch_size", "selectbox", "batch_size"),
    "splits": (["test"], "pills", ["test"]),
    "smoothing": ("5", "select_slider", 5),
    "show": (["log y", "seeds apart"], "pills", ["log y", "seeds apart"]),
    "why": ("What differs", "segmented_control", "What differs"),
}


def test_every_parameter_of_the_curves() -> None:
    first, second = two_runs()
    asked = {name: text for name, (text, _, _) in CURVES.items()}
    app = opened("curves", runs=[second, first], at=second, epoch="1", **asked)
    assert not app.error
    assert widget(app, "multiselect", "curve_runs") == [second, first]
    assert (widget(app, "selectbox", "curve_run"), widget(app, "number_input", "curve_epoch")) == (second, 1)
    for name, (_, kind, value) in CURVES.items():
        assert widget(app, kind, name) == value, name
    assert not app.warning


@pytest.mark.parametrize(
    ("page", "asked", "key"),
    [
        ("curves", "runs", "curve_runs"),
        ("feature_maps", "run", "run"),
        ("mistakes", "other", "other"),
        ("report", "runs", "report_runs"),
    ],
)
def test_a_run_recorded_a_moment_ago_is_there(monkeypatch: pytest.MonkeyPatch, page: str, asked: str, key: str) -> None:
    listed = st.cache_data(ttl=1000.0, show_spinner=False)(lambda uri: reading.runs())
    monkeypatch.setattr(cache, "all_runs", listed)  # kept longer than this test takes
    recorded()
    cache.runs()
    run = recorded("f30")
    app = opened(page, **{asked: run})
    assert not app.warning
    assert app.session_state[key] in (run, [run])
    later = recorded("f12")
    assert later not in {each.id[:8] for each in cache.runs()}  # once a visit is enough
    app.run()
    assert later not in {each.id[:8] for each in cache.runs()}


@pytest.mark.parametrize("name", ["facets", "splits", "show"])
def test_a_list_that_was_emptied_stays_empty(name: str) -> None:
    two_runs()
    app = opened("curves", **{name: ""})
    assert not app.error
    assert widget(app, CURVES[name][1], name) == []


def test_the_curves_without_an_address() -> None:
    runs = two_runs()
    app = opened("curves")
    assert sorted(widget(app, "multiselect", "curve_runs")) == sorted(runs)
    assert (widget(app, "selectbox", "curve_run"), widget(app, "number_input", "curve_epoch")) == (
        runs[0],
        2,
    )  # the best
    defaults = ["Error", "Epochs", [], "lr", "split", ["train", "test"], 1, ["one y-axis", "findings"], SECTIONS[0]]
    assert [widget(app, kind, name) for name, (_, kind, _) in CURVES.items()] == defaults


def test_an_address_of_the_version_before_shows_its_epoch_on_the_best_run() -> None:
    best, other = two_runs()
    old = {"measure": "Accuracy", "splits": ["test"], "facets": ["lr"], "show": ["log y"], "epoch": "1"}
    app = opened("curves", runs=[other, best], why="Gradient flow", **old)
    assert not app.error
    assert not app.warning
    assert (widget(app, "selectbox", "curve_run"), widget(app, "number_input", "curve_epoch")) == (best, 1)
    assert widget(app, "segmented_control", "why") == "Gradient flow"
    app.selectbox(key="curve_run").set_value(other).run()
    assert (app.query_params["at"], app.query_params["epoch"]) == (other, "1")


def test_a_choice_whose_run_is_not_on_show_any_more_goes_back_to_the_best() -> None:
    best, other = two_runs()
    app = opened("curves", runs=[best, other], at=best, epoch="1")
    app.multiselect(key="curve_runs").set_value([other]).run()
    assert not app.warning
    assert (widget(app, "selectbox", "curve_run"), widget(app, "number_input", "curve_epoch")) == (other, 1)


def by_menu(app: AppTest, page: str) -> AppTest:
    """As a click on its link in the navigation, whose address says nothing."""
    app.switch_page(f"pages/{page}.py")
    app.query_params.clear()
    return with_open(app, *(POPOVERS if page == "curves" else []))


def test_a_page_that_is_left_by_the_menu_shows_again_what_was_chosen() -> None:
    best, other = two_runs()
    app = opened("curves", runs=[other], at=other, epoch="1", measure="Accuracy", why="Time")
    by_menu(app, "feature_maps")
    app.selectbox(key="other").set_value(other).run()
    app.segmented_control(key="view").set_value("why").run()
    by_menu(app, "curves")
    assert not app.warning
    assert widget(app, "multiselect", "curve_runs") == [other]
    assert (widget(app, "selectbox", "curve_run"), widget(app, "number_input", "curve_epoch")) == (other, 1)
    assert widget(app, "selectbox", "measure") == "Accuracy"
    assert widget(app, "segmented_control", "why") == "Time"
    assert app.query_params["measure"] == "Accuracy"
    by_menu(app, "feature_maps")
    assert (widget(app, "selectbox", "run"), widget(app, "selectbox", "other")) == (best, other)
    assert widget(app, "segmented_control", "view") == "why"

    app.switch_page("pages/curves.py")
    app.query_params.clear()
    app.query_params["runs"] = best  # an address of its own: the rest is as it would be without that visit
    with_open(app, *POPOVERS)
    assert widget(app, "multiselect", "curve_runs") == [best]
    assert widget(app, "selectbox", "measure") == "Error"


def test_the_newest_experiment_is_shown_until_another_is_chosen() -> None:
    runs = two_runs()
    app = opened("curves", measure="Loss")
    by_menu(app, "runs")
    newer = [run_id[:8] for run_id in seed([0.1, 0.2])]
    cache.all_runs.clear()
    by_menu(app, "curves")
    assert sorted(widget(app, "multiselect", "curve_runs")) == sorted([*runs, *newer])  # launched within seconds
    assert widget(app, "selectbox", "measure") == "Loss"


MAPS = {
    "epoch": ("1", "select_slider", 1),
    "other_epoch": ("0", "selectbox", "0"),
    "source": ("test", "segmented_control", "test"),
    "order": ("random", "selectbox", "random"),
    "seed": ("7", "number_input", 7),
    "class": ("ring", "selectbox", "ring"),
    "page": ("2", "number_input", 2),
    "picture": ("11", "number_input", 11),
    "scale": ("channel", "radio", "channel"),
    "before": ("True", "toggle", True),
}


def test_every_parameter_of_the_feature_maps() -> None:
    run, other = recorded(), recorded(activation="sigmoid")
    asked = {name: text for name, (text, _, _) in MAPS.items()}
    clicked = {"view": "maps", "of": "other", "layer": "c3", "channel": "4", "cell": "3.4"}
    app = opened("feature_maps", run=run, other=other, change=["c3.12:off", "c1.2:epoch-0"], **asked, **clicked)
    assert not app.error
    assert (widget(app, "selectbox", "run"), widget(app, "selectbox", "other")) == (run, other)
    for name, (_, kind, value) in MAPS.items():
        assert widget(app, kind, name) == value, name
    assert widget(app, "multiselect", "change") == ["c3.12:off", "c1.2:epoch-0"]
    assert widget(app, "segmented_control", "view") is None
    assert "c3 · channel 4** of sigmoid" in said(app).replace("\\", "")
    assert "c3[4] at row 3, column 4: " in app.code[0].value
    assert not app.warning


@pytest.mark.parametrize(
    ("view", "parameter", "text"),
    [("why", "target", "3"), ("match", "matched", "c1_activation"), ("sheet", "sheet_layer", "s2")],
)
def test_what_a_view_of_its_own_keeps(view: str, parameter: str, text: str) -> None:
    run, other = recorded(epochs=1), recorded(epochs=1, activation="sigmoid")
    app = opened("feature_maps", run=run, other=other, view=view, **{parameter: text})
    assert not app.error
    assert widget(app, "segmented_control", "view") == view
    assert widget(app, "selectbox", parameter) == text
    assert app.query_params[parameter] == text


@pytest.mark.parametrize("source", ["upload", "camera"])
def test_a_picture_from_outside(source: str) -> None:
    app = opened("feature_maps", run=recorded(epochs=1), source=source)
    assert widget(app, "segmented_control", "source") == source
    assert app.query_params["source"] == source


def test_what_a_view_does_not_show_stays_in_the_address() -> None:
    run = recorded(epochs=1)
    kept = {"scale": "layer", "layer": "c1_activation", "channel": "2", "cell": "1.1"}
    app = opened("feature_maps", run=run, view="why", target="3", **kept)
    assert {name: app.query_params[name] for name in kept} == kept
    app.segmented_control(key="view").set_value(None).run()
    assert diagram(app)["rows"][0]["columns"][0]["extent"].startswith("−")
    assert diagram(app)["selected"] == ["run", "c1_activation", 2]
    assert "channel 2" in said(app)
    assert {name: app.query_params[name] for name in kept} == kept
    assert app.query_params["target"] == "3"
