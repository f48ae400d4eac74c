"""CIFAR-10 found, fetched, refused; the synthetic set kept; a small archive on 127.0.0.1 stands in for the real one."""

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from cnnviz import data, paths
from cnnviz.data import cifar10, synthetic
from cnnviz.errors import DataError

PER_BATCH = 4  # pictures in each of the six files of the stand-in


def _small_files() -> dict[str, bytes]:
    """Files laid out as CIFAR-10's, with a few random pictures each."""
    rng = np.random.default_rng(0)
    files = {
        name: pickle.dumps(
            {
                "data": rng.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8),
                "labels": [int(label) for label in rng.integers(0, 10, PER_BATCH)],
            }
        )
        for name in cifar10.FILES[:-1]
    }
    return files | {cifar10.FILES[-1]: pickle.dumps({"label_names": list(data.CLASSES)})}


def _packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FILES = _small_files()
PACKED = _packed(FILES)


class Server:
    """What the next requests get: the body, cut off after so many bytes; then, perhaps, silence."""

    def __init__(self) -> None:
        self.body, self.hang, self.status, self.requests = PACKED, False, 200, 0
        self.cut: int | None = None
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body[: server.cut])
                if server.hang:
                    self.wfile.flush()
                    server.released.wait(10)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/{cifar10.ARCHIVE}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the stand-in, whose checksums torchvision is told to expect; the network is allowed."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(PACKED).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in cifar10.FILES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, md5[name]] for name in cifar10.FILES[5:6]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    monkeypatch.delenv("CNNVIZ_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    monkeypatch.setattr(cifar10, "URL", server.url)
    threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.released.set()
    server.http.shutdown()
    server.http.server_close()


def _unpacked(**changed: bytes) -> Path:
    """The stand-in, unpacked in data_root() with some files changed."""
    folder = paths.data_root() / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name, content in (FILES | changed).items():
        (folder / name).write_bytes(content)
    return folder


def _leftovers() -> list[str]:
    return [path.name for path in paths.data_root().iterdir() if path.name != cifar10.FOLDER]


# -- fetching ------------------------------------------------------------------------------------


def test_where_torchvision_fetches_it() -> None:
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    assert (CIFAR10.url, CIFAR10.filename, CIFAR10.base_folder) == (cifar10.URL, cifar10.ARCHIVE, cifar10.FOLDER)
    assert (*names, CIFAR10.meta["filename"]) == cifar10.FILES


def test_missing_data_are_fetched_verified_and_kept(server: Server) -> None:
    told: list[tuple[str, float]] = []
    assert not data.available("cifar10")
    dataset = data.load("cifar10", lambda message, fraction: told.append((message, fraction)))

    for batch, name in enumerate(cifar10.FILES[:6]):
        entry = pickle.loads(FILES[name])
        rows = slice(batch * PER_BATCH, (batch + 1) * PER_BATCH)
        images, labels = (dataset.train_images[rows], dataset.train_labels[rows])
        if name == "test_batch":
            images, labels = dataset.test_images, dataset.test_labels
        assert np.array_equal(images.permute(0, 3, 1, 2).reshape(PER_BATCH, -1).numpy(), entry["data"])
        assert labels.tolist() == entry["labels"]
    assert len(dataset.train_images) == 5 * PER_BATCH
    assert "downloading CIFAR-10" in told[0][0]
    assert all(0 <= fraction <= 1 for _, fraction in told)
    assert told[-1][1] == 1
    assert _leftovers() == []
    assert data.available("cifar10")
    data.load("cifar10")
    assert server.requests == 1


def test_truncated_download_is_refused(server: Server) -> None:
    server.cut = len(PACKED) // 2
    with pytest.raises(DataError, match=rf"ended after {server.cut:,} of {len(PACKED):,} bytes.*synthetic"):
        data.load("cifar10")
    assert _leftovers() == []
    assert not data.available("cifar10")
    server.cut = None
    assert len(data.load("cifar10").test_labels) == PER_BATCH


def test_wrong_checksum_is_refused(server: Server) -> None:
    server.body = _packed(FILES | {"test_batch": FILES["data_batch_1"]})
    with pytest.raises(DataError, match=r"other than CIFAR-10 \(wrong checksum\)"):
        data.load("cifar10")
    assert _leftovers() == []
    assert not data.available("cifar10")


