"""Exported programs train what cnnviz trained: they are run where nothing of cnnviz can be imported."""

import ast
import json
import math
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import safetensors.torch
import torch
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import ACTIVATIONS
from cnnviz.config import LOSSES, RunConfig
from cnnviz.data import shapes, synthetic
from cnnviz.errors import CheckpointError
from cnnviz.inspection.network import load_network, predict
from cnnviz.jobs import worker
from cnnviz.render import code
from cnnviz.render.code import cells
from cnnviz.store import artifacts, changes, reading
from cnnviz.store.runs import Run, Segment
from cnnviz.train.loop import train_stack
from tests.helpers.runs import run as made_up
from tests.helpers.runs import seed, trained

PICTURES = 500  # in each split: the real 10,000 would take a minute
TINY = RunConfig(
    model="c4k5-s2-c6k3-s2-f20", dataset="synthetic", limit_train=200, epochs=2, lr=0.05, seed=3, batch_size=16
)
CASES = {
    **{
        f"{activation} {loss}": replace(TINY, activation=activation, loss=loss)
        for activation in ACTIVATIONS
        for loss in LOSSES
    },
    "momentum": replace(TINY, momentum=0.9, lr=0.01),
    "momentum and decay": replace(TINY, momentum=0.5, weight_decay=0.01),
    "decay": replace(TINY, weight_decay=0.05),
    "adam": replace(TINY, optimizer="adam", lr=0.002),
    "adam and decay": replace(TINY, optimizer="adam", lr=0.002, weight_decay=0.01),
    "average pooling": replace(TINY, pooling="avg", activation="relu"),
    "padding, pooling by 1 and none": replace(TINY, model="c5k3p2-s1-c6k3-c4k3p1-s2-f20-f12", activation="relu"),
    "no convolution": replace(TINY, model="f16", activation="gelu"),
    "lenet5x5": replace(TINY, model="lenet5x5", batch_size=1, lr=0.01),  # 400 steps
    "kernel": replace(TINY, model="lenet5x5", batch_size=1, lr=0.01, limit_train=500),  # 1,000: the kernel's
}
FORKS = {
    "fork": ("momentum", 1, {"lr": 0.1}),
    "fork of the untrained network": ("tanh mse", 0, {"seed": 8, "loss": "cross_entropy"}),
}
CONTINUED = "adam"

# Runs every program of a folder, in a process that has nothing but what a user of theirs needs, and what that needs.
DRIVER = """
import contextlib, io, json, sys
from pathlib import Path

OTHERS = {"cnnviz", "mlflow", "streamlit", "pandas", "scipy", "sklearn", "altair", "nbformat", "captum", "tqdm"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OTHERS:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Blocked())
import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
drawn = {}

def taken(split, count):
    return tuple(each[:count] for each in drawn[split])

def run(parts):
    there, printed = {"__name__": "__main__", "taken": taken}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for part in parts:
            part = part.replace('"test", 10_000', '"test", 500')  # which is as many as cnnviz had
            # The first draws its pictures itself; the others have the same drawing in them, and take the first's.
            exec(part.replace("draw(split, count)", "taken(split, count)") if drawn else part, there)
    if not drawn:
        drawn.update({split: there["draw"](split, 500) for split in ("train", "test")})
    return there["model"].state_dict(), printed.getvalue()

said = {}
for path in sorted(Path().glob("run_*")):
    if path.suffix == ".py":
        weights, said[path.name] = run([path.read_text(encoding="utf-8")])
    elif path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        weights, said[path.name] = run(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
    else:
        continue
    save_file(weights, path.with_suffix(path.suffix + ".after"))
Path("said.json").write_text(json.dumps(said))
"""


@dataclass(frozen=True)
class Reproduced:
    """A run, and what came of its exported program."""

    run: Run
    recorded: Mapping[int, Mapping[str, float]]  # by epoch and metric
    weights: Mapping[str, Tensor]  # recorded after the last epoch
    script: str
    notebook: str
    after: Mapping[str, Tensor]  # the program's weights at its end
    printed: str

    @property
    def here(self) -> dict[int, dict[str, float]]:
        """The program's figures by epoch and metric, as it prints them."""
        return _printed(self.printed, "here")


