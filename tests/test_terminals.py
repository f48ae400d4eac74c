"""Outputs that cannot write every letter, that are closed early, that are full: real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnnviz import paths
from tests.helpers.processes import Started, run_warm
from tests.helpers.runs import recorded, seed

pytestmark = pytest.mark.usefixtures("few_pictures")


def shell(line: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which $cnnviz is the command."""
    environment = os.environ | {"cnnviz": f"{sys.executable} -W ignore -m cnnviz"} | settings
    return subprocess.run(
        ["bash", "-c", line], cwd=paths.PROJECT, env=environment, capture_output=True, text=True, errors="replace"
    )


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_an_output_that_lacks_letters_spells_them_out(encoding: str, tmp_path: Path) -> None:
    (run_id,) = seed([0.1, 0.4], name="größe × 図 …")
    listed = run_warm("runs", environment=os.environ | {"PYTHONIOENCODING": encoding})
    assert (listed.returncode, listed.stderr) == (0, "")
    words = ["--layer", "c1", "--images", "test:0-2", "--out", f"{tmp_path}/sheet.png"]
    drawn = run_warm("features", run_id, *words, environment=os.environ | {"PYTHONIOENCODING": encoding})
    assert (drawn.returncode, drawn.stderr) == (0, "")
    with Image.open(tmp_path / "sheet.png") as picture:
        width, height = picture.size
    if encoding == "ascii":
        assert r"gr\xf6\xdfe x \u56f3 ..." in listed.stdout
        assert f"{width}x{height} pixels" in drawn.stdout
    if encoding == "utf-8":
        assert "größe × 図 …" in listed.stdout
        assert f"{width}×{height} pixels" in drawn.stdout
    assert shell("$cnnviz features --help", PYTHONIOENCODING=encoding).returncode == 0
    error = run_warm("features", "nö×", environment=os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"})
    assert (error.returncode, error.stderr.count("\n")) == (2, 1)


def test_training_says_names_that_an_output_lacks() -> None:
    words = ["--model", "f12", "--epochs", "1", "--dataset", "synthetic", "--limit-train", "100"]
    settings = {"PYTHONIOENCODING": "ascii:strict", "CNNVIZ_HOME": f"{paths.home()}/größe ×"}
    done = run_warm("train", *words, environment=os.environ | settings)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["runs", "train --help"])
def test_a_reader_that_has_read_enough_ends_it_quietly(words: str) -> None:
    if words == "runs":  # more than a pipe and its buffer hold
        seed(*[[0.1]] * 12, name="long " * 1500)
    done = shell(f"$cnnviz {words} | head -c 1; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.returncode in (0, 141)
    ours, theirs = os.pipe()
    os.close(ours)
    closed = run_warm(*words.split(), stdout=theirs)
    os.close(theirs)
    assert closed.stderr == ""
    assert closed.returncode == 141 or "--help" in words  # argparse itself passes over it


def test_a_training_goes_on_if_nobody_reads_what_it_says() -> None:
    words = ["--model", "f12", "--epochs", "3", "--dataset", "synthetic", "--limit-train", "100"]
    ours, theirs = os.pipe()
    with Started("cnnviz", "train", *words, stdout=theirs, stderr=theirs) as training:
        os.close(theirs)
        with os.fdopen(ours) as said:
            assert said.readline().endswith("\n")
    assert training.returncode == 141
    listed = run_warm("runs")
    assert listed.stdout.count("FINISHED") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_output_that_is_full_is_one_line() -> None:
    recorded()
    with Path("/dev/full").open("w") as full:
        done = run_warm("runs", stdout=full.fileno())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("cnnviz: the output cannot be written (No space left on device)")


def test_without_any_output_nothing_is_said() -> None:
    recorded()
    assert shell("$cnnviz runs >&- 2>&-").returncode == 0


def test_a_fault_of_ours_is_reported_without_a_password() -> None:
    program = (
        "import sys\n"
        "from cnnviz import __main__ as command_line\n"
        "from cnnviz.store import reading\n"
        "def fail():\n    raise RuntimeError('no answer from http://user:secret@host')\n"
        "reading.runs = fail\n"
        "sys.exit(command_line.main(['runs']))\n"
    )
    done = run_warm(program=program)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: no answer from http://user:***@host" in done.stderr
    assert "secret@" not in done.stderr.replace("raise RuntimeError('no answer from http://user:secret@host')", "")
