"""The app in a real browser, and in AppTest without a worker."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cnnviz import paths
from cnnviz.jobs import control
from tests.helpers.screens import CHROMIUM, FLAGS


@pytest.fixture
def address(synthetic_root: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths.home().mkdir(parents=True)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with (paths.home() / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--server.port", str(port)], cwd=paths.PROJECT, stdout=log, stderr=log, env=dict(os.environ)
        )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        family = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
        for process in family:
            process.kill()
        server.wait()
        psutil.wait_procs(family, timeout=10)


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages only read; the worker has tests of its own."""
    monkeypatch.setattr(control, "ensure_worker", lambda: None)
