"""Exported programs train what cnnviz trained: they are run where nothing of cnnviz can be imported."""

import ast
import json
import math
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pytest
import safetensors.torch
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import ACTIVATIONS
from cnnviz.config import LOSSES, RunConfig, grid
from cnnviz.data import Dataset, shapes
from cnnviz.errors import CheckpointError
from cnnviz.inspection.network import load_network, predict
from cnnviz.jobs import resume
from cnnviz.render import code
from cnnviz.render.code import cells
from cnnviz.store import artifacts, changes, reading
from cnnviz.store.runs import Run, Segment
from cnnviz.train import lenet
from cnnviz.train.loop import stack_key, train_stack
from tests.helpers.architectures import BLOCKS
from tests.helpers.runs import run as made_up
from tests.helpers.runs import seed, trained
from tests.helpers.training import together

PICTURES = 350  # in each split: as many as the runs that hold out most of them need
TINY = RunConfig(
    model="c4k5-s2-c6k3-s2-f20", dataset="synthetic", limit_train=200, epochs=1, lr=0.05, seed=3, batch_size=16
)
GRID = grid(TINY, activation=ACTIVATIONS, loss=LOSSES)
CASES = {
    **{f"{config.activation} {config.loss}": config for config in GRID},
    "momentum": replace(TINY, momentum=0.9, lr=0.01, epochs=2),
    "momentum and decay": replace(TINY, momentum=0.5, weight_decay=0.01),
    "decay": replace(TINY, weight_decay=0.05),
    "adam": replace(TINY, optimizer="adam", lr=0.002),
    "adam and decay": replace(TINY, optimizer="adam", lr=0.002, weight_decay=0.01),
    "average pooling": replace(TINY, pooling="avg", activation="relu"),
    "padding, pooling by 1 and none": replace(TINY, model="c5k3p2-s1-c6k3-c4k3p1-s2-f20-f12", activation="relu"),
    "no convolution": replace(TINY, model="f16", activation="gelu"),
    "lenet5x5": replace(TINY, model="lenet5x5", batch_size=1, lr=0.01),
    "nesterov, batch norm, dropout after all": replace(
        TINY, optimizer="nesterov", momentum=0.9, lr=0.01, batch_norm="on", dropout=0.3, dropout_at="both"
    ),
    "adamw, flips and shifts, cosine": replace(
        TINY, optimizer="adamw", lr=0.002, augment="flip+shift", schedule="cosine", warmup=1, epochs=2, init="xavier"
    ),
    "rmsprop, cutout, one-cycle, mse": replace(
        TINY, optimizer="rmsprop", lr=0.002, augment="cutout", schedule="one-cycle", loss="mse", label_smoothing=0.2
    ),
    "smoothing, steps, all changes, dropout": replace(
        TINY, label_smoothing=0.1, schedule="step", augment="flip+shift+cutout", dropout=0.5, weight_decay=0.01
    ),
    "warm-up, decay": replace(TINY, warmup=1, epochs=2, optimizer="adamw", weight_decay=0.05, lr=0.002),
    "standard pixels, cutout": replace(TINY, normalise="standard", augment="cutout"),
    "held out": replace(TINY, validation=150, loss="mse"),
    "patience": replace(TINY, validation=100, limit_train=100, patience=1, epochs=9, lr=0.3, activation="relu"),
    "raw pixels": replace(TINY, normalise="raw", lr=0.0001, activation="relu"),
    **{f"init {name}": replace(TINY, init=name, activation="relu") for name in ("he", "orthogonal", "small", "large")},
    "blocks": replace(TINY, model=BLOCKS, activation="relu", init="he"),
    "blocks, batch norm, dropout after all": replace(
        TINY, model=BLOCKS, activation="relu", batch_norm="on", dropout=0.2, dropout_at="both", lr=0.01
    ),
    "softmax twice": replace(TINY, mistake="softmax-twice", lr=0.5, label_smoothing=0.1),
    "gradients never zeroed": replace(TINY, mistake="no-zero-grad", lr=0.002),
    "sorted by class": replace(TINY, mistake="no-shuffle", augment="flip"),
    "shuffled labels": replace(TINY, mistake="random-labels"),
    "tested in training mode": replace(TINY, mistake="no-eval", dropout=0.3),
    "tested in training mode, batch norm": replace(TINY, mistake="no-eval", dropout=0.3, batch_norm="on", epochs=2),
    "kernel": replace(TINY, model="lenet5x5", batch_size=1, lr=0.01, limit_train=PICTURES, epochs=2),
}
# By way of the store; the forks are of "momentum".
STORED = {"momentum": CASES["momentum"], "continued": replace(CASES["adam"], seed=5)}
FORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "fork": (1, {"lr": 0.1}),
    "fork of the untrained network": (0, {"seed": 8, "loss": "mse"}),
}


