"""The page Mistakes of one network and of two side by side: what the address says is what is shown."""

import json
import math
from typing import Any

import pytest
import torch
from sklearn import metrics
from streamlit.testing.v1 import AppTest

from cnnviz import data, paths
from cnnviz.analysis.findings import ANSWER_KINDS
from cnnviz.app import answers, cache
from cnnviz.inspection import outputs, recorded
from cnnviz.inspection.network import predict
from cnnviz.store import artifacts, reading
from tests.helpers import runs
from tests.helpers.screens import said

pytestmark = pytest.mark.usefixtures("all_test_pictures", "warm_server", "no_worker")


def page(**address: object) -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=120).run()
    opened.switch_page("pages/mistakes.py")
    for name, value in address.items():
        opened.query_params[name] = str(value)
    return sound(opened.run())


def sound(opened: AppTest) -> AppTest:
    assert not opened.exception
    assert not opened.error
    return opened


def text(opened: AppTest) -> str:
    return said(opened).replace("\\", "")


def component(opened: AppTest, name: str) -> dict[str, Any]:
    (its,) = (each for each in opened.get("bidi_component") if each.proto.component_name == f"cnnviz_{name}")
    shown: dict[str, Any] = json.loads(its.proto.json)
    return shown


def run_of(short: str) -> Any:
    return next(run for run in reading.runs() if run.id.startswith(short))


def stalled(run_id: str, epoch: int, always: int) -> None:
    """Have the network of that epoch say one class for everything."""
    weights = {name: torch.zeros_like(each) for name, each in artifacts.load_checkpoint(run_of(run_id), epoch).items()}
    weights["fc7.bias"][always] = 1.0
    artifacts.save_checkpoint(run_of(run_id).id, epoch, weights, {})


def test_an_address_shows_the_matrix_the_cell_and_its_pictures() -> None:
    run = runs.recorded()
    dataset = data.load("synthetic")
    found = predict(recorded.load(run_of(run), 1), dataset.test_images)
    confusion = metrics.confusion_matrix(dataset.test_labels, found.classes)
    wrong = confusion.copy()
    wrong[range(10), range(10)] = 0
    true, taken = divmod(int(wrong.argmax()), 10)
    count = int(confusion[true, taken])
    names = [dataset.classes[each] for each in (true, taken)]

    opened = page(run=run, epoch=1, cell=f"{true}.{taken}")
    assert f"Most often it takes {names[0]} for {names[1]}: {count:,} of 1,000." in text(opened)
    heat = component(opened, "heat")
    assert [[int(cell["text"].replace(",", "")) for cell in row] for row in heat["maps"][0]["cells"]] == (
        confusion.tolist()
    )
    assert heat["chosen"] == [0, true, taken]
    assert {cell["framed"] for row in range(10) for cell in [heat["maps"][0]["cells"][row][row]]} == {True}
    assert opened.button(key="chip").label == f"{names[0]} taken for {names[1]} · {count:,}"
    shown = component(opened, "tiles")["items"]
    assert len(shown) == min(count, 24)
    assert all(each["name"].startswith(names[1]) and each["note"].startswith(names[0]) for each in shown)
    sure = [int(each["name"].split()[-2]) for each in shown]
    assert sure == sorted(sure, reverse=True)

    opened = sound(opened.button(key="chip").click().run())
    assert "cell" not in opened.query_params
    assert "Most confident mistakes" in text(opened)
    opened.segmented_control(key="share").set_value("true").run()
    opened.toggle(key="similar").set_value(True).run()
    heat = component(sound(opened), "heat")
    assert sorted(heat["rows"]) == sorted(dataset.classes)
    assert heat["rows"] == heat["columns"] != list(dataset.classes)
    row = heat["maps"][0]["cells"][heat["rows"].index(names[0])]
    assert int(row[heat["columns"].index(names[1])]["text"]) == round(count / 10)
    assert opened.query_params["share"] == "true"
    assert opened.query_params["similar"] == "True"


