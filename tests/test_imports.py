"""In fresh processes: what each part of cnnviz needs, and that importing it changes nothing."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cnnviz import paths

WITHOUT = '''
import sys

class Blocked:
    """As if these packages were not installed."""

    asked = []  # names of those that were looked for

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            self.asked.append(name)
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Blocked({names!r}))
'''

TRAIN = """
import cnnviz.architectures, cnnviz.config, cnnviz.data, cnnviz.train.shards
from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.train.loop import train_stack

config = RunConfig(model="c2k5-s2-f6", dataset="synthetic", limit_train=100, epochs=1)
results = list(train_stack([config, config], data.load("synthetic")))
assert [(result.member, result.epoch) for result in results] == [(0, 0), (1, 0), (0, 0), (1, 0), (0, 1), (1, 1)]
assert 0 <= results[-1].metrics["test_accuracy"] <= 1
"""

CORE = """
if __name__ == "__main__":  # not in shards, too
    from cnnviz import data
    from cnnviz.analysis import comparison, costs, curves, findings
    from cnnviz.config import RunConfig
    from cnnviz.inspection import recorded
    from cnnviz.inspection.network import layer_maps, predict
    from cnnviz.jobs import worker
    from cnnviz.render import curve_charts
    from cnnviz.render.maps import sheet
    from cnnviz.store import changes, reading

    config = RunConfig(model="c2k5-s2-f6", dataset="synthetic", limit_train=100, epochs=2)
    (run_id,) = changes.schedule([config], "cpu")
    assert worker.work("cpu")
    run = reading.run(run_id)
    assert (run.status, run.epoch) == ("FINISHED", 2)
    history = reading.history([run_id], findings.metric_names(config))
    findings.diagnose(config, history)
    assert comparison.differing([run]) == []
    assert len(costs.costs([run])) == 1
    lines = curves.lines(reading.history([run_id], curves.metrics("Loss")), [run], {run_id: run})
    (panel,) = curve_charts.panels(lines, curve_charts.View(), {"0.01": "#000000"})
    assert panel.drawing.spec["layer"]
    network, images = recorded.load(run, 2), data.load("synthetic").test_images[:2]
    assert predict(network, images).logits.shape == (2, 10)
    assert layer_maps(network, images, "c1").values.shape == (2, 2, 28, 28)
    assert sheet(network, images, None, "c1").width > 100
"""

HELP = """
from cnnviz.__main__ import main
from cnnviz.config import RunConfig

assert RunConfig(model="c2k5-s2-f6").name
try:
    main(["train", "--help"])
except SystemExit as end:
    assert not end.code
else:
    raise AssertionError("--help did not end the command")
"""

ALL = """
import atexit, gc, importlib.util, json, pkgutil, psutil, sys, torch

def state():
    cudnn = torch.backends.cudnn
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "cuDNN": (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32),
        "type": str(torch.get_default_dtype()),
        "autograd": torch.is_grad_enabled(),
        "frozen": gc.get_freeze_count(),
        "children": len(psutil.Process().children(recursive=True)),  # a fork server raises no audit event
    }

def ours():
    # Whether cnnviz called, itself or through the standard library; what it imports may do as it likes.
    frame = sys._getframe(2)
    while frame and (name := frame.f_globals.get("__name__", "")).split(".")[0] != "cnnviz":
        if name.startswith("importlib.") or name.split(".")[0] not in sys.stdlib_module_names:
            return False
        frame = frame.f_back
    return frame is not None

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
done, register = [], atexit.register

def registered(function, *args, **kwargs):
    if ours():
        done.append(f"registers {function}")
    return register(function, *args, **kwargs)

def audited(event, args):
    if event in STARTS and ours():
        done.append(f"{event}{args}")

atexit.register(print, "tidied up")
atexit.register = registered
sys.addaudithook(audited)
torch.set_num_threads(3)
before = state()
import cnnviz.app.shell, cnnviz.app.home.page, cnnviz.app.launch, cnnviz.jobs.worker
looked_for = [*Blocked.asked]
sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, Blocked)]
for module in pkgutil.walk_packages(cnnviz.__path__, "cnnviz."):
    is_optional = module.name == "cnnviz.train.cluster" and not importlib.util.find_spec("ray")
    if not module.name.endswith("__main__") and not is_optional:
        importlib.import_module(module.name)
from cnnviz.train import memory
print(json.dumps([before, state(), done, looked_for, sorted(sys.modules), len(memory.datasets)]))
sys.exit(3)
"""


def run(tmp_path: Path, program: str) -> None:
    """Run the program to its last line, from a file: processes that it starts import it.

    An exit status of 0 does not do as evidence: what is registered at exit may replace the one of a failed assertion.
    """
    script, end = tmp_path / "program.py", tmp_path / "end"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(paths.PROJECT)!r})\n{program}\n"
        f"if __name__ == '__main__':\n    open({str(end)!r}, 'w').close()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert end.exists(), done.stderr[-3000:]


@pytest.mark.usefixtures("few_pictures")
def test_training_needs_torch_and_torchvision_alone(tmp_path: Path) -> None:
    others = ("mlflow", "streamlit", "altair", "captum", "scipy", "pandas", "filelock", "safetensors", "tqdm", "psutil")
    run(tmp_path, WITHOUT.format(names=set(others)) + TRAIN)


@pytest.mark.usefixtures("few_pictures")
def test_the_core_needs_no_streamlit(tmp_path: Path) -> None:
    run(tmp_path, WITHOUT.format(names={"streamlit"}) + CORE)


def test_settings_and_help_do_without_torch(tmp_path: Path) -> None:
    """It takes a second to import, which nobody should wait for who asks for help."""
    run(tmp_path, WITHOUT.format(names={"torch"}) + HELP)


@dataclass(frozen=True)
class Imported:
    """What came of a process that imported every module of cnnviz."""

    before: dict[str, Any]
    after: dict[str, Any]
    done: list[str]  # processes that cnnviz started, and what it wants to do at exit
    looked_for: list[str]  # modules of Ray, by the app and the worker
    modules: list[str]
    data_sets: int  # in memory
    end: str = ""  # its exit status and last line


@pytest.fixture(scope="module")
def imported() -> Imported:
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}  # which tests set
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names={"ray"}) + ALL],
        cwd=paths.PROJECT,
        env=plain,
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    found, *last = done.stdout.splitlines()
    return replace(Imported(*json.loads(found)), end=" ".join([str(done.returncode), *last]))


def test_importing_any_module_changes_nothing(imported: Imported) -> None:
    """Neither threads, cuDNN's settings or the collector nor how the process ends."""
    assert imported.after == imported.before
    assert imported.before["threads"][0] == 3
    assert not imported.done
    assert "cnnviz.train.preload" in imported.modules
    assert not imported.data_sets
    assert imported.end == "3 tidied up"


def test_the_app_and_the_worker_know_nothing_of_ray(imported: Imported) -> None:
    assert not imported.looked_for
