"""Where the store is looked for, and what of its address is shown."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text

from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.store import addresses, artifacts, changes, reading
from tests.helpers.runs import record

ODD = ("what?", "a%20b", "50%", "a#b", "a b", "größe 図", "a&b=c", "a:b", "it's", 'so-called "runs"', "a+b;c", "%3F")


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_any_name_holds_its_store_and_nothing_lies_beside_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = tmp_path / "around"
    home = around / name
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("CNNVIZ_HOME", str(home))
    config = RunConfig(model="f12")
    (run_id,) = changes.schedule([config], "cpu")
    artifacts.save_checkpoint(run_id, 0, initial_weights(architecture("f12"), 0), {})
    record(run_id, 0, 0.25)
    assert reading.run(run_id).accuracy == (0.25,)
    with sqlite3.connect(home / "mlflow.db") as database:
        assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(run_id,)]
    database.close()
    client = MlflowClient(addresses.tracking_uri())  # MLflow's own finds the same
    assert [each.path for each in client.list_artifacts(run_id, "checkpoints")] == [
        "checkpoints/epoch-0000.safetensors"
    ]
    copy = client.download_artifacts(run_id, "checkpoints/epoch-0000.safetensors", str(tmp_path))
    assert Path(copy).read_bytes() == (artifacts.folder_of(run_id) / "checkpoints/epoch-0000.safetensors").read_bytes()
    client.log_text(run_id, "a note", "note.txt")
    assert (artifacts.folder_of(run_id) / "note.txt").read_text() == "a note"
    assert [path.name for path in around.iterdir()] == [name]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ODD)
def test_sqlalchemy_opens_the_file_that_an_address_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "mlflow.db"
    path.parent.mkdir()
    engine = create_engine(addresses.of_sqlite(path))
    with engine.begin() as writing:
        writing.execute(text("CREATE TABLE t (x)"))
    engine.dispose()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert [each.name for each in path.parent.iterdir()] == ["mlflow.db"]
    engine = create_engine(addresses.opened_read_only(path, mode="ro"))
    with engine.connect() as looking:
        assert looking.execute(text("SELECT name FROM sqlite_master")).scalar() == "t"
    engine.dispose()


def test_a_folder_that_is_not_utf_8_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNNVIZ_HOME", os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(StoreError, match="is not UTF-8: choose another folder"):
        reading.runs()


@pytest.mark.parametrize(
    "given",
    [
        "sqlite:///runs.db",
        "sqlite:///below/runs.db?timeout=30",
        "sqlite:///a%20b/runs.db",
        "runs",
        "./runs",
        "file:runs",
    ],
)
def test_a_relative_address_is_made_absolute(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    absolute = addresses.tracking_uri()
    path, _, options = unquote(given.split(":", 1)[-1]).removeprefix("///").partition("?")
    assert absolute.endswith(str(tmp_path / path) + f"?{options}" * bool(options))
    monkeypatch.chdir("/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", absolute)
    assert addresses.tracking_uri() == absolute


@pytest.mark.parametrize(
    "given",
    ["http://host:5000", "https://u:p@host/x", "postgresql://u:p@host/db", "sqlite:////runs/mlflow.db", "databricks"],
)
def test_an_absolute_address_stays_as_it_is(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert addresses.tracking_uri() == given


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("", "home/artifacts"),
        ("sqlite:///below/runs.db", "below/mlartifacts"),
        ("sqlite:///home/mlflow.db", "home/mlartifacts"),  # not on top of this machine's own files
        ("sqlite://", "home/mlartifacts"),
        ("postgresql://u:p@host/db", "home/mlartifacts"),
        ("http://host:5000", None),
        ("databricks", None),
    ],
)
def test_no_artifacts_lie_where_somebody_happens_to_work(
    given: str, root: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNVIZ_HOME", "home")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert addresses.artifact_root() == (root and (tmp_path / root).as_uri())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000", "http://user:***@host:5000"),
        ("https://:secret@host/x", "https://:***@host/x"),
        ("postgresql+psycopg2://user:se/cr@et@host/db", "postgresql+psycopg2://user:***@host/db"),
        ("to http://u:secret@h:1/api failed: (host='h')", "to http://u:***@h:1/api failed: (host='h')"),
        ("mysql://h/db?user=u&password=secret&ssl=1", "mysql://h/db?user=u&password=***&ssl=1"),
        ("http://127.0.0.1:9 is down: ask me@example.org", "http://127.0.0.1:9 is down: ask me@example.org"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)  # fmt: skip
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert addresses.masked(text) == shown
    assert "secret" not in addresses.masked(text)


def test_the_link_to_a_server_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@host:8443/mlflow")
    assert addresses.for_browser() == "https://host:8443/mlflow"
    assert addresses.shown() == "https://user:***@host:8443/mlflow"
