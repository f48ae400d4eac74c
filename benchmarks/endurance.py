"""Eight at once, and eight hours' worth: what the store, the server and the worker look like afterwards.

python -m benchmarks.endurance together      eight processes launch, stop, continue, delete and undo on a new store
python -m benchmarks.endurance refreshes     thousands of page runs: does the memory stay flat?
python -m benchmarks.endurance launches      a hundred launches, one after another, on one worker
python -m benchmarks.endurance browsers      eight browser sessions at a server do what a hand does
"""

import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.jobs import control, mlflow_ui
from cnnviz.jobs.status import workers
from cnnviz.store import changes, connection, reading

TINY = RunConfig(model="c4k5-s2-f12", dataset="synthetic", limit_train=100, epochs=2, lr=0.05, momentum=0.5)


def wait_until_idle(seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while any(run.active for run in reading.runs()) or any(status.alive for status in workers()):
        control.ensure_worker()
        if time.monotonic() > end:
            raise SystemExit("the runs did not come to an end")
        time.sleep(0.5)


def verdict() -> None:
    """Every run trained once, none lost."""
    found = reading.runs() + reading.runs(deleted=True)
    twice = missing = 0
    for run in found:
        steps = Counter(point.step for point in connection.client().get_metric_history(run.id, "test_loss"))
        twice += sum(count - 1 for count in steps.values())
        missing += run.status == "FINISHED" and sorted(steps) != list(range(run.config.epochs + 1))
    print(f"{len(found)} runs {dict(Counter(run.status for run in found))}: {twice} steps twice, {missing} incomplete")
    zombies = [each.pid for each in psutil.Process().children(recursive=True) if each.status() == psutil.STATUS_ZOMBIE]
    logs = {path.name: path.stat().st_size for path in paths.home().rglob("*.log")}
    print(f"zombies {len(zombies)}; logs, bytes {logs}; halves {len(list(paths.home().rglob('*.tmp')))}")


def hand(seed: int, rounds: int, errors: Any) -> None:
    """One user, quick and careless."""
    draw = random.Random(seed)
    for number in range(rounds):
        try:
            mine = control.submit([TINY, TINY] if number % 2 else [TINY], "cpu")
            time.sleep(draw.uniform(0, 1))
            every = [run.id for run in reading.runs()]
            victim = draw.choice(every)
            match draw.randrange(5):
                case 0:
                    control.stop([victim], ended_ok=True)
                case 1:
                    changes.delete([victim])
                case 2:
                    control.continue_runs([victim], 1)
                case 3:
                    changes.restore(mine)
                case 4:
                    reading.history(every, ["test_loss"])
        except StoreError as error:  # one line for the user, where another one was faster
            said = str(error)
            if not any(each in said for each in ("stop it first", "still training", "no run")):
                errors.put(said)
        except Exception as error:
            errors.put(repr(error))


def together() -> None:
    context = multiprocessing.get_context("spawn")
    errors = context.Queue()
    people = [context.Process(target=hand, args=(seed, 8, errors)) for seed in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    wait_until_idle()
    print(f"8 processes, {len(people) * 8} launches; unexpected: {[errors.get() for _ in range(errors.qsize())]}")
    verdict()


def server() -> tuple[subprocess.Popen[bytes], str]:
    port = "8795"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port", port]
    with (paths.home() / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=paths.PROJECT, stdout=log, stderr=log)
    while mlflow_ui._is_free(int(port)):
        time.sleep(0.2)
    return process, f"http://127.0.0.1:{port}"


def megabytes(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 1e6


def refreshes(count: int = 3000) -> None:
    """By AppTest, in this process: its memory is the server's, less the network's."""
    from streamlit.testing.v1 import AppTest

    control.submit([TINY] * 3, "cpu")
    wait_until_idle()
    pages = ("pages/home.py", "pages/runs.py", "pages/curves.py", "pages/feature_maps.py")
    for number in range(count + 1):
        if number % 10 == 0:  # a new session
            opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
        opened.switch_page(pages[number % 3]).run()
        assert not opened.exception
        if number % (count // 10) == 0:
            print(f"{number} page runs: {megabytes(os.getpid()):.0f} MB", flush=True)


def launches(count: int = 100) -> None:
    memory: list[float] = []
    control.submit([TINY], "cpu")
    for _ in range(count - 1):
        changes.schedule([TINY], "cpu")
        control.ensure_worker()
        time.sleep(1)
        if (status := next(iter(workers()), None)) and status.alive and psutil.pid_exists(status.pid):
            memory.append(megabytes(status.pid))
    wait_until_idle()
    tenth = max(1, len(memory) // 10)
    print("worker, MB, over its life: " + " ".join(f"{each:.0f}" for each in memory[::tenth]))
    verdict()


def browsers(people: int = 8, rounds: int = 3) -> None:
    from playwright.sync_api import sync_playwright

    from tests.helpers.screens import CHROMIUM, FLAGS

    process, address = server()
    shown: list[str] = []
    try:
        with sync_playwright() as playwright:
            opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            pages = [opened.new_page() for _ in range(people)]
            for page in pages:
                page.set_default_timeout(60_000)
                page.goto(address)
            for number in range(rounds):
                for page in pages:
                    page.get_by_role("button", name="Train", exact=True).click()
                for index, page in enumerate(pages):
                    page.goto(f"{address}/{['', 'curves', 'feature_maps'][(index + number) % 3]}")
                for run in reading.runs()[:: 2 + number]:
                    control.stop([run.id], ended_ok=True)
                for page in pages:
                    page.wait_for_timeout(1500)
                    shown += page.locator(
                        "[data-testid=stException], [data-testid=stAlertContentError]"
                    ).all_inner_texts()
                    page.goto(address)
                print(f"round {number + 1}: server {megabytes(process.pid):.0f} MB, errors shown {shown}", flush=True)
            opened.close()
        control.stop([run.id for run in reading.runs() if run.active], ended_ok=True)
        wait_until_idle()
        verdict()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CNNVIZ_HOME"] = folder
        os.environ.setdefault("CNNVIZ_DATA", str(Path(tempfile.gettempdir()) / "cnnviz-endurance-data"))
        reading.runs()
        {"together": together, "refreshes": refreshes, "launches": launches, "browsers": browsers}[sys.argv[1]]()
