"""What runs without what: training with PyTorch and the pictures alone, everything but the app without Streamlit.

Each in a fresh process, in which the packages that must not be needed cannot be imported; nor in the processes it
starts.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnviz import paths

# Python runs a module of this name at the start of every process, if it finds one.
BLOCKER = """
import os, sys

class Blocker:
    names = frozenset(os.environ["BLOCKED"].split())

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

TRAIN = """
import cnnviz.train.loop, cnnviz.train.shards, cnnviz.data, cnnviz.architectures
from cnnviz.config import RunConfig

config = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=500, epochs=1)
dataset = cnnviz.data.load("synthetic").limited(config.limit_train)
untrained, trained = cnnviz.train.loop.train_stack([config], dataset)
assert trained.epoch == 1
assert trained.metrics["train_loss"] < untrained.metrics["train_loss"]
assert {name: tuple(weight.shape) for name, weight in trained.weights.items()} == (
    cnnviz.architectures.architecture(config.model).weight_shapes
)
"""

STUDY = """
import torch
from cnnviz import data
from cnnviz.analysis import comparison, costs, curves
from cnnviz.analysis.findings import diagnose, metric_names
from cnnviz.config import RunConfig
from cnnviz.inspection import recorded
from cnnviz.jobs import worker
from cnnviz.render import curve_charts
from cnnviz.render.exports import as_file, png, together
from cnnviz.render.maps import sheet
from cnnviz.store import changes, reading

config = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=500, epochs=3)
(run_id,) = changes.schedule([config], "cpu")
assert worker.work("cpu", [run_id])

run = reading.run(run_id)
assert (run.status, run.epoch, run.config) == ("FINISHED", 3, config)
history = reading.history([run_id], [*metric_names(config), *curves.metrics("Loss")]).drop_duplicates()
assert all(finding.sentence for finding in diagnose(config, history))
assert comparison.differences([run]).shape == (len(comparison.PARAMETERS) + 1, 3)
assert costs.explain(costs.costs([run])).startswith("They are one network")

lines = curves.lines(history, [run], {run_id: run})
assert lines.query("split == 'test'").epoch.tolist() == [0, 1, 2, 3]
view = curve_charts.View()
(panel,) = curve_charts.panels(lines, view, curve_charts.hues(lines[view.colour]), curves.segment_starts(lines, [run]))
assert as_file(together([panel]), "svg").startswith(b"<svg")

dataset = data.load("synthetic")
drawn = sheet(recorded.load(run, 3), dataset.test_images[:3], dataset.test_labels[:3], "c1_activation", dataset.classes)
assert png(drawn).startswith(b"\\x89PNG")
"""


def run_without(blocked: str, code: str, folder: Path) -> None:
    """Run the code in a process of its own, and in those that it starts, without these packages."""
    (folder / "sitecustomize.py").write_text(BLOCKER)
    environment = os.environ | {"BLOCKED": blocked, "PYTHONPATH": f"{folder}{os.pathsep}{paths.PROJECT}"}
    for name in blocked.split():
        tried = run(f"import {name}", environment)
        assert f"{name} is blocked" in tried.stderr
    done = run(code, environment)
    assert done.returncode == 0, done.stderr


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.usefixtures("synthetic_root")
def test_training_needs_pytorch_and_the_pictures_alone(tmp_path: Path) -> None:
    run_without("mlflow streamlit altair captum scipy pandas filelock safetensors", TRAIN, tmp_path)


@pytest.mark.usefixtures("synthetic_root")
def test_the_core_trains_reads_explains_and_draws_without_streamlit(tmp_path: Path) -> None:
    run_without("streamlit", STUDY, tmp_path)
