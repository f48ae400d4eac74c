"""Findings beside the curves, and the section that says which setting matters, with AppTest."""

import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import cache
from cnnviz.app.components import heat
from cnnviz.app.curves import findings
from cnnviz.config import RunConfig
from cnnviz.store import changes, reading
from cnnviz.store.runs import Segment
from tests.helpers.runs import seed
from tests.helpers.screens import said

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")
FLAT = [0.1] * 10


def curves(unfolded: str = "", **address: Any) -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    if unfolded:
        opened.session_state["opened_findings"] = frozenset({f"finding {unfolded}"})
    for name, value in address.items():
        opened.query_params[name] = value
    return opened.switch_page("pages/curves.py").run()


def flat(config: RunConfig) -> str:
    """The id of a run that stays at chance level."""
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    for epoch in range(config.epochs + 1):
        changes.record(run_id, epoch, {"test_accuracy": 0.1, "test_loss": 2.303}, [Segment(0, 0.0, 60.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    return run_id


def labels(opened: AppTest) -> list[str]:
    """Of the findings."""
    return [each.label.replace("\\", "") for each in opened.expander if each.icon]


def test_runs_that_show_the_same_are_one_sentence_and_its_evidence_is_folded() -> None:
    seed(FLAT, FLAT, [0.1, 0.4, 0.5, 0.6, 0.6])
    opened = curves()
    assert not opened.exception
    assert not opened.error
    assert [label for label in labels(opened) if "never left" in label] == [
        "**Alarm.** 2 runs never left chance level: lr 0.01 or more."
    ]
    assert "What would prove it wrong" not in said(opened)
    assert not [each for each in opened.button if str(each.key).startswith("trial")]


def test_a_trial_that_exists_is_shown_and_a_new_one_says_what_it_costs() -> None:
    first, second = seed(FLAT, FLAT)  # rates 0.1 and 0.01: the trial of each is ten times its rate
    opened = curves("never")
    text = said(opened).replace("\\", "")
    assert "What would prove it wrong" in text
    assert re.search(r"5 epochs of a new run, (about )?\d[\w ]* here", text)
    assert "Hardly a difference: 10.0 % against 10.0 % within 9 epochs" in text
    shown = opened.button(key=f"trial {second} never")
    assert shown.label.replace("\\", "") == "Show: lr 0.1, 10.0 %"
    assert opened.button(key=f"trial {first} never").label == "Try lr 1"
    shown.click().run()
    assert sorted(run.id for run in reading.runs()) == sorted([first, second])  # none was scheduled
    assert opened.query_params["runs"] == [second[:8], first[:8]]

    opened = curves("never", runs=[second[:8]])
    shown = opened.button(key=f"trial {second} never")
    shown.click().run()
    assert not opened.error
    assert opened.query_params["runs"] == [second[:8], first[:8]]  # it is laid beside
    assert len(reading.runs()) == 2


def test_a_new_trial_is_trained_shown_beside_and_then_known() -> None:
    (first,) = seed(FLAT)
    opened = curves("never")
    opened.button(key=f"trial {first} never").click().run()
    assert not opened.error
    (new,) = [run for run in reading.runs() if run.id != first]
    assert (new.config.lr, new.status) == (1.0, "SCHEDULED")
    assert opened.query_params["runs"] == [first[:8], new.id[:8]]
    assert opened.button(key=f"trial {first} never").label.replace("\\", "") == "Show: lr 1, waits"


def test_the_trials_of_a_group_are_launched_together() -> None:
    ids = [flat(RunConfig(dataset="synthetic", activation=name, lr=0.1, epochs=9)) for name in ("relu", "gelu")]
    opened = curves("never")
    together = opened.button(key="trials never")
    assert re.fullmatch(r"Train the 2 trials, (about )?\d[\w ]*", together.label)
    together.click().run()
    assert not opened.error
    new = [run for run in reading.runs() if run.id not in ids]
    assert sorted((run.config.activation, run.config.lr) for run in new) == [("gelu", 1.0), ("relu", 1.0)]
    assert len(opened.query_params["runs"]) == 4
    assert not [each for each in opened.button if each.key == "trials never"]


def test_more_runs_than_are_read_at_once_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seed(FLAT, FLAT, FLAT)
    monkeypatch.setattr(cache, "MOST_DIAGNOSED", 2)
    opened = curves()
    assert not labels(opened)
    opened.button(key="findings_of_all_runs").click().run()
    assert any("All 3 runs never left" in label for label in labels(opened))
    monkeypatch.setattr(findings, "FIRST", 0)
    opened.run()
    assert not labels(opened)
    assert opened.button(key="more_findings").label == "Show 1 more: 1 alarm"
    opened.button(key="more_findings").click().run()
    assert any("All 3 runs never left" in label for label in labels(opened))
    assert opened.button(key="more_findings").label == "Show fewer"


def test_which_setting_matters_says_so_and_a_cell_shows_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, _ = seed([0.1, 0.2, 0.3], [0.1, 0.4, 0.5])  # lr 0.1 and 0.01
    drawn: list[dict[str, Any]] = []
    chosen: list[list[int] | None] = [None]

    def drawing(key: str, data: dict[str, Any], **_: Any) -> Any:
        drawn.append(data)
        return type("Result", (), {"picked": chosen.pop() if chosen else None})

    monkeypatch.setattr(heat, "_heat", drawing)
    opened = curves(why="Findings")  # as the version before wrote it, whose findings were among the sections
    assert not opened.warning
    assert opened.segmented_control(key="why").value == "Which setting matters"
    text = said(opened).replace("\\", "")
    assert "Learning rate matters most here: alone it moves the best test accuracy by up to 20 points." in text
    assert "**Learning rate**: 20 points" in text
    assert text.count("may be luck") == 1
    data = drawn[-1]
    assert data["columns"] == ["lr 0.01", "lr 0.1"]
    assert [cell["text"] for cell in data["maps"][0]["cells"][0]] == ["50.0 %", "30.0 %"]
    assert {cell["note"] for cell in data["maps"][0]["cells"][0]} == {"n = 1, no spread"}
    assert data["maps"][0]["cells"][0][0]["label"] == "lr 0.01: 50.0 %, one seed, no spread. Show its curve"
    chosen.append([0, 0, 1])
    opened.run()
    assert opened.query_params["runs"] == slow[:8]  # and no more than it
