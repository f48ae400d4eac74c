"""What is shown of a training, on every page, with AppTest."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import data, paths
from cnnviz.app import cache
from cnnviz.app.watching import chart
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.render import live_charts
from cnnviz.store import artifacts, changes, reading
from tests.helpers.runs import record
from tests.helpers.screens import said, with_open

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def shown(opened: AppTest) -> str:
    """All HTML on the page, but for its style sheets."""
    bodies = [str(each.proto.body) for each in opened.get("html")]
    return "\n".join(body for body in bodies if "<style>" not in body)


def headings(opened: AppTest) -> str:
    return "\n".join(str(each.value) for each in opened.title)


def rows(opened: AppTest) -> list[str]:
    """The leader board: network, figure, change."""
    found = re.findall(r"<tr><td class=\"rank\">.*?</tr>", shown(opened))
    return [" ".join(re.sub(r"<[^>]*>", " ", row.split("</td>", 1)[1]).split()) for row in found]


def test_what_another_machine_trains_is_not_said_to_wait_here(monkeypatch: pytest.MonkeyPatch) -> None:
    trains, other = (
        changes.schedule([RunConfig(dataset="synthetic", epochs=2, lr=lr)], "cpu")[0] for lr in (0.1, 0.01)
    )
    first, second = map(reading.run, (trains, other))
    first, second = replace(first, status="RUNNING"), replace(second, queued_at=second.queued_at + 1000)
    here, there = [first, second], [first, replace(second, is_here=False, host="lab-3")]
    lines = []
    for found in (here, there):
        monkeypatch.setattr(cache, "runs", lambda found=found: found)
        opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
        lines.append(said(opened).replace("\\", ""))
    assert "1 network after these" in lines[0]
    assert "1 network trains on lab-3" in lines[1]
    assert "after these" not in lines[1]


def test_from_the_click_to_the_end() -> None:
    data.load("synthetic")
    configs = [RunConfig(dataset="synthetic", epochs=2, lr=lr) for lr in (0.1, 0.01, 0.001)]
    first, second, third = changes.schedule(configs, "cpu")
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    assert not opened.error
    assert "about to train" in headings(opened)
    assert "● Data" in shown(opened)
    assert shown(opened).count("waiting") >= 3
    assert "first frame comes with" in shown(opened)
    assert "None" not in shown(opened)

    for run_id in (first, second):
        changes.start(run_id)
        for epoch in range(2):
            weights = initial_weights(architecture("lenet5x5"), epoch)
            artifacts.save_checkpoint(run_id, epoch, weights, {})
            record(run_id, epoch, 0.1 + 0.2 * epoch * (run_id == second), float("nan") if run_id == first else 1.0)
    cache.all_runs.clear()
    opened.run()
    assert not opened.error
    assert "3 networks training" in headings(opened)
    assert said(opened).count("1 waiting") == 1
    assert rows(opened) == ["lr 0.01 30.0 % +20.0", "lr 0.1 10.0 % diverged", "lr 0.001 – waiting"]
    assert "untrained" in shown(opened)
    assert "epoch 1" in shown(opened)
    assert shown(opened).count("First-layer maps") == 2

    opened.switch_page("pages/curves.py").run()
    (pill,) = opened.get("page_link")
    assert pill.proto.label.startswith("3 networks · ")
    assert "no point yet" in said(opened)

    opened.switch_page("pages/home.py").run()
    for run_id, status in ((first, "FINISHED"), (second, "FINISHED"), (third, "KILLED")):
        changes.finish(run_id, status)
    cache.all_runs.clear()
    opened.run()
    assert headings(opened) == r"lr 0\.01\: 30\.0 %"
    assert re.search(r"2 networks finished in .*, 1 stopped\\\. ", said(opened))
    assert len(rows(opened)) == 3  # nothing has gone
    links = ["Why? Look at the curves", "Look inside the best one"]
    assert [each.proto.label for each in opened.get("page_link")] == links

    opened.button(key="to_projector").click().run()
    assert opened.query_params["projector"] == "True"
    assert "film" not in {each.key for each in opened.selectbox}
    assert len(rows(opened)) == 3

    opened.button(key="leave_projector").click().run()
    opened.switch_page("pages/runs.py").run()
    assert not opened.get("page_link")
    opened.switch_page("pages/home.py").run()
    assert len(rows(opened)) == 3  # the last launch, at any time

    (waiting,) = changes.schedule([RunConfig(dataset="synthetic", epochs=2, seed=1)], "cpu")
    cache.all_runs.clear()
    with_open(opened, "stop_watched").button(key="stop_all_watched").click().run()
    assert not opened.error
    assert reading.run(waiting).status == "KILLED"
    assert "2 stopped" in said(opened)


def test_a_chart_is_told_of_whether_its_lines_have_names_or_not() -> None:
    lines = pd.DataFrame([("a", 0.0, 10.0), ("a", 1.0, 20.0), ("b", 0.0, 30.0)], columns=["run_id", "x", "value"])
    names = {"a": "lenet5x5, dropout 0.3, batch 32", "b": "lenet5x5, dropout 0.3, batch 64"}
    for letters in (40, 10):  # 10: both names would be cut to the same letters, and neither is drawn
        rows = live_charts.rows(lines, names, names, (0.0, 2.0), 4.0, 40.0, letters)
        assert (rows.kind == "name").any() == (letters == 40)
        assert chart.told("tanh", rows) == f"Test accuracy by epoch, tanh: the best is {names['b']} with 30.0 %"
    assert chart.told("", rows.iloc[:0]) == "Test accuracy by epoch: no point yet"
