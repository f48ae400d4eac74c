"""An MLflow server on PostgreSQL that two installations record to, each with a CNNVIZ_HOME of its own."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from cnnviz import __main__, paths
from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.inspection import recorded
from cnnviz.inspection.network import predict
from cnnviz.jobs import control, stages
from cnnviz.store import artifacts, changes, connection, downloads, failures, installation, ownership, reading
from tests.helpers.postgres import Postgres
from tests.helpers.processes import PIPE, Started, kill_all
from tests.helpers.runs import trained
from tests.helpers.screens import said
from tests.helpers.servers import free_port, start_server
from tests.helpers.workers import LONG, TINY, start_worker, steps_of, wait_for

PAGES = ("home", "runs", "curves", "feature_maps", "mistakes", "report")
SMALL = replace(TINY, limit_train=1000)
CONTINUE = """
import sys
from cnnviz.errors import StoreError
from cnnviz.store import changes
print("ready", flush=True)
for _ in sys.stdin:
    try:
        changes.continue_runs([sys.argv[1]], 1)
        print("mine", flush=True)
    except StoreError as error:
        print(error, flush=True)
"""


class Server:
    """The server, which can be killed and started again on the same database."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self.start()

    def start(self) -> None:
        self.process = start_server(self.folder, self.port, self.database)
        failures._answered.clear()

    def kill(self) -> None:
        kill_all(self.process)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="cnnviz-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # pytest's own folders are closed to the user that PostgreSQL runs as
        postgres = Postgres(folder / "postgres")
        try:
            (folder / "server").mkdir()
            started = Server(folder / "server", postgres.address)
            yield started
            started.kill()
        finally:
            postgres.stop()


@pytest.fixture
def on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on as another machine: its own folder, the same server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.port}")

    def go(machine: str) -> None:
        monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / machine))
        monkeypatch.setattr(installation, "host", lambda: machine)
        paths.home().mkdir(exist_ok=True)
        downloads._listed.clear()

    return go


def test_of_two_that_continue_a_run_at_once_one_does(on: Callable[[str], None], tmp_path: Path) -> None:
    on("a")
    (run_id,) = changes.schedule([SMALL], "cpu")
    changes.finish(run_id, "FINISHED")
    racers = {}
    for name in ("b", "c"):
        on(name)
        racers[name] = Started("", run_id, program=CONTINUE, stdin=PIPE, stdout=PIPE)
    try:
        assert [racer.stdout.readline() for racer in racers.values() if racer.stdout] == ["ready\n", "ready\n"]
        for number in range(1, 9):
            for racer in racers.values():
                assert racer.stdin
                racer.stdin.write(b"\n")
                racer.stdin.flush()
            answers = {name: racer.stdout.readline().strip() for name, racer in racers.items() if racer.stdout}
            (winner,) = [name for name, answer in answers.items() if answer == "mine"]
            (other,) = [answer for answer in answers.values() if answer != "mine"]
            assert "is being continued on another machine" in other or "is still training or waiting" in other
            on(winner)
            owner = ownership.of(connection.client().get_run(run_id))
            assert (owner.is_here, owner.claims, owner.settled) == (True, number, True)
            assert [run.id for run in reading.queue("cpu")] == [run_id]
            on("a")
            assert reading.queue("cpu") == []
            changes.finish(run_id, "FINISHED")
    finally:
        for racer in racers.values():
            racer.close()
    changes.delete([run_id])


def test_a_claim_that_is_not_settled_keeps_others_away_and_is_taken_up_again(on: Callable[[str], None]) -> None:
    on("a")
    (run_id,) = changes.schedule([SMALL], "cpu")
    changes.finish(run_id, "FINISHED")
    on("b")
    ownership.claim(connection.client().get_run(run_id))  # and dies
    on("c")
    with pytest.raises(StoreError, match="is being continued on another machine"):
        changes.continue_runs([run_id], 1)
    on("b")
    changes.continue_runs([run_id], 1)
    assert ownership.of(connection.client().get_run(run_id)).claims == 1
    changes.request_stop([run_id])
    on("c")
    changes.continue_runs([run_id], 1)
    assert [run.id for run in reading.queue("cpu")] == [run_id]
    changes.delete([run_id])