def _printed(text: str, who: str) -> dict[int, dict[str, float]]:
    rows = re.findall(rf"^epoch +(\d+)  {who} +(.*)$", text, re.MULTILINE)
    return {int(epoch): _figures(words) for epoch, words in rows}


def _figures(words: str) -> dict[str, float]:
    return {name.replace(" ", "_"): float(value) for name, value in re.findall(r"(\w+ \w+) ([-+.\w]+)", words)}


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reproduced]]:
    """Every case by name, trained by a worker and run as exported; "notebook" is the fork's."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIZ_HOME", str(folder / "home"))
        patch.setenv("CNNVIZ_DATA", str(folder))
        synthetic._keep([*shapes.draw("train", PICTURES), *shapes.draw("test", PICTURES)])
        configs = {name: replace(config, epochs=1) if name == CONTINUED else config for name, config in CASES.items()}
        ids = dict(zip(configs, changes.schedule(list(configs.values()), "cpu"), strict=True))
        assert worker.work("cpu")
        changes.continue_runs([ids[CONTINUED]], 1)
        for name, (parent, epoch, settings) in FORKS.items():
            ids[name] = changes.fork(ids[parent], epoch, settings, 1, "cpu")
        assert worker.work("cpu")
        runs = {name: reading.run(run_id) for name, run_id in ids.items()}
        assert {run.status for run in runs.values()} == {"FINISHED"}
        exported = {}
        for name, run in runs.items():
            exported[name] = code.script(run), code.notebook(run)
            (folder / code.file_name(run, "script")).write_text(exported[name][0], encoding="utf-8")
            if run.parent:
                (folder / code.start_file(run)).write_bytes(code.start_weights(run))
                (folder / code.file_name(run, "notebook")).write_text(exported[name][1], encoding="utf-8")
        (folder / "driver.py").write_text(DRIVER)
        done = subprocess.run(
            [sys.executable, "-I", "driver.py"],
            cwd=folder,
            env={"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed = json.loads((folder / "said.json").read_text())

        def of(run: Run, kind: str) -> Reproduced:
            history, name = reading.history([run.id], cells.FIGURES), code.file_name(run, kind)
            recorded: dict[int, dict[str, float]] = {}
            for metric, epoch, value in zip(history.metric, history.epoch, history.value, strict=True):
                recorded.setdefault(epoch, {})[metric] = value
            weights = artifacts.load_checkpoint(run, run.epoch)
            after = safetensors.torch.load_file(folder / f"{name}.after")
            return Reproduced(run, recorded, weights, code.script(run), code.notebook(run), after, printed[name])

        yield {name: of(run, "script") for name, run in runs.items()} | {"notebook": of(runs["fork"], "notebook")}


def furthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    assert list(one) == list(other) or sorted(one) == sorted(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_measure(reproduced: dict[str, Reproduced]) -> None:
    for name, each in reproduced.items():
        moved = furthest(each.weights, artifacts_start(each))
        worst = {
            m: max(
                abs(each.here[e][m] - v)
                for e, row in each.recorded.items()
                for m2, v in row.items()
                if m2 == m and m in each.here[e]
            )
            for m in cells.FIGURES
        }
        print(
            f"{name:32} {furthest(each.weights, each.after):.2e} moved {moved:.3f}",
            {m: f"{v:.1e}" for m, v in worst.items()},
            each.run.segments[-1].method,
        )


def artifacts_start(each):
    from cnnviz.architectures import initial_weights

    return initial_weights(each.run.architecture, each.run.config.seed)


# -- what the texts are ----------------------------------------------------------------------------


def _without_guard(script: str) -> list[ast.stmt]:
    _, *body, last = ast.parse(script).body
    assert isinstance(last, ast.If)
    return [*body, *last.body]


def _code_of(notebook: str) -> list[str]:
    return [cell.source for cell in nbformat.reads(notebook, as_version=4).cells if cell.cell_type == "code"]


def test_notebooks_hold_the_scripts_code(reproduced: dict[str, Reproduced]) -> None:
    for each in reproduced.values():
        made = nbformat.reads(each.notebook, as_version=4)
        nbformat.validate(made)
        kinds = [cell.cell_type for cell in made.cells]
        assert kinds == ["markdown", "code"] * (len(kinds) // 2), "a heading before each part"
        written = ast.parse("\n".join(_code_of(each.notebook))).body
        assert [ast.dump(node) for node in written] == [ast.dump(node) for node in _without_guard(each.script)]


def test_scripts_are_readable(reproduced: dict[str, Reproduced]) -> None:
    for each in reproduced.values():
        assert max(map(len, each.script.splitlines())) <= 120
        assert "cnnviz" not in each.script.split('"""', 2)[2], "but for the header nothing knows of it"
        modules = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(each.script))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [x.name for x in node.names])
        }
        needed = {"torch", "numpy", "os", "collections", "concurrent"} | ({"safetensors"} if each.run.parent else set())
        assert modules == needed