def run_alone(program: Path) -> str:
    """What the program prints, in its folder, where nothing can be imported but Python's own modules and what torch,
    torchvision, numpy and safetensors are or need."""
    packages = program.parent / "packages"
    packages.mkdir()
    wanted, known = ["torch", "torchvision", "numpy", "safetensors"], set[str]()
    while wanted:
        if (name := canonicalize_name(wanted.pop())) in known:
            continue
        known.add(name)
        its = metadata.distribution(name)
        for top in {file.parts[0] for file in its.files or []} - {".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(its.locate_file(top))))
        needs = map(Requirement, its.requires or [])
        wanted += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert not {"cnnviz", "mlflow", "streamlit", "pandas", "scipy"} & {path.stem for path in packages.iterdir()}
    run = "import runpy, sys; sys.path.append('packages'); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", run, program.name],
        cwd=program.parent,
        env={"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Runs every program of a folder.
DRIVER = """
import contextlib, io, json
from pathlib import Path

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
            for asked in ('"test", 10_000', '"train", 50_000'):  # cnnviz had as many as there are here
                part = part.replace(asked, f"{asked.split(',')[0]}, PICTURES")
            # The first draws its pictures itself; the others have the same drawing in them, and take the first's.
            exec(part.replace("draw(split, count)", "taken(split, count)") if drawn else part, there)
    if not drawn:
        drawn.update({split: there["draw"](split, PICTURES) for split in ("train", "test")})
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
    start: Mapping[str, Tensor]  # recorded before the first epoch
    weights: Mapping[str, Tensor]  # and after the last
    script: str
    notebook: str
    after: Mapping[str, Tensor] = field(default_factory=dict)  # the program's weights at its end
    printed: str = ""

    @property
    def here(self) -> dict[int, dict[str, float]]:
        """The program's figures by epoch and metric, as it prints them."""
        return _printed(self.printed, "here")


def _printed(text: str, who: str) -> dict[int, dict[str, float]]:
    rows = re.findall(rf"^epoch +(\d+)  {who} +(.*)$", text, re.MULTILINE)
    return {int(epoch): _figures(words) for epoch, words in rows}


def _figures(words: str) -> dict[str, float]:
    return {name.replace(" ", "_"): float(value) for name, value in re.findall(r"(\w+ \w+) ([-+.\w]+)", words)}


def _small() -> Dataset:
    drawn = (*shapes.draw("train", PICTURES), *shapes.draw("test", PICTURES))
    return Dataset("synthetic", "Synthetic", shapes.CLASSES, *map(torch.from_numpy, drawn))


def _trained(dataset: Dataset) -> Iterator[tuple[str, Reproduced]]:
    """The cases, each stack as one; what the programs are told was recorded is what training reports."""
    stacks: dict[object, list[str]] = {}
    for name, config in CASES.items():
        alone = name if config.trains_alone else ""
        stacks.setdefault((stack_key(config, -1), config.epochs, alone), []).append(name)
    number = 0
    for names in stacks.values():
        configs = [CASES[name] for name in names]
        method = "kernel" if "kernel" in names and lenet.fits(configs) else None
        results = together(train_stack(configs, dataset, method=method))
        for member, name in enumerate(names):
            own = [result for result in results if result.member == member]
            recorded = {result.epoch: result.metrics for result in own}
            wanted = cells.figures_of(configs[member])
            table = {epoch: [figures[metric] for metric in wanted] for epoch, figures in recorded.items()}
            number += 1
            run = replace(made_up(f"{number:032x}"[::-1], **vars(CASES[name])), name=name, epoch=own[-1].epoch)
            kept = own[-1]
            if configs[member].patience:  # the weights with the lowest validation loss
                kept = min(own[1:], key=lambda result: result.metrics["val_loss"])
            texts = code.script(run, table), code.notebook(run, table)
            yield name, Reproduced(run, recorded, own[0].weights, kept.weights, *texts)


def _stored(dataset: Dataset) -> Iterator[tuple[str, Reproduced]]:
    """Runs whose programs are made from the store: forks, and one that was continued."""
    ids = dict(zip(STORED, changes.schedule(list(STORED.values()), "cpu"), strict=True))
    _work(ids.values(), dataset)
    changes.continue_runs([ids["continued"]], 1)
    ids |= {name: changes.fork(ids["momentum"], epoch, more, 1, "cpu") for name, (epoch, more) in FORKS.items()}
    _work([ids[name] for name in ("continued", *FORKS)], dataset)
    for name in ("continued", *FORKS):
        run = reading.run(ids[name])
        history = reading.history([run.id], cells.FIGURES)
        recorded: dict[int, dict[str, float]] = {}
        for metric, epoch, value in zip(history.metric, history.epoch, history.value, strict=True):
            recorded.setdefault(int(epoch), {})[metric] = value
        start, weights = (artifacts.load_checkpoint(run, epoch) for epoch in (run.first_epoch, run.epoch))
        yield name, Reproduced(run, recorded, start, weights, code.script(run), code.notebook(run))


def _work(run_ids: Iterable[str], dataset: Dataset) -> None:
    """As a worker does, in this process."""
    for run_id in run_ids:
        run = reading.run(run_id)
        start, _ = resume.start_of(run)
        segments = [*run.segments, Segment(max(start.epoch, 0), 0.0, 1.0, "cpu", 1)]
        changes.start(run_id)
        for result in together(train_stack([run.config], dataset.limited(run.config.limit_train), [start])):
            artifacts.save_checkpoint(run_id, result.epoch, result.weights, result.slots)
            changes.record(run_id, result.epoch, result.metrics, segments)
        changes.finish(run_id, "FINISHED")


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reproduced]:
    """Every case by name, trained here and by its exported program; "notebook" is the fork's."""
    folder, dataset = tmp_path_factory.mktemp("exported"), _small()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIZ_HOME", str(folder / "home"))
        found = dict([*_trained(dataset), *_stored(dataset)])
        files = {name: code.file_name(each.run, "script") for name, each in found.items()}
        for name, each in found.items():
            (folder / files[name]).write_text(each.script, encoding="utf-8")
            if each.run.parent:
                (folder / code.start_file(each.run)).write_bytes(code.start_weights(each.run))
    found["notebook"] = found["fork"]
    files["notebook"] = code.file_name(found["fork"].run, "notebook")
    (folder / files["notebook"]).write_text(found["fork"].notebook, encoding="utf-8")
    (folder / "driver.py").write_text(DRIVER.replace("PICTURES", str(PICTURES)))
    run_alone(folder / "driver.py")
    printed = json.loads((folder / "said.json").read_text())
    return {
        name: replace(
            each, after=safetensors.torch.load_file(folder / f"{files[name]}.after"), printed=printed[files[name]]
        )
        for name, each in found.items()
    }


def furthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    assert one.keys() == {name for name in other if not name.endswith("num_batches_tracked")}
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _compared(weights: Mapping[str, Tensor], each: Reproduced) -> Mapping[str, Tensor]:
    """But for statistics that tests in training mode change: cnnviz tests on the training pictures, too."""
    is_changed = each.run.config.mistake == "no-eval"
    return {name: weight for name, weight in weights.items() if not (is_changed and ".running_" in name)}


@pytest.mark.parametrize("name", [*CASES, "continued", *FORKS, "notebook"])
def test_programs_train_what_was_trained(reproduced: dict[str, Reproduced], name: str) -> None:
    """But for rounding: sums are added in another order. With a picture a step, a near tie in a max pooling then goes
    to another cell; by 700 such steps a weight was off by 0.5 % of the furthest one's way, otherwise by 0.002 %."""
    each = reproduced[name]
    moved, off = furthest(each.weights, each.start), furthest(*map(_compared, (each.weights, each.after), [each] * 2))
    assert moved > 0.002
    assert off <= (0.02 if each.run.config.batch_size == 1 else 0.001) * moved
    first, *others = sorted(each.here)
    assert [first, *others] == list(range(each.run.first_epoch, each.run.epoch + 1))
    assert others
    for epoch, figures in each.here.items():
        wanted = cells.figures_of(each.run.config)
        assert set(figures) == set(wanted[2:] if epoch == first else wanted)
        for metric, value in figures.items():
            if metric in each.recorded[epoch]:  # a fork with another loss has none of its parent's
                assert value == pytest.approx(each.recorded[epoch][metric], rel=0.001, abs=0.001), (epoch, metric)
    last = re.search(r"^test accuracy at the end: ([\d.]+)% here, ([\d.]+)% recorded$", each.printed, re.MULTILINE)
    assert last
    assert float(last[2]) == pytest.approx(100 * each.recorded[each.run.epoch]["test_accuracy"], abs=0.01)


