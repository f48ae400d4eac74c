"""What is declared for pip, and what .ci/run does with it."""

import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

from cnnviz import paths

PROJECT = tomllib.loads((paths.PROJECT / "pyproject.toml").read_text())["project"]


def pinned(name: str) -> dict[str, tuple[int, ...]]:
    """Package → the version that a requirements file pins."""
    lines = (paths.PROJECT / name).read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {package: version(text) for package, text in pairs}


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split(".post")[0]))


def test_what_is_declared_is_what_is_pinned() -> None:
    declared = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(PROJECT["dependencies"]), re.MULTILINE))
    pins = pinned("requirements.txt")
    assert declared.keys() == pins.keys()
    assert {name for name, lowest in declared.items() if version(lowest) > pins[name]} == set()


def test_the_command_is_the_modules() -> None:
    assert PROJECT["scripts"] == {"cnnviz": "cnnviz.__main__:main"}
    assert (paths.PROJECT / "cnnviz" / "py.typed").exists()


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_ci_ends_where_an_install_fails(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(paths.PROJECT / ".ci" / "run", tmp_path / ".ci")
    executable(tmp_path / "bin" / "chromium", "")
    executable(tmp_path / "venv" / "pip", "echo 'no matching distribution' >&2; exit 1")
    executable(tmp_path / "venv" / "ruff", f"touch {tmp_path}/linted")
    python = executable(
        tmp_path / "bin" / "python", f'mkdir -p "$3/bin"; echo "PATH={tmp_path}/venv:$PATH" > "$3/bin/activate"'
    )
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PYTHON": str(python)}
    done = subprocess.run(["bash", str(tmp_path / ".ci" / "run")], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no matching distribution" in done.stderr
    assert not (tmp_path / "linted").exists()
