"""A store written by version 0.1.0 opens, goes on and is drawn, under the addresses of that version.

The archive was made by that version with the synthetic data: two stacks of two runs, a continued run, a fork, two runs
whose worker was killed after epoch 3 of 5, one waiting, one deleted, one failed. To keep it small, some checkpoints
that no run is continued from were left out.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.jobs import control
from cnnviz.store import addresses, artifacts, changes, connection, reading
from tests.helpers.processes import Started
from tests.helpers.screens import diagram, said, with_open
from tests.helpers.workers import start_worker

ARCHIVE = Path(__file__).with_name("version-0.1.0.zip")
# id: status, last epoch, epoch of the best accuracy, its value, starts of the segments, epochs kept
RUNS = {
    "53c5f55a": ("FINISHED", 3, 3, 0.1028, [0], [0, 2, 3]),
    "e0fbe8db": ("FINISHED", 3, 1, 0.1, [0], [0, 2, 3]),
    "7b4006f5": ("FINISHED", 3, 3, 0.1214, [0], [0, 2, 3]),
    "2acb647e": ("FINISHED", 3, 3, 0.0982, [0], [0, 2, 3]),
    "8a5da4b4": ("FINISHED", 4, 1, 0.0974, [0, 2], [0, 3, 4]),
    "88e24a8f": ("FINISHED", 4, 4, 0.1082, [2], [2, 3, 4]),
    "415ae0e9": ("RUNNING", 3, 3, 0.1209, [0], [0, 3]),
    "ab64fc9d": ("RUNNING", 3, 3, 0.1022, [0], [0, 3]),
    "9b89cd7e": ("SCHEDULED", -1, None, None, [], []),
    "304fb940": ("FAILED", -1, None, None, [], []),
}
DELETED = "79b9f7eb"
CONTINUED, FORK, PARENT, WAITING, FAILED = "8a5da4b4", "88e24a8f", "2acb647e", "9b89cd7e", "304fb940"
INTERRUPTED = ("415ae0e9", "ab64fc9d")


@pytest.fixture(autouse=True)
def _old_store(few_pictures: Path) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(paths.home())


@pytest.fixture
def pages(warm_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ensure_worker", lambda: None)  # pages that only read


@pytest.fixture
def worker() -> Iterator[Started]:
    process = start_worker()
    family = psutil.Process(process.pid)
    try:
        yield process
    finally:
        if process.poll() is None:
            for each in [*family.children(recursive=True), family]:
                each.kill()
        process.wait()


def test_every_run_is_read_as_it_was_recorded() -> None:
    found = {run.id[:8]: run for run in reading.runs()}
    assert {
        key: (
            run.status,
            run.epoch,
            *(run.best or (None, None)),
            [segment.start_epoch for segment in run.segments],
            artifacts.checkpoint_epochs(run.id),
        )
        for key, run in found.items()
    } == {
        key: (status, epoch, best, value and pytest.approx(value), starts, kept)
        for key, (status, epoch, best, value, starts, kept) in RUNS.items()
    }
    assert [run.id[:8] for run in reading.runs(deleted=True)] == [DELETED]
    assert (found[FORK].parent, found[FORK].first_epoch) == (found[PARENT].id, 2)
    assert found[FAILED].message == "for a test"
    continued = found[CONTINUED].config
    assert (continued.optimizer, continued.momentum, continued.weight_decay, continued.seed) == ("sgd", 0.5, 0.001, 1)
    assert (found[WAITING].config.optimizer, found[WAITING].config.limit_train) == ("adam", 200)
    stack = found[PARENT].stack_history
    assert stack is not None
    assert [each[:8] for each in stack.at(1)] == ["7b4006f5", PARENT]
    assert all(segment.seconds > 0 and segment.device == "cpu" for run in found.values() for segment in run.segments)


def test_every_checkpoint_and_optimizer_state_loads() -> None:
    for run in reading.runs():
        for epoch in artifacts.checkpoint_epochs(run.id):
            assert artifacts.load_checkpoint(run, epoch).keys() == run.architecture.weight_shapes.keys()
        if run.config.momentum and run.epoch >= 0:
            assert artifacts.load_optimizer(run, run.epoch)


def test_the_moved_store_is_read_by_mlflow_s_own_client(tmp_path: Path) -> None:
    run_id = reading.run(CONTINUED).id
    client = MlflowClient(addresses.tracking_uri())
    info = client.get_run(run_id).info
    assert info.artifact_uri == (paths.home() / "artifacts" / run_id / "artifacts").as_uri()
    assert [each.step for each in client.get_metric_history(run_id, "test_loss")] == [0, 1, 2, 3, 4]
    names = [each.path for each in client.list_artifacts(run_id, "checkpoints")]
    assert names == [f"checkpoints/epoch-000{epoch}.safetensors" for epoch in (0, 3, 4)]
    assert Path(client.download_artifacts(run_id, names[0], str(tmp_path))).stat().st_size == 10832


@pytest.fixture
def going_on() -> list[str]:
    """The runs that a worker has to take: the continued one waits before the worker starts."""
    (continued,) = changes.continue_runs([reading.run(CONTINUED).id], 2)
    return [continued, *(reading.run(key).id for key in (*INTERRUPTED, WAITING))]


def test_a_worker_finishes_what_was_interrupted_waits_or_is_continued(going_on: list[str], worker: Started) -> None:
    assert worker.wait(timeout=300) == 0, (paths.home() / "test.log").read_text()
    finished = {run.id: run for run in reading.runs()}
    client = connection.client()
    for run_id, last in zip(going_on, (6, 5, 5, 2), strict=True):
        run = finished[run_id]
        assert (run.status, run.epoch, run.message) == ("FINISHED", last, "")
        for metric in ("test_loss", "train_accuracy"):
            steps = [each.step for each in client.get_metric_history(run_id, metric)]
            assert sorted(steps) == list(range(last + 1))
        assert artifacts.load_checkpoint(run, last)
    starts = [[segment.start_epoch for segment in finished[run_id].segments] for run_id in going_on]
    assert starts == [[0, 2, 4], [0, 3], [0, 3], [0]]
    untouched = {key: run.status for key in RUNS if (run := reading.run(key)).id not in going_on}
    assert untouched == {key: RUNS[key][0] for key in untouched}


def page(name: str, **address: str | list[str]) -> AppTest:
    """A page opened under an old address."""
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    for key, value in address.items():
        opened.query_params[key] = value
    opened.switch_page(f"pages/{name}.py").run()
    assert not opened.exception
    assert not opened.error
    return opened


@pytest.mark.usefixtures("pages")
def test_the_runs_page_lists_them() -> None:
    assert f"{len(RUNS)} runs" in said(page("runs"))


@pytest.mark.usefixtures("pages")
def test_an_old_address_of_the_curves_shows_what_it_names() -> None:
    runs = [FORK, CONTINUED, *INTERRUPTED]
    opened = page("curves", runs=runs, measure="Error", axis="Images", epoch="2", facets=["lr"])
    with_open(opened, "curves_runs", "curves_layout")
    assert opened.multiselect(key="curve_runs").value == runs
    assert opened.selectbox(key="measure").value == "Error"
    assert opened.segmented_control(key="axis").value == "Images"
    assert opened.multiselect(key="facets").value == ["lr"]
    assert opened.number_input(key="curve_epoch").value == 2
    assert "is left out" not in said(opened)


@pytest.mark.usefixtures("pages")
def test_an_old_address_of_the_feature_maps_shows_what_it_names() -> None:
    opened = page("feature_maps", run=PARENT, other=FORK, epoch="2", layer="c1_activation", channel="1", view="maps")
    assert opened.selectbox(key="run").value == PARENT
    assert opened.selectbox(key="other").value == FORK
    assert opened.select_slider(key="epoch").value == 2
    text = said(opened).replace("\\", "")
    assert "c1, activation · channel 1** of lr 0.01, epoch 2" in text
    first, second = (row["name"] for row in diagram(opened)["rows"])
    assert first.endswith(" · epoch 2")
    assert second.endswith(" · epoch 2")
    assert "fork of 2acb64 at 2" in diagram(opened)["rows"][1]["help"]
    assert "is left out" not in text
