import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cnnviz import paths
from cnnviz.jobs import processes
from cnnviz.jobs.files import job_file
from tests.helpers import warm_python
from tests.helpers.processes import run_warm
from tests.helpers.workers import TINY, wait_for

pytestmark = pytest.mark.usefixtures("few_pictures", "no_process_left")


def test_a_log_is_begun_again_where_it_grew_too_long() -> None:
    log = job_file("cpu", "log")
    log.write_bytes(bytes(processes.LOG_BYTES + 1))
    processes.bound(job_file("cpu", "log"))
    assert log.stat().st_size == 0


def test_no_zombie_is_left() -> None:
    process = processes.detached([sys.executable, "-c", ""], job_file("cpu", "log"))
    wait_for(lambda: not psutil.pid_exists(process.pid), 20)


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Path]:
    """A Python that starts warm, in the environment that warm_python.settings(its folder) are of."""
    found = tmp_path / "warm" / "python"
    found.parent.mkdir()
    found.write_text(f'#!/bin/sh\nexec {sys.executable} -S {warm_python.__file__} "$@"\n')
    found.chmod(0o700)
    with warm_python.serving(found.parent):
        yield found


def worker_of(folder: Path, environment: dict[str, str], python: Path) -> tuple[str, str]:
    """Launch a run from that folder and let a detached worker train it: what is printed, and the run's status."""
    program = (
        "import sys, time\n"
        f"sys.executable = {str(python)!r}\n"
        "from cnnviz.config import RunConfig\n"
        "from cnnviz.jobs import control\n"
        "from cnnviz.store import reading\n"
        f"(run_id,) = control.submit([RunConfig(**{vars(TINY) | {'epochs': 1, 'limit_train': 300}!r})], 'cpu')\n"
        "end = time.monotonic() + 90\n"
        "while reading.run(run_id).active and time.monotonic() < end:\n"
        "    time.sleep(0.2)\n"
        "print(reading.run(run_id).status, reading.run(run_id).message)\n"
    )
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("CNNVIZ_", "MLFLOW_"))}
    settings |= {"CNNVIZ_OFFLINE": "1", "PYTHONPATH": str(paths.PROJECT)} | environment
    settings |= warm_python.settings(python.parent)
    done = run_warm(program=program, folder=folder, environment=settings)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"CNNVIZ_HOME": "home", "CNNVIZ_DATA": "data"},
        {"CNNVIZ_HOME": "../here/home 100%?", "CNNVIZ_DATA": "./data"},
        {"CNNVIZ_HOME": "home", "CNNVIZ_DATA": "data", "MLFLOW_TRACKING_URI": "sqlite:///mine.db"},
    ],
)
def test_a_worker_finds_what_is_named_relative_to_where_one_works(
    settings: dict[str, str], tmp_path: Path, few_pictures: Path, python: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "data").symlink_to(few_pictures)
    before = {path.name for path in paths.PROJECT.iterdir()}
    assert worker_of(here, settings, python) == ("FINISHED", "")
    assert {path.name for path in paths.PROJECT.iterdir()} - before <= {".mypy_cache", ".pytest_cache", "__pycache__"}
    home = Path(settings["CNNVIZ_HOME"]).name
    own = {"mine.db", "mlartifacts"} if "MLFLOW_TRACKING_URI" in settings else set()
    assert {path.name for path in here.iterdir()} == {"data", home} | own
