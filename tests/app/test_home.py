"""Home: ways to begin, what was expected beside what came, and the study's checklist."""

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.analysis.predictions import predictions
from cnnviz.app import cache
from cnnviz.app.home import demonstration
from cnnviz.config import grid
from cnnviz.data import synthetic
from cnnviz.presets import PRESETS
from cnnviz.store import changes, reading
from tests.helpers.runs import record
from tests.helpers.screens import said

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def home() -> AppTest:
    return AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()


def test_the_demonstration_names_the_shapes_that_are_drawn() -> None:
    assert demonstration.CLASSES == synthetic.CLASSES


def test_a_preset_asks_what_is_expected_unless_it_was_trained_before() -> None:
    opened = home()
    opened.button(key="card try").click().run()
    assert not opened.exception
    assert opened.button(key="predict_train").disabled, "nothing is expected yet"
    assert not reading.runs()
    changes.schedule(PRESETS["try"].configs()[:1], "cpu")
    cache.all_runs.clear()
    opened.run()
    opened.sidebar.button(key="launch").click().run()
    assert not opened.exception
    assert len(reading.runs()) == 4


def test_what_was_expected_stands_beside_what_came() -> None:
    configs = grid(lr=[0.1, 0.01], dataset=["synthetic"], epochs=[2])
    run_ids = changes.schedule(configs, "cpu", predictions(configs, 0.0, 1, [], None))
    for run_id, accuracy in zip(run_ids, (0.6, 0.5), strict=True):
        changes.start(run_id)
        for epoch in range(3):
            record(run_id, epoch, accuracy if epoch else 0.1)
    assert not home().table, "they are still training"
    for run_id in run_ids:
        changes.finish(run_id, "FINISHED")
    cache.all_runs.clear()
    opened = home()
    assert not opened.exception
    assert "lr 0.1: 60.0 %" in str(opened.title[0].value).replace("\\", "")
    rows = opened.table[0].value.map(lambda text: text.replace("\\", "")).to_numpy().tolist()
    assert rows == [["lr 0.01", "lr 0.1, 60.0 %; yours ranks 2 of 2", "✗"], ["none", "none", "✓"]]


def test_the_checklist_trains_what_comes_next() -> None:
    (run_id,) = changes.schedule(PRESETS["2a"].configs(dataset="synthetic"), "cpu")
    changes.start(run_id)
    for epoch in range(4):
        record(run_id, epoch, 0.3)
    changes.finish(run_id, "KILLED")
    opened = home()
    assert "1 for less than 20 epochs" in said(opened)
    opened.button(key="resume 2a").click().run()
    assert not opened.exception
    again = reading.run(run_id)
    assert (again.status, again.config.epochs) == ("SCHEDULED", 20)
    opened.button(key="train 1a").click().run()
    assert opened.button(key="predict_skip"), "the twelve are asked about"