def test_two_networks_side_by_side_and_their_difference() -> None:
    run, other = runs.recorded(epochs=1), runs.recorded(epochs=1, activation="sigmoid", gain=4.0)
    opened = page(run=run, other=other, of="other", cell="3.3")
    assert len(component(opened, "heat")["maps"]) == 2
    assert component(opened, "heat")["chosen"] == [1, 3, 3]
    counts = [
        [[int(cell["text"].replace(",", "")) for cell in row] for row in each["cells"]]
        for each in component(opened, "heat")["maps"]
    ]
    opened.segmented_control(key="matrix").set_value("difference").run()
    assert "cell" not in sound(opened).query_params  # it was one of B's
    (drawn,) = component(opened, "heat")["maps"]
    signed = [[int(cell["text"].replace(",", "").replace("−", "-")) for cell in row] for row in drawn["cells"]]
    assert signed == (torch.tensor(counts[1]) - torch.tensor(counts[0])).tolist()
    again = page(run=run, other=other, matrix="difference", cell="0.1")
    assert "in one network alone" in again.button(key="chip").label
    assert opened.query_params["matrix"] == "difference"


def test_what_it_cannot_say_is_said() -> None:
    run = runs.recorded(epochs=2)
    stalled(run, 1, always=6)
    name = data.load("synthetic").classes[6]
    opened = page(run=run)
    assert f"Says {name} for 10,000 of 10,000 pictures after epoch 1: 10.0 % right." in text(opened)
    diverged = runs.recorded(epochs=1, gain=math.nan, lr=1.0)
    for view in ("matrix", "classes", "calibration"):
        opened = page(run=diverged, view=view)
        assert "No predictions before training: its logits are not finite. Choose an earlier epoch." in text(opened)
        assert not opened.get("bidi_component")
    opened = page(run=run, other=diverged)  # the one that has some
    assert "No predictions" in text(opened)
    assert len(component(opened, "heat")["maps"]) == 1
    assert "cell=10.3 from the address is no cell of this matrix" in text(page(run=run, cell="10.3"))


def test_by_class_and_calibration_draw_this_epoch_and_all_of_them() -> None:
    run, other = runs.recorded(), runs.recorded(activation="sigmoid", loss="mse")
    opened = page(run=run, view="classes", figure="f1", sort="value")
    charts = opened.get("vega_lite_chart") or opened.get("arrow_vega_lite_chart")
    assert len(charts) == 2
    opened = page(run=run, other=other, view="classes")
    assert "A as a line, B dashed" in text(opened)
    opened = page(run=run, other=other, view="calibration")
    assert text(opened).count("Expected calibration error (Guo et al. 2017)") == 2
    assert text(opened).count("trained with MSE") == 1
    assert opened.query_params["view"] == "calibration"


def test_findings_on_answers_are_there_once_every_epoch_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    short = runs.recorded()
    stalled(short, 2, always=4)
    run, dataset = run_of(short), data.load("synthetic")

    def kinds() -> set[str]:
        return {each.kind for each in cache.findings([run])[run.id]} & set(ANSWER_KINDS)

    with monkeypatch.context() as patched:
        patched.setattr(outputs, "_of", lambda *_: pytest.fail("findings compute no answers"))
        assert kinds() == set()
        assert answers.of_findings(run) is None
    for epoch in (0, 2):
        outputs.of(run, epoch, dataset)
    assert kinds() == set()
    outputs.of(run, 1, dataset)
    assert "one_class" in kinds()
    opened = page(run=short)
    (fold,) = (each for each in opened.expander if each.label.startswith("**Findings.**"))
    assert f"Always says {dataset.classes[4]}" in fold.label


def test_pages_lead_to_it() -> None:
    run = runs.recorded(epochs=1)
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=120).run()
    opened.switch_page("pages/feature_maps.py")
    opened.query_params.update({"run": run, "view": "mistakes"})
    (link,) = (each for each in sound(opened.run()).get("page_link") if each.proto.label == "All of its mistakes")
    assert f"run={run}" in str(link.proto)
