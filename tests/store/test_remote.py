"""One real MLflow server and two machines, each with a CNNVIZ_HOME of its own: one records, the other reads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnviz import paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, UnreachableError
from cnnviz.jobs import resume
from cnnviz.store import artifacts, changes, checkpoints, connection, downloads, reading
from cnnviz.store.runs import Run, Segment
from tests.helpers.processes import kill_all, run_warm
from tests.helpers.servers import free_port, start_server

MODEL = "c2k5-s2-f6"
Machine = Callable[[str], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    port = free_port()
    process = start_server(tmp_path_factory.mktemp("server"), port)
    yield f"http://127.0.0.1:{port}"
    kill_all(process)


@pytest.fixture
def on(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go on as another machine: its own folder, the same server, nothing remembered."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)

    def go(machine: str) -> None:
        monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / machine))
        downloads._listed.clear()

    return go


@pytest.fixture
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Run, str], Path]:
    """Where the server keeps a run's file."""

    def find(run: Run, name: str) -> Path:
        roots = tmp_path_factory.getbasetemp().glob(f"server*/artifacts/*/{run.id}/artifacts/{name}")
        return next(roots)

    return find


def weights(epoch: int) -> dict[str, torch.Tensor]:
    return dict(initial_weights(architecture(MODEL), epoch))


def record(run_id: str, epochs: range, momentum: bool = False) -> None:
    for epoch in epochs:
        optimizer = {f"momentum.{name}": 2 * each for name, each in weights(epoch).items()} if momentum else {}
        artifacts.save_checkpoint(run_id, epoch, weights(epoch), optimizer)
        changes.record(run_id, epoch, {"test_accuracy": 0.1}, [Segment(0, 0.0, 60.0, "cpu", 1)])


def recorded(epochs: int = 3, **settings: Any) -> Run:
    config = RunConfig(model=MODEL, dataset="synthetic", epochs=max(epochs, 1), **settings)
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    record(run_id, range(epochs), momentum=bool(config.momentum))
    if epochs:
        changes.finish(run_id, "FINISHED")
    return reading.run(run_id)


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], each) for name, each in wanted.items())


