"""Mistakes over epochs, of two networks and of many, through app.py."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from cnnviz import data, paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.inspection import outputs, recorded
from cnnviz.inspection.mistakes import answers
from cnnviz.store import artifacts, reading
from cnnviz.store.runs import Run
from tests.helpers.runs import recorded as record_run
from tests.helpers.runs import trained
from tests.helpers.screens import said, with_open

pytestmark = pytest.mark.usefixtures("few_pictures", "no_worker")


def page(**address: object) -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=120).run()
    opened.switch_page("pages/mistakes.py")
    for name, value in address.items():
        opened.query_params[name] = value if isinstance(value, list) else str(value)
    return opened.run()


def text(opened: AppTest) -> str:
    assert not opened.exception
    assert not opened.error
    return said(opened).replace("\\", "")


def component(opened: AppTest, name: str) -> dict[str, Any]:
    found = [each for each in opened.get("bidi_component") if each.proto.component_name == f"cnnviz_{name}"]
    shown: dict[str, Any] = json.loads(found[-1].proto.json)
    return shown


def run_of(short: str) -> Run:
    return next(run for run in reading.runs() if run.id.startswith(short))


def told(short: str, epoch: int) -> np.ndarray:
    """What the network says, by its own forward pass."""
    network, dataset = recorded.load(run_of(short), epoch), data.load("synthetic")
    with torch.no_grad():
        return network.module(data.normalise(dataset.test_images)).argmax(1).numpy()


def labels() -> np.ndarray:
    return data.load("synthetic").test_labels.numpy()


def diverge(short: str, *epochs: int) -> None:
    run = run_of(short)
    for epoch in epochs:
        weights = initial_weights(architecture(run.config.model), 0)
        artifacts.save_checkpoint(run.id, epoch, {name: each * torch.nan for name, each in weights.items()}, {})


def test_what_became_of_each_picture_and_its_strip() -> None:
    run = record_run(epochs=5)
    right = np.stack([told(run, epoch) == labels() for epoch in range(1, 5)])
    never = ~right.any(0)
    forgotten = right.any(0) & ~right[-1]
    opened = page(view="epochs", run=run)
    assert f"{(~never).sum():,} of {len(labels()):,} test pictures right at some time" in text(opened)
    figures = {part["name"]: part["figure"] for part in component(opened, "parts")["parts"]}
    assert figures["Forgotten"] == f"{forgotten.sum():,}"
    assert figures["Never right"] == f"{never.sum():,}"
    first = component(opened, "tiles")["items"][0]
    picture = int(first["title"].split(",")[0].split()[-1])
    assert first["strip"] == "".join("01"[int(each)] for each in right[:, picture])

    picture = int(np.flatnonzero(never)[0])
    opened = page(view="epochs", run=run, fate="never", picture=picture)
    assert component(opened, "parts")["selected"] == 3
    strip = next(each.proto.body for each in opened.get("html") if "<ol" in each.proto.body)
    names = data.load("synthetic").classes
    assert [f"</small>{names[told(run, epoch)[picture]]}</li>" in strip for epoch in range(1, 5)] == [True] * 4
    assert opened.query_params["fate"] == "never"


def test_too_few_epochs_say_what_to_do() -> None:
    run = record_run(epochs=2)
    assert "**Continue** on the page Runs" in text(page(view="epochs", run=run))
    diverge(lost := record_run(epochs=4, activation="relu"), 2, 3)
    assert "has predictions after 1 trained epoch only: it diverged" in text(page(view="epochs", run=lost))
    diverge(late := record_run(epochs=4, activation="silu"), 3)
    opened = page(view="epochs", run=late, other=run, epochs_of="run")
    assert "No predictions after epoch 3" in text(opened)
    assert "Over epochs 1 to 2" in text(opened)
    assert "one class for everything" not in text(opened)
    stalled = record_run(epochs=4, activation="sigmoid", gain=0.0)
    assert "After 3 epochs it says one class for everything" in text(page(view="epochs", run=stalled))


def test_two_networks_their_pictures_and_how_much_is_luck() -> None:
    a, b = record_run(), record_run(activation="sigmoid")
    opened = page(view="pair", run=a, other=b, part="both_wrong")
    first, second, true = told(a, 2), told(b, 2), labels()
    figures = [part["figure"] for part in component(opened, "parts")["parts"]]
    quarters = [
        ((first == true) == one) & ((second == true) == other) for one in (True, False) for other in (True, False)
    ]
    expected = [quarters[0], quarters[1], quarters[2], quarters[3], first != second]
    assert figures == [f"{each.sum():,}" for each in expected]
    assert component(opened, "parts")["selected"] == 3
    assert all("A ✗" in each["note"] and "B ✗" in each["note"] for each in component(opened, "tiles")["items"])
    assert "in its seed alone. Train it with two or three seeds" in text(opened)

    seed = record_run(seed=1)
    words = text(page(view="pair", run=a, other=b))
    apart, of_the_pair = (first != told(seed, 2)).sum(), (first != second).sum()
    assert f"Two seeds of the same network, A, disagree on {apart:,} pictures; A and B on {of_the_pair:,}" in words
    assert f"| A and its seed 1 | {apart:,} ({100 * apart / len(labels()):.1f} %)" in words
    assert "differ in the seed alone" in text(page(view="pair", run=a, other=seed))


def test_a_network_without_predictions_is_named() -> None:
    a, b = record_run(), record_run(activation="relu")
    diverge(b, 2)
    assert "B has no predictions at this epoch" in text(page(view="pair", run=a, other=b))
    opened = page(view="many", run=a, networks=[a, b])
    assert "relu has no predictions, its logits are not finite: left out" in text(opened)
    assert "Fewer than two of these networks have predictions" in text(opened)


def test_many_networks_what_all_get_wrong_and_how_far_they_agree() -> None:
    settings = [{"activation": "tanh"}, {"activation": "relu"}, {"activation": "gelu"}]
    ids = [trained(RunConfig(dataset="synthetic", epochs=3, **each))[:8] for each in settings]  # type: ignore[arg-type]
    chance = record_run(epochs=2)
    opened = page(view="many", run=ids[0])
    every = [told(each, 3) for each in ids]
    wrong = np.all([each != labels() for each in every], axis=0).sum()
    assert f"All 3 networks get {wrong:,} of {len(labels()):,} pictures wrong" in text(opened)
    cells = component(opened, "heat")["maps"][0]["cells"]
    order = [name.partition(" · ")[0] for name in component(opened, "heat")["rows"]]
    by_name = dict(zip(("tanh", "relu", "gelu"), every, strict=True))
    for row, a in enumerate(order):
        for column, b in enumerate(order):
            share = (by_name[a] == by_name[b]).mean() if row != column else (by_name[a] == labels()).mean()
            assert cells[row][column]["text"] == f"{100 * share:.0f}"
    assert "networks" not in opened.query_params

    opened = with_open(opened, "many_choice")
    assert chance not in opened.multiselect(key="many_networks").value
    assert "Left out at first: 1 network at chance level" in text(opened)
    opened.multiselect(key="many_networks").set_value(ids[:2]).run()
    assert "Both networks get" in text(opened)
    assert opened.query_params["networks"] == ids[:2]
    assert "Two networks or more are compared here" in text(page(view="many", run=ids[0], networks=ids[:1]))


def test_one_that_always_says_the_same_is_named_and_can_be_left_out() -> None:
    a, b, constant = record_run(), record_run(activation="relu"), record_run(activation="sigmoid", gain=0.0)
    opened = page(view="many", run=a, networks=[a, b, constant])
    assert len(set(told(constant, 2).tolist())) == 1
    classes = data.load("synthetic").classes
    assert f"sigmoid says {classes[int(told(constant, 2)[0])]} for everything" in text(opened)
    next(each for each in opened.button if each.label == "Leave out").click().run()
    assert sorted(opened.query_params["networks"]) == sorted([a, b])
    assert "for everything" not in text(opened)


def test_a_damaged_network_is_left_out_and_the_others_are_shown() -> None:
    a, b, damaged = record_run(), record_run(activation="relu"), record_run(activation="gelu")
    run = run_of(damaged)
    (artifacts.folder_of(run.id) / "checkpoints" / "epoch-0002.safetensors").write_bytes(b"no weights")
    opened = page(view="many", run=a, networks=[a, b, damaged])
    assert "Left out: " in text(opened)
    assert "Both networks get" in text(opened)
    assert outputs.kept(run, 2, data.load("synthetic")) is None
    assert len(answers(outputs.of(run_of(a), 2, data.load("synthetic")))) == len(labels())
