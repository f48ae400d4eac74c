"""Every page through app.py, with AppTest."""

import io
import math
import re

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app.curves.reasons import SECTIONS
from cnnviz.app.maps import uploads
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.store import artifacts, changes, reading
from tests.helpers.runs import seed
from tests.helpers.screens import diagram, said, with_open

PAGES = tuple(f"pages/{name}.py" for name in ("home", "runs", "curves", "feature_maps", "mistakes", "report"))
pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def app(page: str | None = None) -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    return opened.switch_page(page).run() if page else opened


@pytest.mark.parametrize("page", PAGES)
def test_with_no_runs_every_page_says_what_to_do(page: str) -> None:
    opened = app(page)
    assert not opened.exception
    assert not opened.error
    to_do = [each.label for each in opened.button] if page == "pages/home.py" else said(opened)
    assert ("Train three networks" if page == "pages/home.py" else "No runs yet") in to_do


@pytest.mark.parametrize("page", PAGES)
def test_with_odd_runs_every_page_draws(page: str) -> None:
    seed([0.1, 0.4, 0.5], [0.1, math.nan, math.nan], [0.1, math.inf], [0.1])
    seed([0.1, 0.2], name="**bold** <b>html</b> $x$ [link](http://x) 🙂 " + "long " * 2000)
    _, half = changes.schedule([RunConfig(dataset="synthetic")] * 2, "cpu")
    changes.start(half)
    artifacts.save_checkpoint(half, 0, initial_weights(architecture("lenet5x5"), 0), {})
    changes.record(half, 0, {"test_loss": 2.3, "test_accuracy": 0.1}, [])
    opened = app(page)
    assert not opened.exception
    assert not opened.error


def test_the_cost_is_said_before_the_click() -> None:
    def said() -> str:
        return "".join(str(each.value) for each in opened.sidebar.caption).replace("\\", "")

    opened = app()
    opened.sidebar.selectbox(key="launch_preset").set_value("1a").run()
    assert re.search(r"12 runs trained together, \d[\w ]* to \d[\w ]* here \(not measured yet\)", said())
    opened.sidebar.selectbox(key="launch_preset").set_value("2a").run()
    assert re.search(r"\b1 run, \d[\w ]* to \d[\w ]* here \(not measured yet\)", said())
    assert opened.sidebar.button(key="launch")


def test_an_impossible_setting_is_one_line_and_the_app_goes_on() -> None:
    opened = app()
    opened.sidebar.selectbox(key="launch_preset").set_value("own").run()
    opened.sidebar.multiselect(key="launch_lr").set_value(["fast"]).run()
    assert [str(each.value) for each in opened.sidebar.error] == [
        r"learning rate 'fast' is not a number such as 0\.01\: type another"
    ]
    opened.sidebar.multiselect(key="launch_lr").set_value([0.5]).run()
    assert not opened.sidebar.error
    opened.sidebar.multiselect(key="launch_model").set_value(["c6k40"]).run()
    assert "larger than its 32×32 input" in str(opened.sidebar.error[0].value)


def test_a_store_from_elsewhere_is_one_line() -> None:
    paths.home().mkdir(parents=True)
    (paths.home() / "mlflow.db").write_text("a diary" * 1000)
    opened = app()
    assert not opened.exception
    assert any("store at" in str(each.value) for each in opened.error)


def test_feature_maps_of_a_picked_and_an_uploaded_picture() -> None:
    seed([0.1, 0.4, 0.5])
    opened = app("pages/feature_maps.py")
    assert diagram(opened)["rows"][0]["columns"][-1]["name"] == "fc7"
    opened.session_state[uploads.MORE.name] = True
    opened.run()
    opened.number_input(key="picture").set_value(7).run()
    assert not opened.error
    assert opened.query_params["picture"] == "7"
    opened.segmented_control(key="source").set_value("upload").run()
    content = io.BytesIO()
    Image.new("RGB", (60, 40), "green").save(content, "PNG")
    opened.file_uploader[0].upload("mine.png", content.getvalue(), "image/png").run()
    assert "60×40 PNG" in said(opened).replace("\\", "")
    assert diagram(opened)["picture"]["name"] == "mine.png, as the network sees it"
    opened.session_state[uploads.MORE.name] = True
    opened.run()
    opened.file_uploader[0].upload("diary.png", b"dear diary", "image/png").run()
    assert not opened.exception
    assert "diary" in str(opened.error[0].value)