def test_a_run_that_is_nobodys_is_stopped_and_continued(on: Callable[[str], None]) -> None:
    on("a")
    (run_id,) = changes.schedule([SMALL], "cpu")
    changes.start(run_id)
    connection.client().delete_tag(run_id, "cnnviz.installation")
    assert reading.queue("cpu") == []
    changes.request_stop([run_id])
    assert reading.run(run_id).status == "KILLED"
    changes.continue_runs([run_id], 1)
    assert [run.id for run in reading.queue("cpu")] == [run_id]
    assert not reading.run(run_id).stopping
    changes.delete([run_id])


def test_two_installations_train_each_its_own_and_the_server_is_killed(
    on: Callable[[str], None], server: Server, few_pictures: Path
) -> None:
    on("a")
    first, long = changes.schedule([SMALL, replace(LONG, seed=1)], "cpu")
    on("b")
    second, waiting = changes.schedule([SMALL, replace(SMALL, seed=1)], "cpu")
    changes.delete([first])  # waiting elsewhere, and back
    changes.restore([first])
    assert reading.run(first).elsewhere == "a"
    connection.client().set_tag(first, "cnnviz.stop", "")  # else its owner stops it, as it was deleted
    workers = {}
    for name in ("a", "b"):
        on(name)
        workers[name] = start_worker()
    try:
        wait_for(lambda: reading.run(long).epoch >= 1, 300)
        server.kill()
        time.sleep(3)
        server.start()
        # b is the machine from here on
        (seen,) = [run for run in reading.runs() if run.id == long]
        assert (seen.is_here, seen.elsewhere) == (False, "a")
        assert stages.one_line([], [seen]) == "1 network trains on a"
        with pytest.raises(StoreError, match="is training: stop it first"):
            changes.delete([long])
        with pytest.raises(StoreError, match="still training or waiting"):
            changes.continue_runs([long], 1)
        changes.request_stop([long])
        assert [worker.wait(300) for worker in workers.values()] == [0, 0]
    finally:
        for worker in workers.values():
            if worker.poll() is None:
                kill_all(worker)
    ended = {run_id: reading.run(run_id) for run_id in (first, second, waiting, long)}
    assert [run.status for run in ended.values()] == ["FINISHED"] * 3 + ["KILLED"]
    for run_id, run in ended.items():
        assert steps_of(run_id) == list(range(run.epoch + 1))
        assert len(run.segments) == 1
    changes.continue_runs([first], 2)
    on("a")
    changes.continue_runs([second], 2)
    workers = {"a": start_worker()}
    on("b")
    workers["b"] = start_worker()
    assert [worker.wait(300) for worker in workers.values()] == [0, 0]
    for name in ("a", "b"):
        on(name)
        for run_id in (first, second):
            run = reading.run(run_id)
            assert (run.status, run.epoch, len(run.segments)) == ("FINISHED", 5, 2)
            assert steps_of(run_id) == list(range(6))
            assert artifacts.checkpoint_epochs(run_id) == list(range(6))
            network = recorded.of(run, artifacts.load_checkpoint(run, 5))
            assert predict(network, torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).probabilities.isfinite().all()


@pytest.mark.usefixtures("few_pictures", "warm_server")
def test_every_page_and_command_works_on_it(
    on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(control, "ensure_worker", lambda: None)
    on("a")
    run_id = trained(RunConfig(model="c4k5-s2-f12", dataset="synthetic", epochs=2, limit_train=500))
    (elsewhere,) = changes.schedule([replace(SMALL, seed=5)], "cpu")
    changes.start(elsewhere)
    on("b")
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=120).run()
    for page in PAGES:
        opened.switch_page(f"pages/{page}.py").run()
        assert not opened.exception, page
        assert not opened.error, (page, opened.error)
        if page == "home":
            assert "1 network trains on a" in said(opened)
    for words in (
        ["runs"],
        ["features", run_id, "--out", str(tmp_path / "maps.png")],
        ["mistakes", run_id],
        ["stop", elsewhere],
        ["train", "--model", "f12", "--dataset", "synthetic", "--epochs", "1", "--limit-train", "500"],
        ["continue", run_id, "--epochs", "1"],
    ):
        assert __main__.main(words) in (0, None), words
    assert "Trains on a" in capsys.readouterr().out
    __main__.main(["runs", "--json"])
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[elsewhere]["status"], rows[elsewhere]["elsewhere"]) == ("RUNNING", "a")
    assert (rows[run_id]["status"], rows[run_id]["epoch"], rows[run_id]["elsewhere"]) == ("FINISHED", 4, "")
    assert reading.run(elsewhere).stopping
