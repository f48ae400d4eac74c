"""A copy of the project that a test may change, and scripts run in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cnnviz import paths

# AppTest in a process of its own: no worker is started, and the server is warm, as the fixture warm_server makes it.
_APP = """
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest
from cnnviz.jobs import control

control.ensure_worker = control.stand_by = lambda: None
begin = PagesManager.__init__
def warm(*args, **settings):
    PagesManager.uses_pages_directory = False
    begin(*args, **settings)
PagesManager.__init__ = warm
"""


def copied(folder: Path) -> Path:
    """The app and its package, copied into the folder."""
    for name in ("cnnviz", "pages"):
        shutil.copytree(paths.PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(paths.PROJECT / "app.py", folder)
    return folder


def run_in(folder: Path, script: str) -> None:
    """Run a script that uses AppTest on the copy in the folder; it must end well."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", _APP + script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