def test_a_broken_checkpoint_is_one_line() -> None:
    (run_id,) = seed([0.1, 0.4])
    for path in (paths.home() / "artifacts" / run_id).rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
    opened = app("pages/feature_maps.py")
    assert not opened.exception
    assert len(opened.error) == 1


@pytest.mark.parametrize("section", SECTIONS)
def test_curves_say_why(section: str) -> None:
    seed([0.1, *[0.1] * 9], [0.1, 0.4, 0.5], [0.1, math.nan], [0.1])
    changes.schedule([RunConfig(dataset="synthetic", model="lenet3x3", activation="relu")], "cpu")
    opened = app("pages/curves.py")
    opened.segmented_control(key="why").set_value(section).run()
    assert not opened.exception
    assert not opened.error
    text = said(opened).replace("\\", "")
    if section == "Which setting matters":
        assert "matters most here" in text
    elif section == "What differs":
        assert "Controlled comparisons" in text
    elif section == "Time":
        assert "one network: 62,006 parameters" in text


def test_a_fork_from_the_curves() -> None:
    (run_id,) = seed([0.1, 0.4, 0.5])
    opened = app("pages/curves.py")
    opened.number_input(key="curve_epoch").set_value(1).run()
    with_open(opened, "curves_fork")
    fork = f"{run_id} 1"
    assert opened.button(key=f"fork {fork}").disabled
    opened.text_input(key=f"fork lr {fork}").set_value("fast").run()
    assert "'fast' is not a number" in str(opened.error[0].value).replace("\\", "")
    opened.text_input(key=f"fork lr {fork}").set_value("0.5").run()
    opened.button(key=f"fork {fork}").click().run()
    assert not opened.exception
    (made,) = [run for run in reading.runs() if run.parent]
    assert (made.parent, made.first_epoch, made.config.lr, made.status) == (run_id, 1, 0.5, "SCHEDULED")


def test_continuing_all_of_the_curves() -> None:
    seed([0.1, 0.4, 0.5], [0.1, 0.3])
    opened = with_open(app("pages/curves.py"), "curves_continue")
    opened.segmented_control(key="which").set_value("All 2 runs").run()
    opened.number_input(key="more curves").set_value(7).run()
    opened.button(key="continue curves").click().run()
    assert not opened.error
    assert sorted(run.config.epochs for run in reading.runs()) == [8, 9]
    assert {run.status for run in reading.runs()} == {"SCHEDULED"}


def test_every_option_of_the_curves_draws() -> None:
    runs = seed([0.1, 0.4, 0.5], [0.1, math.nan])
    changes.finish(changes.fork(runs[0], 1, {"seed": 3}, 2, "cpu"), "KILLED")
    opened = with_open(app("pages/curves.py"), "curves_layout")
    opened.pills(key="show").set_value(["log y", "log x", "seeds apart", "forks at 0"]).run()
    for axis in ("Seconds", "Images"):
        opened.segmented_control(key="axis").set_value(axis).run()
        assert not opened.error
    opened.selectbox(key="stroke").set_value("seed").run()
    opened.select_slider(key="smoothing").set_value(5).run()
    opened.multiselect(key="facets").set_value(["lr", "seed"]).run()
    opened.pills(key="splits").set_value([]).run()
    assert not opened.error
    assert not opened.exception


def test_the_address_says_what_is_shown() -> None:
    run_ids = seed([0.1, 0.4, 0.5], [0.1, 0.3, 0.4])
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    wanted = {"runs": [run_ids[1][:8], "gone"], "measure": "Error", "axis": "Images", "epoch": "1", "facets": ["lr"]}
    for name, value in wanted.items():
        opened.query_params[name] = value
    with_open(opened.switch_page("pages/curves.py"), "curves_runs", "curves_layout")
    assert opened.multiselect(key="curve_runs").value == [run_ids[1][:8]]
    assert (opened.selectbox(key="measure").value, opened.segmented_control(key="axis").value) == (
        "Error",
        "Images",
    )
    assert opened.multiselect(key="facets").value == ["lr"]
    assert opened.number_input(key="curve_epoch").value == 1
    assert "gone from the address" in said(opened)
