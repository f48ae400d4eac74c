"""The app in a real browser, and in AppTest without a worker."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnviz import paths
from cnnviz.jobs import control
from tests.helpers.processes import Started, kill_all
from tests.helpers.screens import CHROMIUM, FLAGS


@contextlib.contextmanager
def served(start: Callable[[list[str], Path], subprocess.Popen[bytes] | Started]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths.home().mkdir(parents=True)
    words = ["run", "app.py", "--server.headless", "true", "--server.port", str(port)]
    server = start(words, paths.home() / "server.log")
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        kill_all(server)


@pytest.fixture
def address(few_pictures: Path) -> Iterator[str]:
    with served(lambda words, log: Started("streamlit", *words, log=log)) as address:
        yield address


@pytest.fixture
def cold_address(few_pictures: Path) -> Iterator[str]:
    """The app as README starts it."""

    def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "streamlit", *words], cwd=paths.PROJECT, stdout=said, stderr=said
            )

    with served(start) as address:
        yield address


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
    for start in ("ensure_worker", "stand_by"):
        monkeypatch.setattr(control, start, lambda: None)