# -- what the texts are ----------------------------------------------------------------------------


def _without_guard(script: str) -> list[ast.stmt]:
    _, *body, last = ast.parse(script).body
    assert isinstance(last, ast.If)
    return [*body, *last.body]


def test_notebooks_hold_the_scripts_code(reproduced: dict[str, Reproduced]) -> None:
    for each in reproduced.values():
        made = nbformat.reads(each.notebook, as_version=4)
        nbformat.validate(made)
        kinds = [cell.cell_type for cell in made.cells]
        assert kinds == ["markdown", "code"] * (len(kinds) // 2), "a heading before each part"
        written = ast.parse("\n".join(cell.source for cell in made.cells if cell.cell_type == "code")).body
        assert [ast.dump(node) for node in written] == [ast.dump(node) for node in _without_guard(each.script)]


def test_scripts_are_readable(reproduced: dict[str, Reproduced]) -> None:
    for each in reproduced.values():
        assert max(len(line) for line in each.script.splitlines() if not line.startswith("RUN = ")) <= 120
        assert "cnnviz" not in each.script.split('"""', 2)[2], "but for the header nothing knows of it"
        modules = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(each.script))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [x.name for x in node.names])
        }
        needed = (
            {"torch", "numpy", "os", "collections", "concurrent"}
            | (modules & {"math"})
            | ({"safetensors"} if each.run.parent else set())
        )
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
    for result in together(train_stack([config], data.load("cifar10"))):
        changes.record(run_id, result.epoch, result.metrics, [Segment(0, 0.0, 1.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    (tmp_path / "data").symlink_to(cifar10_root)
    (tmp_path / "run.py").write_text(code.script(reading.run(run_id)), encoding="utf-8")
    printed = run_alone(tmp_path / "run.py")
    here, recorded = (_printed(printed, who) for who in ("here", "recorded"))
    assert here.keys() == recorded.keys() == {0, 1}
    for epoch, figures in here.items():
        for name, value in figures.items():
            assert value == pytest.approx(recorded[epoch][name], abs=0.002), (epoch, name)
