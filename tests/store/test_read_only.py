"""A store that may be read and not written: it is looked at, and what would change it is one line."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.store import addresses, changes, connection, reading
from tests.helpers.processes import PIPE, Started, run_warm
from tests.helpers.runs import record, trained

# Root may write everywhere; without its capabilities it is a user like others.
BOUND = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
pytestmark = [
    pytest.mark.usefixtures("few_pictures"),
    pytest.mark.skipif(sys.platform == "win32", reason="permissions as POSIX has them"),
    pytest.mark.skipif(bool(BOUND) and not shutil.which("setpriv"), reason="root may write everywhere"),
]
CONFIG = RunConfig(model="f12", dataset="synthetic", epochs=3)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A finished run and a waiting one, in a folder whose name is odd as well; the first one's id."""
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "what? 100%"))
    run_id = trained(CONFIG)
    changes.schedule([CONFIG], "cpu")
    # A copy, as its files beside the database are this process's own.
    whole = tmp_path / "whole"
    shutil.copytree(paths.home(), whole)
    monkeypatch.setenv("CNNVIZ_HOME", str(whole))
    with sqlite3.connect(whole / "mlflow.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    for beside in whole.glob("mlflow.db-*"):
        beside.unlink()
    yield run_id
    for folder, _, files in os.walk(whole):
        Path(folder).chmod(0o755)
        for file in files:
            (Path(folder) / file).chmod(0o644)


def forbid(*, files: bool, folders: bool) -> None:
    for folder, _, names in os.walk(paths.home(), topdown=False):
        for name in names:
            if files:
                (Path(folder) / name).chmod(0o444)
        if folders:
            Path(folder).chmod(0o555)


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(paths.home().rglob("*")) if path.is_file()}


def ran(*words: str, program: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, or a program, for which permissions count."""
    return run_warm(*words, program=program, as_a_user=bool(BOUND))


def ran_cold(*words: str) -> subprocess.CompletedProcess[str]:
    command = [*BOUND, sys.executable, "-W", "ignore", "-m", "cnnviz", *words]
    return subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)


@pytest.mark.parametrize(("files", "folders"), [(False, True), (True, False)])
def test_it_is_looked_at_and_not_changed(files: bool, folders: bool, store: str, tmp_path: Path) -> None:
    forbid(files=files, folders=folders)
    before = contents()
    listed = ran("runs", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert sorted((row["status"], row["epoch"]) for row in json.loads(listed.stdout)) == [
        ("FINISHED", 3),
        ("SCHEDULED", -1),
    ]
    drawn = ran("features", store, "--layer", "fc1", "--images", "test:0-2", "--out", str(tmp_path / "sheet.png"))
    assert "Traceback" not in drawn.stderr
    for words in (
        ["train", "--model", "f12", "--epochs", "1", "--dataset", "synthetic"],
        ["continue", store, "--epochs", "1"],
        ["stop", store],
    ):
        refused = ran(*words)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        if words[0] != "stop":
            assert "allow writing there, or set CNNVIZ_HOME to another folder" in refused.stderr
    after = contents()
    assert {name: after[name] for name in before} == before


def test_a_database_that_may_be_read_alone_is_called_readonly(store: str) -> None:
    """To MLflow alone, which finds it out in the middle of a transaction."""
    program = (
        "import os\n"
        "from cnnviz.store import addresses, changes, connection\n"
        "from cnnviz.config import RunConfig\n"
        "connection._read_only = lambda: ''\n"
        "try:\n    changes.schedule([RunConfig()], 'cpu')\n"
        "except Exception as error:\n    print(error)\n"
    )
    (paths.home() / "mlflow.db").chmod(0o444)
    done = ran(program=program)
    assert "autoflush" not in done.stdout
    assert "attempt to write a readonly database: allow writing there, or set CNNVIZ_HOME" in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_pages_show_it_and_say_why_training_waits(store: str) -> None:
    program = (
        "from streamlit.testing.v1 import AppTest\n"
        "from streamlit.runtime.pages_manager import PagesManager\n"
        "from tests.helpers.screens import said\n"
        "begin = PagesManager.__init__\n"
        "def warm(*args, **settings):\n    PagesManager.uses_pages_directory = False\n    begin(*args, **settings)\n"
        "PagesManager.__init__ = warm\n"
        "for page in ('home', 'runs', 'curves', 'feature_maps'):\n"
        "    opened = AppTest.from_file('app.py', default_timeout=60).run().switch_page(f'pages/{page}.py').run()\n"
        "    assert not opened.exception, opened.exception\n"
        "    assert not opened.error, [each.value for each in opened.error]\n"
        "    print(page, said(opened).replace(chr(92), ''))\n"
    )
    forbid(files=True, folders=True)
    done = ran(program=program)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 runs" in done.stdout
    assert "Training waits: nothing can be written to" in done.stdout
    assert not (paths.home() / "workers" / "cpu.log").exists()


def test_what_others_write_is_seen(store: str) -> None:
    """The file is opened as one that does not change, and anew if it did."""
    program = (
        "import os, sqlite3, sys\n"
        "from cnnviz import paths\n"
        "from cnnviz.store import reading\n"
        "print(len(reading.runs()))\n"
        "sys.stdout.flush(); sys.stdin.readline()\n"
        "print(len(reading.runs()))\n"
    )
    forbid(files=True, folders=True)
    with Started("", program=program, stdin=PIPE, stdout=PIPE, as_a_user=bool(BOUND)) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "2\n"
        for path in (paths.home(), paths.home() / "artifacts"):
            path.chmod(0o755)
        (paths.home() / "mlflow.db").chmod(0o644)
        another = run_warm(program=ADD)
        assert another.returncode == 0, another.stderr
        forbid(files=True, folders=True)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == "3\n"


ADD = """
from cnnviz.config import RunConfig
from cnnviz.store import changes
changes.schedule([RunConfig(model="f12", dataset="synthetic")], "cpu")
"""


def test_a_store_without_runs_of_cnnviz_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "empty"))
    paths.home().mkdir()
    paths.home().chmod(0o555)
    done = ran_cold("runs")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "allow writing there, or set CNNVIZ_HOME to another folder" in done.stderr
    paths.home().chmod(0o755)


def test_a_store_that_can_be_written_is_not_read_only() -> None:
    assert not connection.is_read_only()
    (run_id,) = changes.schedule([CONFIG], "cpu")
    record(run_id, 0)
    assert reading.run(run_id).epoch == 0
    assert not connection.is_read_only()


def test_no_runs_yet_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ran("runs")
    assert listed.stdout.startswith(f"no runs yet in {paths.home()}: ")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mine.db")
    listed = ran("runs")
    assert listed.stdout.startswith(f"no runs yet in {addresses.shown()}: ")
    assert "mine.db" in listed.stdout
