"""The launch and fork forms, which follow from RunConfig's fields."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app import launch
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.jobs import control, devices
from cnnviz.presets import PRESETS
from cnnviz.store import artifacts, changes, reading
from tests.helpers.projects import copied, run_in
from tests.helpers.screens import said, with_open

pytestmark = pytest.mark.usefixtures("few_pictures", "warm_server", "no_worker")


def trained(config: RunConfig, device: str = "cpu") -> str:
    (run_id,) = changes.schedule([config], device)
    changes.start(run_id)
    artifacts.save_checkpoint(run_id, 1, initial_weights(architecture(config.model), 0), {})
    for epoch, accuracy in enumerate((0.1, 0.3)):
        changes.record(run_id, epoch, {"test_accuracy": accuracy, "test_loss": 2.0}, [])
    changes.finish(run_id, "FINISHED")
    return run_id


def curves() -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    return with_open(opened.switch_page("pages/curves.py"), "curves_fork", "curves_continue")


@pytest.mark.parametrize(
    "extreme",
    [
        {"momentum": 0.9995},
        {"momentum": 0.999999999},
        {"weight_decay": 1e-9},
        {"lr": 1e-12},
        {"seed": 2**31 - 1},
        {"batch_size": 10_000},
    ],
)
def test_whatever_can_be_trained_can_be_forked(extreme: dict[str, float]) -> None:
    run_id = trained(RunConfig(model="f12", dataset="synthetic", epochs=1, **extreme))  # type: ignore[arg-type]
    opened = curves()
    assert not opened.exception
    assert not opened.error
    assert opened.button(key=f"fork {run_id} 1").disabled, "nothing is changed yet"
    opened.selectbox(key=f"fork loss {run_id} 1").set_value("mse").run()
    opened.button(key=f"fork {run_id} 1").click().run()
    (forked,) = [run for run in reading.runs() if run.parent]
    (name,) = extreme
    assert getattr(forked.config, name) == extreme[name]
    assert forked.config.loss == "mse"


def test_a_fork_trains_on_its_parents_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["cuda", "cpu"])
    here, elsewhere = (trained(RunConfig(model="f12", epochs=1), device) for device in ("cpu", "mps"))
    made = [control.fork(run_id, 1, {"lr": 0.5}, 2) for run_id in (here, elsewhere)]
    assert [reading.run(run_id).device for run_id in made] == ["cpu", "cuda"]


def test_a_worker_stands_by_while_the_form_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(control, "stand_by", lambda: asked.append(True))
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    assert asked == []
    opened.button(key="open_form").click().run()
    assert asked == [True]


def test_the_form_says_what_an_experiment_contains_and_what_no_limit_is() -> None:
    assert launch.contents(PRESETS["1a"].choices) == (
        "12 networks, lenet5x5: sigmoid, tanh × mse, cross entropy × lr 0.1, 0.01, 0.001"
    )
    cure = PRESETS["cure"]
    assert launch.contents(cure.choices, cure.remedies).startswith("6 networks, lenet5x5, relu")
    assert launch.contents(cure.choices, cure.remedies).endswith("with weight decay 0.001, with patience 5, with all")
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    assert opened.sidebar.selectbox(key="launch_limit_train 4000").value == "4000"  # of the first preset
    opened.sidebar.selectbox(key="launch_preset").set_value("2a").run()
    assert "1 network, lenet3x3, relu" in said(opened)
    images = opened.sidebar.selectbox(key="launch_limit_train")
    assert images.value == "all"
    opened.sidebar.selectbox(key="launch_preset").set_value("Broken on purpose").run()
    assert "relu, lr 0.01" in said(opened).replace("\\", "")
    opened.sidebar.selectbox(key="launch_broken").set_value("batch-sizes").run()
    assert "batch size 1, 8, 64, 512" in said(opened)
    opened.sidebar.selectbox(key="launch_preset").set_value(launch.OWN).run()
    opened.sidebar.selectbox(key="launch_limit_train").set_value("1000").run()
    opened.sidebar.multiselect(key="launch several batch_size").set_value(["10", "50"]).run()
    opened.sidebar.button(key="launch").click().run()
    assert [(run.config.limit_train, run.config.batch_size) for run in reading.runs()] == [(1000, 50), (1000, 10)]


# -- one hyperparameter, one place ------------------------------------------------------------------

NEW_FIELD = """
    sparsity: float = setting(0.0, "Sparsity", "share of the weights left out", high=1.0, high_open=True, step=0.1)
