"""CIFAR-10 found, downloaded, refused; a small archive on 127.0.0.1 stands in for the real one."""

import hashlib
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from cnnviz import data, paths
from cnnviz.data import cifar10
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
    """A server with the stand-in, whose checksums torchvision expects; the network is allowed."""
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
    reported: list[tuple[str, float]] = []
    assert not data.available("cifar10")
    dataset = data.load("cifar10", lambda message, fraction: reported.append((message, fraction)))

    for batch, name in enumerate(cifar10.FILES[:6]):
        entry = pickle.loads(FILES[name])
        rows = slice(batch * PER_BATCH, (batch + 1) * PER_BATCH)
        images, labels = (dataset.train_images[rows], dataset.train_labels[rows])
        if name == "test_batch":
            images, labels = dataset.test_images, dataset.test_labels
        assert np.array_equal(images.permute(0, 3, 1, 2).reshape(PER_BATCH, -1).numpy(), entry["data"])
        assert labels.tolist() == entry["labels"]
    assert len(dataset.train_images) == 5 * PER_BATCH
    assert "downloading CIFAR-10" in reported[0][0]
    assert all(0 <= fraction <= 1 for _, fraction in reported)
    assert reported[-1][1] == 1
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
    with pytest.raises(DataError, match="timed out"):
        data.load("cifar10")


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
    reported: list[str] = []
    assert len(data.load("cifar10", lambda message, _: reported.append(message)).train_labels) == 5 * PER_BATCH
    assert reported[0] == f"{paths.data_root() / cifar10.ARCHIVE} is damaged and is ignored"
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
    reported: list[str] = []
    data.load("cifar10", lambda message, _: reported.append(message))
    assert reported[0] == "data_batch_3 is damaged: replacing it"
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
