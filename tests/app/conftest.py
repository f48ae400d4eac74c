"""The app in a real browser, and in AppTest without a worker."""

import asyncio
import contextlib
import random
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
from tests.helpers.screens import CHROMIUM, FLAGS, leave


@pytest.fixture(scope="session")
def port() -> int:
    """Of one server after the other: what Chromium has kept of one's scripts does for the next."""
    for each in random.sample(range(22_000, 30_000), 100):  # below those that systems give to whoever connects
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", each))
            return each
    raise AssertionError("no port is free")


@contextlib.contextmanager
def served(port: int, start: Callable[[list[str], Path], subprocess.Popen[bytes] | Started]) -> Iterator[str]:
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
def address(few_pictures: Path, port: int) -> Iterator[str]:
    with served(port, lambda words, log: Started("streamlit", *words, log=log)) as address:
        yield address


@pytest.fixture
def cold_address(few_pictures: Path, port: int) -> Iterator[str]:
    """The app as README starts it."""

    def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "streamlit", *words], cwd=paths.PROJECT, stdout=said, stderr=said
            )

    with served(port, start) as address:
        yield address


@pytest.fixture(scope="session")
def _chromium(port: int) -> Iterator[tuple[Any, Any, list[str]]]:
    """Chromium, Playwright's event loop, which other tests must not find running, and what its tabs ask of other
    machines."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install Debian's package chromium")
    from playwright.sync_api import Request, sync_playwright

    elsewhere: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            elsewhere.append(request.url)

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shared = opened.new_context()
        shared.on("request", note)
        shared.new_page()
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield opened, loop, elsewhere
        asyncio._set_running_loop(loop)
        opened.close()


@pytest.fixture
def browser(_chromium: tuple[Any, Any, list[str]], port: int) -> Iterator[Any]:
    """Chromium, one for all tests, with a tab whose pages load in half the time. Nothing a test left is in it, and no
    page of the app may ask another machine for anything."""
    opened, loop, elsewhere = _chromium
    asyncio._set_running_loop(loop)
    shared, tab = opened.contexts[0], opened.contexts[0].pages[0]
    elsewhere.clear()
    yield opened
    try:
        for each in (*opened.contexts[1:], *shared.pages[1:]):
            each.close()
        leave(tab)
        devtools = shared.new_cdp_session(tab)
        of_test = {"origin": f"http://127.0.0.1:{port}", "storageTypes": "cookies,indexeddb,local_storage"}
        devtools.send("Storage.clearDataForOrigin", of_test)
        devtools.detach()
    finally:
        asyncio._set_running_loop(None)
    assert elsewhere == []


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages only read; the worker has tests of its own."""
    for start in ("ensure_worker", "stand_by"):
        monkeypatch.setattr(control, start, lambda: None)
