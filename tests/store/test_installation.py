"""The id of a CNNVIZ_HOME."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnviz import paths
from cnnviz.store import installation

ASK = "import sys; sys.stdin.read(1); from cnnviz.store import installation; print(installation.this())"


def test_processes_at_once_end_with_the_same_one() -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], cwd=paths.PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = {process.communicate("x")[0].strip() for process in asking}
    assert said == {installation.this()}
    assert not list(paths.home().glob("installation.*.tmp"))


def test_a_folder_that_moves_stays_itself_and_a_copy_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = installation.this()
    moved, copied = tmp_path / "moved", tmp_path / "copied"
    paths.home().rename(moved)
    shutil.copytree(moved, copied)
    monkeypatch.setenv("CNNVIZ_HOME", str(moved))
    assert installation.this() == first
    monkeypatch.setenv("CNNVIZ_HOME", str(copied))
    assert installation.this() != first
    assert (copied / "installation").read_text().startswith(installation.this())


@pytest.mark.parametrize("text", ["", "no id", "\x00" * 40, "é 1"], ids=repr)
def test_a_file_that_says_nothing_is_made_anew(text: str) -> None:
    paths.home().mkdir()
    (paths.home() / "installation").write_text(text, encoding="latin-1")
    made = installation.this()
    assert (paths.home() / "installation").read_text().startswith(made)


def test_a_name_for_people() -> None:
    assert installation.host()
    assert "." not in installation.host()
