"""Typed keys and addresses: what a text of an address may say, and what becomes of what is chosen."""

import ast
import contextlib
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import state
from cnnviz.app.curves import page as curves_page
from cnnviz.app.maps import page as maps_page
from cnnviz.app.mistakes import page as mistakes_page
from cnnviz.app.report import page as report_page
from cnnviz.app.runs import page as runs_page
from tests.helpers.runs import recorded, seed
from tests.helpers.screens import said

NASTY = [
    *("²", "٣", "１", "1_0", "+1", "-1", "--1", " 1", "1 ", "1.0", "1e3", "0x1", "NaN", "nan", "inf", "-inf", "None"),
    *("9" * 10, "9" * 5000, "", " ", "\x00", "\n", "..", "3.", ".4", "3.4.5", "²·³", "c3.²:off", "c3.12:epoch-²"),
    *("True", "c3.-1:off", "<b>x</b>", "**x**", "[x](http://x)", "'; drop table runs", "🙂" * 2000, "../../etc/passwd"),
    *("%s{0}{why}", "ⅷ", "۱۲"),
]  # fmt: skip
ADDRESSES = {
    "runs": runs_page.ADDRESS,
    "curves": curves_page.ADDRESS,
    "feature_maps": maps_page.ADDRESS,
    "mistakes": mistakes_page.ADDRESS,
    "report": report_page.ADDRESS,
}


@pytest.mark.parametrize("text", ["0", "7", "007", "999999999"])
def test_a_number_is_its_digits(text: str) -> None:
    assert state.whole_number(text) == int(text)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is (not a whole number|too large)$"):
        state.whole_number(text)


@pytest.mark.parametrize("page", ADDRESSES)
def test_no_text_of_an_address_raises_anything_else(page: str) -> None:
    for key in ADDRESSES[page].keys:
        for texts in [[text] for text in NASTY] + [["1", "²"], ["²", "1"], NASTY]:
            with contextlib.suppress(ValueError):
                value = key.read(texts)
                assert key.read(key.write(value)) == value, (key.name, texts)


@pytest.mark.parametrize("page", ADDRESSES)
def test_each_name_and_each_widget_is_one_keys(page: str) -> None:
    keys = ADDRESSES[page].keys
    assert len({key.name for key in keys}) == len({key.widget for key in keys}) == len(keys)


def _page() -> None:
    """Run by AppTest as a script of its own, which is why it imports what it needs."""
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    from cnnviz.app.state import Address, flag_key, list_key, number_key, text_key

    get_script_run_ctx().is_history_navigation = st.session_state.get("went", False)  # type: ignore[union-attr]
    epochs = st.session_state.get("epochs", [0, 1, 2])
    epoch, scale, show = number_key("epoch", pinned=True), text_key("scale", "locked"), list_key("show", ["a", "b"])
    before, place, colour = flag_key("before"), number_key("place"), text_key("colour")
    with Address("page", (epoch, scale, show, before, place, colour)).on_show():
        epoch.offer(epochs, epochs[-1])
        st.select_slider("Epoch", epochs, key=epoch.widget)
        if not st.checkbox("hide", key="hide"):
            scale.offer(["locked", "layer"])
            st.selectbox("Scale", ["locked", "layer"], key=scale.widget)
        show.offer(["a", "b", "c", "d"], most=3)
        st.multiselect("Show", ["a", "b", "c", "d"], key=show.widget, max_selections=3)
        before.offer((False, True))
        st.toggle("Before", key=before.widget)
        colour.offer(["lr", "seed"], st.session_state.get("usual", "lr"))
        st.selectbox("Colour", ["lr", "seed"], key=colour.widget)
        st.button("Third", key="third", on_click=place.set, args=(3,))
        st.button("Ahead", key="ahead", on_click=epoch.set, args=(0,))
        st.caption(f"place {place.get()}")
        if st.session_state.get("interrupted"):
            st.stop()
        if st.button("Late", key="late"):  # the slider has been drawn
            epoch.set(1)
            st.rerun()


def asked(**address: Any) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=20)
    app.query_params.update(address)
    return app.run()


def test_the_address_is_shown_and_defaults_are_left_out_of_it() -> None:
    everything = {
        "epoch": "1", "scale": "layer", "show": ["c", "a"], "before": "True", "place": "4", "colour": "seed",
    }  # fmt: skip
    app = asked(**everything)
    assert not app.warning
    assert app.select_slider(key="epoch").value == 1
    assert app.multiselect(key="show").value == ["c", "a"]
    assert app.toggle(key="before").value is True
    assert "place 4" in said(app)
    assert app.query_params == everything
    app.selectbox(key="scale").set_value("locked")
    app.multiselect(key="show").set_value(["a", "b"])
    app.toggle(key="before").set_value(False).run()
    assert app.query_params == {"epoch": "1", "place": "4", "colour": "seed"}


def test_none_of_a_list_is_not_its_default() -> None:
    app = asked(show="")
    assert app.multiselect(key="show").value == []
    assert app.query_params["show"] == ""
    assert asked().multiselect(key="show").value == ["a", "b"]