HOSTILE = (
    "it's \"quoted\" \\ \\' \"\"\" ''' \n\r\x00\u2028 import os\t</script><script>alert(1)</script> "
    "\u202egnirts \u2066 שלום # {name} ${x} `x` $x$"
)


def test_hostile_names_stay_text() -> None:
    (plain_id,), (hostile_id,) = seed([0.1, 0.4]), seed([0.1, 0.4], name=HOSTILE)
    plain_run, hostile = reading.run(plain_id), reading.run(hostile_id)
    assert hostile.name == HOSTILE
    found = {}
    for run in (plain_run, hostile):
        text = code.script(run)
        names = {
            target.id: node
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert ast.literal_eval(names["RUN"].value) == run.name
        found[run.id] = [line for line in text.splitlines() if not line.startswith("RUN = ")]
        for each in (text, code.notebook(run)):
            assert "</script" not in each
            odd = {letter for letter in each if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")}
            assert odd <= {"\n"}
            assert not any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in each)
    assert found[plain_id] == found[hostile_id], "the name changes one line"


def test_weights_load_into_the_scripts_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines that are shown, run beside the script; which trains nothing when it is imported."""
    run = reading.run(trained(RunConfig(epochs=2), epochs=2))
    file = code.file_name(run, "weights", 1)
    (tmp_path / file).write_bytes(code.weights(run, 1))
    (tmp_path / code.file_name(run, "script")).write_text(code.script(run), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    there: dict[str, Any] = {}
    text = code.loading(run, file)
    assert len([line for line in text.splitlines() if line]) <= 5
    exec(text, there)
    network = load_network(run.architecture, "tanh", "max", artifacts.load_checkpoint(run, 1))
    images = torch.randint(0, 256, (20, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = there["model"](data.normalise(images))
    assert torch.allclose(logits, predict(network, images).logits, atol=1e-5)
    assert safetensors.torch.load(code.weights(run)).keys() == there["model"].state_dict().keys()
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 9"):
        code.weights(run, 9)


def test_nothing_recorded_yet(tmp_path: Path) -> None:
    (run_id,) = changes.schedule([RunConfig(epochs=7)], "cpu")
    text = code.script(reading.run(run_id))
    assert "EPOCHS = 7\n" in text
    assert "RECORDED = {}" in text
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        code.weights(reading.run(run_id))


def test_many_epochs_are_thinned_and_what_is_not_finite_is_python() -> None:
    one = made_up("one", epochs=1000)
    table = dict.fromkeys(range(1001), (math.nan, 0.1, math.inf, 0.1))
    (figures,) = [each for each in cells.cells(one, table) if each.title == "What was recorded"]
    there: dict[str, Any] = {}
    exec(figures.code, there)
    assert 50 <= len(there["RECORDED"]) <= 101
    assert {0, 1000} <= there["RECORDED"].keys()
    assert math.isinf(there["RECORDED"][1000][2])


def test_a_script_by_itself_on_cifar10(cifar10_root: Path, tmp_path: Path) -> None:
    """As a student runs it: python, the file, the folder with the data; where cnnviz cannot be imported."""
    config = RunConfig(limit_train=300, epochs=1, lr=0.05)
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    for result in train_stack([config], data.load("cifar10")):
        changes.record(run_id, result.epoch, result.metrics, [Segment(0, 0.0, 1.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    (tmp_path / "data").symlink_to(cifar10_root)
    (tmp_path / "run.py").write_text(code.script(reading.run(run_id)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "run.py"], cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    here, recorded = (_printed(done.stdout, who) for who in ("here", "recorded"))
    assert here.keys() == recorded.keys() == {0, 1}
    for epoch, figures in here.items():
        for name, value in figures.items():
            assert value == pytest.approx(recorded[epoch][name], abs=0.002), (epoch, name)
