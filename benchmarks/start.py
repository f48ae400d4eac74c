"""What somebody waits for who has never started cnnviz: python -m benchmarks.start

A server on a free port, an empty store and no data set, Chromium 1400×900. Prints Markdown; needs the packages of
requirements-dev.txt.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial

from playwright.sync_api import Page, sync_playwright

from cnnviz import data, paths
from cnnviz.jobs import control
from cnnviz.jobs.status import workers
from cnnviz.store import reading
from tests.helpers.screens import CHROMIUM, FLAGS

PAGES = {"Runs": "3 runs", "Curves": "Layout", "Feature maps": "32×32", "Home": "Projector"}  # what shows them


@contextlib.contextmanager
def first_visit(width: int = 1400, height: int = 900) -> Iterator[tuple[Page, str]]:
    """A browser's page and the address of a server that has just been started, without runs or data sets."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        served(width, height, CNNVIZ_HOME=f"{folder}/home", CNNVIZ_DATA=f"{folder}/data") as visit,
    ):
        yield visit


@contextlib.contextmanager
def served(width: int = 1400, height: int = 900, **environment: str) -> Iterator[tuple[Page, str]]:
    """A browser's page and the address of a server that has just been started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    with sync_playwright() as playwright:
        env = dict(os.environ) | environment
        command += ["--server.port", str(port)]
        nowhere = subprocess.DEVNULL
        server = subprocess.Popen(command, cwd=paths.PROJECT, env=env, stdout=nowhere, stderr=nowhere)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(300_000)
            yield page, f"http://127.0.0.1:{port}"
            browser.close()
        finally:
            server.kill()
            server.wait()


def main() -> None:
    with first_visit() as (page, address):
        print("| from | to | seconds |\n|---|---|---|")
        measure(page, address)
    if data.available("cifar10"):
        for launch in (study, partial(one_lenet, seconds=10.0), partial(one_lenet, seconds=0.5)):
            with (
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
                served(CNNVIZ_HOME=home) as (page, address),
            ):
                os.environ["CNNVIZ_HOME"] = home
                launch(page, address)
                stop_all()


def say(start: str, end: str, begun: float) -> None:
    print(f"| {start} | {end} | {time.monotonic() - begun:.1f} |", flush=True)


def one_lenet(page: Page, address: str, seconds: float) -> None:
    """The click on Train in the form, which has been open for so long, with CIFAR-10 at hand."""
    page.goto(address)
    page.locator(".st-key-open_form").get_by_role("button").click()
    form = page.get_by_test_id("stSidebar")
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name="2a · LeNet 3×3, ReLU").click()
    time.sleep(seconds)
    form.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    begun = time.monotonic()
    page.get_by_role("heading", name=re.compile("^1 network ")).wait_for()
    page.locator(".watching-board td", has_text=" %").first.wait_for()
    say(f"the click on *Train*, after {seconds:g} s at the form", "the first point of one LeNet", begun)


def stop_all() -> None:
    control.stop([run.id for run in reading.runs() if run.active], ended_ok=True)
    while any(status.alive for status in workers()):
        time.sleep(1)


def study(page: Page, address: str) -> None:
    """The click on the reference study, with CIFAR-10 at hand and a compiler's cache as it is."""
    page.goto(address)
    page.get_by_role("button", name="Train twelve networks").click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    begun = time.monotonic()
    page.locator(".watching-board td", has_text=" %").first.wait_for()
    say("the click on *The study*", "the first point of twelve LeNets", begun)


def measure(page: Page, address: str) -> None:
    begun = time.monotonic()

    def row(start: str, end: str) -> None:
        say(start, end, begun)

    page.goto(address)
    page.get_by_role("link", name="Curves").wait_for()
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    say("opening the address, cold server", "the first paint, with the pages' names", time.monotonic() - painted)
    row("opening the address, cold server", "links to the pages")
    page.get_by_text("Epoch 1 of 15").wait_for()
    row("opening the address, cold server", "something moves")
    page.get_by_role("button", name="Train three networks").wait_for()
    row("opening the address, cold server", "the page is whole")

    page.get_by_role("button", name="Train three networks").click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    begun = time.monotonic()
    page.locator(".watching-board td", has_text=" %").first.wait_for()
    row("the click on *Try it*", "the first point, drawing the shapes included")
    page.get_by_text("3 networks finished in").wait_for()
    row("the click on *Try it*", "finished curves")

    for name, shown in PAGES.items():
        for again in (False, True):
            begun = time.monotonic()
            page.get_by_role("link", name=name, exact=True).click()
            page.get_by_text(shown, exact=shown == "3 runs").first.wait_for()
            if again:
                row("the click on a page's name, seen before", name)
            page.get_by_role("link", name="Curves" if name == "Runs" else "Runs", exact=True).click()
            page.get_by_role("heading", name="Curves" if name == "Runs" else "Runs").wait_for()
            time.sleep(1)


if __name__ == "__main__":
    main()
