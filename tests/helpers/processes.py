"""A test's processes, and those of cnnviz that start warm: forked from one that has their libraries loaded, which takes
3 to 6 s of a core each time.

All else of these is as if Python had started for them alone: their environment, session, signals and exit status.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from cnnviz import paths

warm = multiprocessing.get_context("forkserver")
warm.set_forkserver_preload(
    [
        *("cnnviz.jobs.worker", "cnnviz.jobs.control", "cnnviz.__main__"),
        *("cnnviz.render.curve_charts", "cnnviz.inspection.mistakes", "cnnviz.inspection.attribution"),
        *("streamlit.web.bootstrap", "streamlit.web.cli", "streamlit.components.v2"),
    ]
)


def forked(target: Callable[..., None], *arguments: Any) -> Any:
    """A started process. AppTest leaves its script as the main module, which a process would begin with."""
    process, main = warm.Process(target=target, args=arguments), sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process


class Started:
    """What subprocess.Popen is for one that starts cold."""

    def __init__(self, module: str, *words: str, log: Path) -> None:
        self._process = forked(_main, module, words, dict(os.environ), str(log))
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _main(module: str, words: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    os.setsid()
    os.chdir(paths.PROJECT)
    os.environ.clear()
    os.environ.update(environment)
    with Path(log).open("ab") as said, Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def kill_all(process: subprocess.Popen[bytes] | Started) -> None:
    """kill -9 of the process and of those it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        each.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)