def test_what_is_wrong_is_left_out_and_reported_in_one_line_until_something_is_chosen() -> None:
    app = asked(epoch="²", scale="sideways", show=["c", "x", "y"], before="maybe", place="-1", colour="red")
    assert not app.exception
    (line,) = (str(each.value).replace("\\", "") for each in app.warning)
    assert line.count("from the address") == 4
    assert "And 2 more" in line
    assert "epoch=² from the address is not a whole number; it is left out" in line
    assert app.query_params == {"epoch": "2", "show": "c"}
    app.run()
    assert len(app.warning) == 1
    app.toggle(key="before").set_value(True).run()
    assert not app.warning


def test_repeated_and_too_many_texts() -> None:
    assert asked(epoch=["0", "1"]).select_slider(key="epoch").value == 1
    assert asked(show=["c", "a", "c"]).multiselect(key="show").value == ["c", "a"]
    assert asked(show=["d", "c", "b", "a"]).multiselect(key="show").value == ["d", "c", "b"]


def test_a_hidden_widget_keeps_what_was_chosen() -> None:
    app = asked()
    app.selectbox(key="scale").set_value("layer").run()
    app.checkbox(key="hide").check().run()
    assert app.query_params["scale"] == "layer"
    app.run()
    app.checkbox(key="hide").uncheck().run()
    assert app.selectbox(key="scale").value == "layer"


def test_what_was_not_chosen_follows_its_default() -> None:
    app = asked()
    app.session_state.usual = "seed"
    assert app.run().selectbox(key="colour").value == "seed"
    app.selectbox(key="colour").set_value("lr").run()
    assert app.query_params["colour"] == "lr"
    assert app.run().selectbox(key="colour").value == "lr"


def test_a_pinned_choice_stays_as_long_as_it_can() -> None:
    app = asked()
    app.session_state.epochs = [0, 1, 2, 3]
    assert app.run().select_slider(key="epoch").value == 2
    app.session_state.epochs = [0, 1]
    assert app.run().select_slider(key="epoch").value == 1
    assert not app.warning  # it is not the address that was wrong


def test_code_chooses_before_and_after_the_widget_is_drawn() -> None:
    app = asked()
    app.button(key="ahead").click().run()
    assert (app.select_slider(key="epoch").value, app.query_params["epoch"]) == (0, "0")
    app.button(key="late").click().run()
    assert not app.exception
    assert (app.select_slider(key="epoch").value, app.query_params["epoch"]) == (1, "1")
    app.button(key="third").click().run()
    assert "place 3" in said(app)
    assert app.query_params["place"] == "3"


def test_an_address_that_lags_behind_the_session_changes_nothing() -> None:
    app = asked()
    app.select_slider(key="epoch").set_value(0).run()
    app.query_params["epoch"] = "2"  # what the browser has until it receives what was written
    app.run()
    assert app.select_slider(key="epoch").value == 0
    assert app.query_params["epoch"] == "0"


def test_what_the_browser_went_back_to_outlives_a_page_that_is_not_drawn_to_its_end() -> None:
    app = asked()
    app.selectbox(key="scale").set_value("layer")
    app.multiselect(key="show").set_value(["c"]).run()
    app.query_params = {"epoch": "1"}
    app.session_state.went = app.session_state.interrupted = True
    app.run()
    app.session_state.went = app.session_state.interrupted = False
    app.selectbox(key="scale").set_value("layer")  # what the browser shows until it receives the page
    app.multiselect(key="show").set_value(["d"]).run()  # chosen meanwhile
    assert (app.selectbox(key="scale").value, app.select_slider(key="epoch").value) == ("locked", 1)
    assert app.query_params == {"epoch": "1", "show": "d"}
    app.selectbox(key="scale").set_value("layer").run()
    assert app.query_params == {"epoch": "1", "show": "d", "scale": "layer"}


@pytest.mark.usefixtures("few_pictures", "no_worker")
@pytest.mark.parametrize("text", ["²", "NaN", "-1", "9" * 5000, "", "**x** <b>"], ids=range(6))
@pytest.mark.parametrize("page", ADDRESSES)
def test_pages_survive_any_address(page: str, text: str) -> None:
    run = recorded(epochs=2) if page in ("feature_maps", "mistakes") else seed([0.1, 0.4])[0][:8]
    app = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    app.switch_page(f"pages/{page}.py")
    app.query_params.update({key.name: [text, text] for key in ADDRESSES[page].keys})
    app.query_params["runs" if page == "curves" else "run"] = run
    app.query_params["view"] = "matrix" if page == "mistakes" else "maps"
    app.run()
    assert not app.exception
    assert not app.error
    assert ("from the address" in said(app)) == bool(text)
    app.run()
    assert not app.exception
    assert not app.error


def test_the_session_and_the_address_are_touched_in_one_module() -> None:
    sources = [paths.PROJECT / "app.py", *(paths.PROJECT / "pages").glob("*.py")]
    sources += (paths.PROJECT / "cnnviz").rglob("*.py")
    found = {
        str(path.relative_to(paths.PROJECT))
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("session_state", "query_params")
    }
    assert found == {"cnnviz/app/state.py"}