def cached() -> list[str]:
    return sorted(path.name for path in (paths.home() / "downloads").rglob("*.safetensors"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def test_another_machine_opens_every_epoch_bit_for_bit(on: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    on("recording")
    run = recorded()
    on("reading")
    (found,) = [each for each in reading.runs() if each.id == run.id]
    assert artifacts.epochs_to_open(found) == [0, 1, 2]
    for epoch in range(3):
        assert same(artifacts.load_checkpoint(found, epoch), weights(epoch))
    assert not artifacts.folder_of(run.id).exists()
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 7; kept are: 0, 1, 2"):
        artifacts.load_checkpoint(found, 7)
    assert capfd.readouterr() == ("", ""), "MLflow shows neither addresses nor bars"


def test_the_command_line_and_a_fork_on_another_machine(on: Machine, tmp_path: Path, few_pictures: Path) -> None:
    on("recording")
    run = recorded()
    on("reading")
    done = run_warm("features", run.id, "--out", str(tmp_path / "maps.png"))
    assert done.returncode == 0, done.stderr
    assert "Downloading" not in done.stderr
    forked = reading.run(changes.fork(run.id, 1, {"lr": 0.5}, 2, "cpu"))
    assert same(artifacts.load_checkpoint(forked, 1), weights(1))


def test_a_run_without_checkpoints_says_why(on: Machine) -> None:
    on("recording")
    run = recorded(epochs=0)
    on("reading")
    assert artifacts.checkpoint_epochs(run.id) == []
    with pytest.raises(CnnvizError, match="wait for its first epoch"):
        artifacts.epochs_to_open(run)
    changes.finish(run.id, "FAILED", "for a test")
    with pytest.raises(CnnvizError, match=r"has no checkpoint in .*reading or on http://127.0.0.1:\d+: train it again"):
        artifacts.epochs_to_open(reading.run(run.id))


def test_the_server_is_asked_again_only_for_what_is_not_known(on: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    on("recording")
    run = recorded(epochs=2)
    on("reading")
    assert artifacts.checkpoint_epochs(run.id) == [0, 1]
    on_the_reader = dict(downloads._listed)
    on("recording")
    record(run.id, range(2, 3))
    on("reading")
    downloads._listed.update(on_the_reader)
    assert artifacts.checkpoint_epochs(run.id) == [0, 1]
    assert same(artifacts.load_checkpoint(run, 2), weights(2))
    assert artifacts.checkpoint_epochs(run.id) == [0, 1, 2]
    monkeypatch.setattr(connection, "client", None)
    assert same(artifacts.load_checkpoint(run, 2), weights(2)), "from the cache, without a server"


def test_a_file_damaged_in_the_cache_is_fetched_again(on: Machine) -> None:
    on("recording")
    run = recorded()
    on("reading")
    artifacts.load_checkpoint(run, 1)
    (kept,) = (paths.home() / "downloads").rglob("*.safetensors")
    for damage in (
        flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
    ):
        damage(kept)
        assert same(artifacts.load_checkpoint(run, 1), weights(1))
        assert same(checkpoints.load(kept), weights(1))


def test_a_file_damaged_on_its_way_is_fetched_again_once(on: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    on("recording")
    run = recorded()
    on("reading")
    client, fetched = connection.client(), []

    def damaged_at_first(run_id: str, path: str, to: str) -> str:
        fetched.append(type(client).download_artifacts(client, run_id, path, to))
        if len(fetched) == 1:
            flip_a_bit(Path(fetched[0]))
        return fetched[-1]

    monkeypatch.setattr(client, "download_artifacts", damaged_at_first)
    assert same(artifacts.load_checkpoint(run, 1), weights(1))
    assert same(artifacts.load_checkpoint(run, 1), weights(1))
    assert len(fetched) == 2


def test_a_file_damaged_on_the_server_is_one_line(on: Machine, uploaded: Callable[[Run, str], Path]) -> None:
    on("recording")
    run = recorded()
    flip_a_bit(uploaded(run, "checkpoints/epoch-0001.safetensors"))
    assert same(artifacts.load_checkpoint(run, 1), weights(1)), "its own file comes first"
    on("reading")
    with pytest.raises(CheckpointError, match=r"epoch-0001\.safetensors of run .* is damaged on http") as raised:
        artifacts.load_checkpoint(run, 1)
    assert "\n" not in str(raised.value)
    assert cached() == []
    assert same(artifacts.load_checkpoint(run, 2), weights(2))


def test_the_cache_stays_within_its_bound(on: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    on("recording")
    run = recorded(epochs=4)
    on("reading")
    own = recorded(epochs=2)
    monkeypatch.setattr(downloads, "MOST_BYTES", 25_000)  # two files
    for epoch in (0, 1, 0, 2):
        artifacts.load_checkpoint(run, epoch)
    assert cached() == ["epoch-0000.safetensors", "epoch-0002.safetensors"]
    monkeypatch.setattr(downloads, "MOST_BYTES", 0)
    assert same(artifacts.load_checkpoint(run, 3), weights(3))
    assert cached() == ["epoch-0003.safetensors"]
    assert len(list(artifacts.folder_of(own.id).glob("checkpoints/*"))) == 2


def test_a_run_with_momentum_goes_on_on_another_machine(on: Machine, uploaded: Callable[[Run, str], Path]) -> None:
    on("recording")
    run = recorded(epochs=4, momentum=0.5)
    state = uploaded(run, "optimizer")
    assert sorted(path.name for path in state.iterdir()) == ["epoch-0002.safetensors", "epoch-0003.safetensors"]
    on("reading")
    start, message = resume.start_of(run)
    assert (start.epoch, message) == (3, "")
    assert same(dict(start.slots), {f"momentum.{name}": 2 * each for name, each in weights(3).items()})
    assert artifacts.load_optimizer(run, 0) == {}
    record(run.id, range(4, 6), momentum=True)
    assert sorted(path.name for path in state.iterdir()) == ["epoch-0004.safetensors", "epoch-0005.safetensors"]
    assert artifacts.checkpoint_epochs(run.id) == [0, 1, 2, 3, 4, 5]
    artifacts.thin_checkpoints(run.id, best=4)


def test_a_server_that_is_gone_is_one_line(on: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    on("recording")
    run = recorded()
    on("reading")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"the store at http://127\.0\.0\.1:9 cannot be used"):
        artifacts.load_checkpoint(run, 0)