def test_silent_server_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cut, server.hang = 100, True
    monkeypatch.setattr(cifar10, "TIMEOUT", 0.2)
    began = time.perf_counter()
    with pytest.raises(DataError, match="timed out"):
        data.load("cifar10")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("status", [404, 503])
def test_server_that_refuses_is_named(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=rf"{server.url}.*try again later.*synthetic set.*CNNVIZ_DATA"):
        data.load("cifar10")


def test_no_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/nothing")
    with pytest.raises(DataError, match=r"cannot be downloaded from http://127\.0\.0\.1:9/nothing"):
        data.load("cifar10")


def test_offline_the_remedy_is_told_and_nothing_is_fetched(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_OFFLINE", "1")
    with pytest.raises(DataError, match=r"CNNVIZ_OFFLINE.*synthetic set.*CNNVIZ_DATA") as caught:
        data.load("cifar10")
    assert "\n" not in str(caught.value)
    assert server.requests == 0
    assert not paths.data_root().exists()


def test_archive_laid_into_the_folder_is_used_offline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_OFFLINE", "1")
    paths.data_root().mkdir()
    (paths.data_root() / cifar10.ARCHIVE).write_bytes(PACKED)
    assert data.available("cifar10")
    assert len(data.load("cifar10").train_labels) == 5 * PER_BATCH
    assert (paths.data_root() / cifar10.ARCHIVE).is_file()


def test_half_an_archive_is_said_so_and_another_fetched(server: Server) -> None:
    paths.data_root().mkdir()
    (paths.data_root() / cifar10.ARCHIVE).write_bytes(PACKED[:100])
    told: list[str] = []
    assert len(data.load("cifar10", lambda message, _: told.append(message)).train_labels) == 5 * PER_BATCH
    assert told[0] == f"{paths.data_root() / cifar10.ARCHIVE} is damaged and is ignored"
    assert server.requests == 1


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(DataError, match="cannot be stored in"):
        data.load("cifar10")


# -- damaged files -------------------------------------------------------------------------------


def test_damaged_file_of_the_user_is_named_and_left_alone(server: Server) -> None:
    damaged = FILES["data_batch_3"][:-1]
    folder = _unpacked(data_batch_3=damaged)
    for attempt in (data.load, data.check):
        with pytest.raises(DataError, match=r"data_batch_3 is damaged: delete it") as caught:
            attempt("cifar10")
        assert str(folder / "data_batch_3") in str(caught.value)
    assert (folder / "data_batch_3").read_bytes() == damaged
    assert server.requests == 0


def test_damaged_file_of_the_project_is_said_so_and_replaced(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _unpacked(data_batch_3=FILES["data_batch_3"][:-1])
    root = paths.data_root()
    monkeypatch.delenv("CNNVIZ_DATA")
    monkeypatch.setattr(paths, "data_root", lambda: root)
    told: list[str] = []
    data.load("cifar10", lambda message, _: told.append(message))
    assert told[0] == "data_batch_3 is damaged: replacing it"
    assert (folder / "data_batch_3").read_bytes() == FILES["data_batch_3"]


def test_only_the_missing_file_is_added(server: Server) -> None:
    folder = _unpacked()
    (folder / "batches.meta").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"batches.meta is missing: choose the synthetic set"):
        data.check()
    data.load("cifar10")
    assert data.check().endswith("have the right checksum")
    assert (folder / "notes.txt").read_text() == "mine"


def test_data_root_is_the_projects_without_cnnviz_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", "~/pictures")
    assert paths.data_root() == Path.home() / "pictures"
    monkeypatch.delenv("CNNVIZ_DATA")
    assert paths.data_root() == Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize("function", [data.load, data.available, data.check])
def test_unknown_name(function: object) -> None:
    with pytest.raises(DataError, match="'mnist' is not known: choose one of cifar10, synthetic"):
        function("mnist")  # type: ignore[operator]


# -- the real one --------------------------------------------------------------------------------


def test_real_cifar10_is_torchvisions(cifar10_root: Path) -> None:
    dataset = data.load("cifar10")
    for train, images, labels in (
        (True, dataset.train_images, dataset.train_labels),
        (False, dataset.test_images, dataset.test_labels),
    ):
        oracle = CIFAR10(cifar10_root, train=train)
        assert images.shape == (50_000 if train else 10_000, 32, 32, 3)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert images.is_contiguous()
        assert np.array_equal(images.numpy(), oracle.data)
        assert labels.tolist() == oracle.targets
    assert dataset.classes == tuple(oracle.classes)
    assert dataset.title == "CIFAR-10"
    assert not dataset.synthetic
    assert data.check() == f"CIFAR-10: all 7 files in {cifar10_root / cifar10.FOLDER} have the right checksum"


# -- the synthetic one ---------------------------------------------------------------------------


@pytest.fixture
def small_draw(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twenty pictures instead of 60,000; the splits drawn so far."""
    drawn: list[str] = []
    draw = synthetic.draw

    def small(split: str, count: int, on_progress: synthetic.Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(f"{split} {count}")
        return draw(split, 10, on_progress)

    monkeypatch.setattr(synthetic, "draw", small)
    return drawn


def test_synthetic_is_drawn_once_and_kept(small_draw: list[str]) -> None:
    assert data.available("synthetic")
    first = data.load("synthetic")
    assert small_draw == ["train 50000", "test 10000"]
    again = data.load("synthetic")
    assert len(small_draw) == 2
    assert first.synthetic
    assert "not CIFAR-10" in first.title
    assert first.classes == synthetic.CLASSES
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert "whole" in data.check("synthetic")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_synthetic_cache_is_drawn_again(small_draw: list[str], damage: str) -> None:
    first = data.load("synthetic")
    (path,) = paths.data_root().glob("synthetic-*.npz")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content[: {"flip": len(content), "cut": 5000, "empty": 0}[damage]])
    again = data.load("synthetic")
    assert len(small_draw) == 4
    assert torch.equal(first.train_images, again.train_images)
    data.load("synthetic")
    assert len(small_draw) == 4


def test_synthetic_needs_no_folder(small_draw: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNVIZ_DATA", str(tmp_path / "file"))
    assert len(data.load("synthetic").train_images) == 10


# -- tensors -------------------------------------------------------------------------------------


def _dataset(n: int = 12) -> data.Dataset:
    images, labels = torch.arange(n * 3072).remainder(256).to(torch.uint8).view(n, 32, 32, 3), torch.arange(n)
    return data.Dataset("cifar10", "CIFAR-10", data.CLASSES, images, labels, images.clone(), labels.clone())


def test_limited_takes_the_first() -> None:
    dataset = _dataset()
    assert torch.equal(dataset.limited(5).train_images, dataset.train_images[:5])
    assert dataset.limited(5).train_labels.tolist() == [0, 1, 2, 3, 4]
    assert len(dataset.limited(5).test_images) == 12
    assert dataset.limited(0) is dataset


def test_to_moves_every_tensor() -> None:
    moved = _dataset().to("meta")
    assert {moved.train_images.device.type, moved.train_labels.device.type} == {"meta"}
    assert {moved.test_images.device.type, moved.test_labels.device.type} == {"meta"}


def test_normalise_is_the_tutorials_transform() -> None:
    from torchvision.transforms import v2

    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0] = torch.tensor([0, 255, 128])
    oracle = v2.Normalize([0.5] * 3, [0.5] * 3)(images.permute(0, 3, 1, 2) / 255)
    ours = data.normalise(images)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=2e-7)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert ours.min() == -1
    assert ours.max() == 1


def test_batch_order_is_a_permutation_of_seed_and_epoch() -> None:
    order = data.batch_order(3, 4, 1000)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(1000))
    assert torch.equal(order, data.batch_order(3, 4, 1000))
    others = [data.batch_order(3, 5, 1000), data.batch_order(4, 4, 1000), data.batch_order(4, 3, 1000)]
    assert not any(torch.equal(order, other) for other in others)
    assert abs(float(torch.corrcoef(torch.stack([order, others[0]]).double())[0, 1])) < 0.1


def test_batch_order_never_changes() -> None:
    """A run resumed on another machine, or after an update, goes on with the batches it would have had."""
    assert data.batch_order(0, 1, 10).tolist() == [7, 4, 5, 1, 9, 8, 6, 2, 0, 3]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(data.batch_order(2**31 - 1, 10_000, 50_000), data.batch_order(2**31 - 1, 10_000, 50_000))


def test_import_brings_neither_torchvision_nor_the_app() -> None:
    code = "import sys, cnnviz.data; print({'torchvision', 'streamlit', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
