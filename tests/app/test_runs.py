"""Runs through app.py, with AppTest, which cannot click the table: what is ticked is put into the session."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import widgets
from cnnviz.app.runs import actions, board, filters
from cnnviz.config import RunConfig, grid
from cnnviz.render import code
from cnnviz.store import changes, reading
from tests.helpers.runs import seed
from tests.helpers.screens import said

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def opened(ticked: list[str] | None = None, **address: str) -> AppTest:
    app = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/runs.py")
    app.session_state[board.TICKED.name] = ticked or []
    app.query_params.update(address)
    return app.run()


def labels(app: AppTest) -> list[str]:
    return [each.label for each in app.main.button]


def test_actions_say_how_many_runs_they_take_and_nothing_ticked_says_what_ticking_does() -> None:
    run_ids = seed([0.1, 0.4], [0.1, 0.3], [0.1, 0.2])
    app = opened()
    assert "Tick runs to compare" in said(app)
    assert "Compare" not in "".join(labels(app))
    app = opened(run_ids[:2])
    assert {"Compare 2", "Feature maps", "Stop 2", "Delete 2"} <= set(labels(app))
    assert app.button(key="inspect").disabled
    assert not app.button(key="mistakes").disabled  # of two
    assert app.button(key="stop").disabled
    app = opened(run_ids[:1])
    assert {"Curves", "Stop", "Delete"} <= set(labels(app))
    assert not app.button(key="inspect").disabled


def test_the_question_names_the_runs_and_the_deletion_can_be_undone() -> None:
    configs = grid(RunConfig(dataset="synthetic"), seed=range(7))
    run_ids = changes.schedule(configs, "cpu")
    app = opened([*run_ids[:6], "gone"])
    app.button(key="ask_to_delete").click().run()
    text = said(app).replace("\\", "")
    assert all(re.search(rf"seed \d · {run_id[:6]}", text) for run_id in app.session_state[actions.ASKED.name][:5])
    assert sum(run_id[:6] in text for run_id in run_ids) == actions.MOST_NAMED
    assert "and 1 more" in text
    assert len(reading.runs()) == 7
    app.button(key="delete").click().run()
    assert [run.id for run in reading.runs()] == run_ids[6:]
    assert app.session_state[board.TICKED.name] == []
    assert "delete" not in [each.key for each in app.button]
    app.button(key="undo").click().run()
    assert len(reading.runs()) == 7
    assert not app.exception
    assert not app.error


def test_a_question_about_runs_that_are_gone_is_not_asked() -> None:
    run_ids = seed([0.1, 0.4], [0.1, 0.3])
    app = opened(run_ids[:1])
    app.button(key="ask_to_delete").click().run()
    assert app.button(key="delete")
    changes.delete(run_ids[:1])
    widgets.forget_runs()
    app.run()
    assert "delete" not in [each.key for each in app.button]
    assert app.session_state[board.TICKED.name] == []


def test_a_filter_hides_runs_and_nothing_is_done_with_ticks_that_it_hides() -> None:
    run_ids = seed([0.1, 0.4], [0.1, 0.3], [0.1, 0.2])
    app = opened(run_ids, lr="0.01", sort="-lr")
    assert "1 of 3 runs" in said(app)
    assert "lr 0.01" in said(app).replace("\\", "")
    assert "2 more are ticked, but not shown" in said(app)
    assert "Delete" in labels(app)
    app.text_input(key=filters.SEARCH.widget).set_value("sigmoid").run()
    assert "No run is like that" in said(app)
    assert app.query_params == {"lr": "0.01", "sort": "-lr", "search": "sigmoid"}
    app.button(key="runs_all").click().run()
    assert "3 runs" in said(app)
    assert "Delete 3" in labels(app)
    assert app.query_params == {"sort": "-lr"}


def test_what_is_wrong_in_the_address_is_said() -> None:
    seed([0.1, 0.4], [0.1, 0.3])
    app = opened(lr="7", accuracy="60-40", sort="beauty")
    text = said(app).replace("\\", "")
    assert "lr=7 from the address is not possible here" in text
    assert "accuracy=60-40 from the address is not a range of percents" in text
    assert "sort=beauty" in text
    assert "2 runs" in text


def test_parallel_coordinates_are_drawn_for_eight_runs_that_differ_in_two_things() -> None:
    for model in ("lenet5x5", "lenet3x3"):
        configs = grid(RunConfig(dataset="synthetic", model=model), lr=[0.1, 0.01], seed=[0, 1])
        for run_id in changes.schedule(configs, "cpu"):
            changes.start(run_id)
            for epoch in range(2):
                changes.record(run_id, epoch, {"test_accuracy": 0.1 + 0.2 * epoch}, [])
            changes.finish(run_id, "FINISHED")
    app = opened()
    assert "every run as a line" in "".join(each.label for each in app.expander)
    assert "Drag over a part" not in said(app)  # folded
    changes.delete([reading.runs()[0].id])
    widgets.forget_runs()
    assert "every run as a line" not in "".join(each.label for each in opened().expander)


def test_with_no_runs_there_is_a_way_to_home() -> None:
    app = opened()
    assert "No runs yet" in said(app)
    assert [each.proto.page for each in app.main.get("page_link")] == [""]


def test_a_run_is_shown_in_plain_pytorch_while_it_is_asked_for() -> None:
    run_ids = seed([0.1, 0.4], [0.1, 0.3])
    app = opened(run_ids[:2])
    assert app.button(key="as_pytorch").disabled
    app = opened(run_ids[:1])
    assert not app.code
    app.button(key="as_pytorch").click().run()
    script, lines = (each.value for each in app.code)
    assert script == code.script(reading.run(run_ids[0])).strip()
    assert lines == code.loading(reading.run(run_ids[0]), f"run_{run_ids[0][:8]}-epoch-0001.safetensors").strip()
    app.selectbox(key="runs_code_epoch").set_value(0).run()
    assert "epoch-0000" in app.code[1].value
    app.session_state[board.TICKED.name] = []
    changes.delete(run_ids[:1])
    widgets.cache.all_runs.clear()
    app.run()
    assert not app.code
    assert not app.exception