"""
EVERYWHERE = """
import subprocess, sys
from pathlib import Path
from mlflow import MlflowClient
from cnnviz import config, paths
from cnnviz.analysis import comparison
from cnnviz.config import RunConfig
from cnnviz.presets import PRESETS
from cnnviz.jobs import control
from cnnviz.store import addresses, changes, reading
from cnnviz.train import lenet
from cnnviz.train.loop import speed_key, stack_key
from cnnviz.__main__ import main

assert Path(config.__file__).is_relative_to(Path.cwd()), config.__file__
shown = subprocess.run([sys.executable, "-m", "cnnviz", "train", "--help"], capture_output=True, text=True).stdout
assert "--sparsity SPARSITY" in shown and "share of the weights left out" in shown, shown
assert main(["train", "--sparsity", "1.5"]) == 2
plain, sparse = RunConfig(model="f12", dataset="synthetic"), RunConfig(model="f12", dataset="synthetic", sparsity=0.5)
assert sparse.name == plain.name.replace(" synthetic", " synthetic sparsity 0.5"), sparse.name
assert stack_key(plain, -1) != stack_key(sparse, -1)
assert speed_key([plain], "eager") != speed_key([sparse], "eager")
if lenet.fits([RunConfig()]):  # its kernel does not know the field
    assert not lenet.fits([RunConfig(sparsity=0.5)])
ids = changes.schedule([plain, sparse], "cpu")
client = MlflowClient(addresses.tracking_uri())
assert [client.get_run(run_id).data.params.get("sparsity") for run_id in ids] == [None, "0.5"]
runs = [reading.run(run_id) for run_id in ids]
assert [run.config for run in runs] == [plain, sparse]
table = comparison.differences(runs)
assert table.parameter[0] == "sparsity" and table.differs[0], table
for run_id in ids:
    changes.start(run_id)
    for epoch in (0, 1):
        changes.record(run_id, epoch, {"test_accuracy": 0.1, "test_loss": 2.0}, [])
    changes.finish(run_id, "FINISHED")
from cnnviz.architectures import architecture, initial_weights
from cnnviz.store import artifacts
artifacts.save_checkpoint(ids[1], 1, initial_weights(architecture("f12"), 0), {})
opened = AppTest.from_file("app.py", default_timeout=60).run().run()
opened.sidebar.selectbox(key="launch_preset").set_value("own").run()
assert opened.sidebar.number_input(key="launch_sparsity").label == "Sparsity"
opened.session_state["curves_runs"] = opened.session_state["curves_fork"] = True  # what they open is drawn
opened.switch_page("pages/curves.py").run()
opened.multiselect(key="curve_runs").set_value([ids[1][:8]]).run()
opened.number_input(key=f"fork sparsity {ids[1]} 1").set_value(0.25).run()
opened.button(key=f"fork {ids[1]} 1").click().run()
assert not opened.exception and not opened.error, [each.value for each in opened.error]
(forked,) = [run for run in reading.runs() if run.parent]
assert forked.config.sparsity == 0.25
"""


def test_a_field_added_to_run_config_turns_up_everywhere(tmp_path: Path) -> None:
    """Command line, launch form, fork form, MLflow params, a run's name, the comparison table, what shares a stack, and
    what has a kernel or a speed of its own."""
    source = copied(tmp_path) / "cnnviz" / "config.py"
    before, after = source.read_text().split("    epochs: int = setting(")
    source.write_text(f"{before.rstrip()}{NEW_FIELD}    epochs: int = setting({after}")
    run_in(tmp_path, EVERYWHERE)
