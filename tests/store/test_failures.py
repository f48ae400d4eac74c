"""Servers that do not answer, drivers that are missing: one line, soon, and without the password."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cnnviz.errors import StoreError, UnreachableError
from cnnviz.store import changes, connection, failures, reading
from tests.helpers.processes import PIPE, Started, run_warm
from tests.helpers.servers import free_port
from tests.helpers.workers import TINY


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    failures._answered.clear()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Of a program that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def gateway_port() -> Iterator[int]:
    """Of a proxy whose server is down."""

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(502)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    line = str(error.value)
    assert "\n" not in line
    assert "secret" not in line
    return line


def test_a_server_that_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    with pytest.raises(UnreachableError) as raised:
        reading.runs()
    assert one_line(raised) == (
        f"the store at http://user:***@127.0.0.1:{port} cannot be used: it does not answer (Connection refused): "
        "start it, or set MLFLOW_TRACKING_URI to one that runs"
    )
    with pytest.raises(UnreachableError):
        changes.schedule([TINY], "cpu")


def test_a_server_that_says_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    monkeypatch.setattr(failures, "ANSWER_SECONDS", 0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{silent_port}")
    with pytest.raises(UnreachableError, match=r"does not answer .*timed out") as raised:
        reading.runs()
    one_line(raised)


def test_a_proxy_whose_server_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch, gateway_port: int) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{gateway_port}")
    with pytest.raises(UnreachableError, match=r"does not answer \(HTTP status 502\)") as raised:
        reading.runs()
    one_line(raised)


def test_a_name_that_no_machine_has_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@no-such-machine.invalid:5000")
    with pytest.raises(UnreachableError, match="does not answer") as raised:
        reading.runs()
    one_line(raised)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://user:secret@127.0.0.1:notaport", "cannot be used"),
        ("postgresql://user:secret@127.0.0.1/db", r"driver psycopg is not installed: pip install 'psycopg\[binary\]'"),
        ("postgresql+psycopg2://user:secret@127.0.0.1/db", "driver psycopg2 .*: pip install 'psycopg2-binary'"),
        ("mysql://user:secret@127.0.0.1/db", "driver MySQLdb is not installed: pip install 'mysqlclient'"),
        ("mssql+pyodbc://user:secret@127.0.0.1/db", "driver pyodbc is not installed: pip install 'pyodbc'"),
        ("postgresql+magic://user:secret@127.0.0.1/db", "cannot be used"),
        ("oracle://user:secret@127.0.0.1/db", "cannot be used"),
        ("nonsense://user:secret@store", "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for driver in ("psycopg", "psycopg2", "MySQLdb", "pyodbc"):
        monkeypatch.setitem(sys.modules, driver, None)  # as if it were not installed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(StoreError, match=says) as raised:
        reading.runs()
    one_line(raised)


def test_a_database_server_that_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    monkeypatch.setattr(PGDialect_psycopg, "import_dbapi", classmethod(lambda cls: None))  # as if it were installed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://user:secret@127.0.0.1:{free_port()}/db")
    with pytest.raises(UnreachableError, match=r"does not answer \(Connection refused\)") as raised:
        reading.runs()
    one_line(raised)


@pytest.mark.parametrize("words", [["runs"], ["stop", "abc"], ["train", "--epochs", "1", "--model", "f12"]])
@pytest.mark.parametrize("address", ["http://user:secret@127.0.0.1:{}", "postgresql://user:secret@127.0.0.1:{}/db"])
def test_the_command_line_says_it_in_one_line(address: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(free_port()))
    done = run_warm(*words, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cnnviz: the store at ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_what_is_waited_for_is_asked_again_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    reading.runs()
    client, failed, waited = connection.client(), iter([True, True, False]), list[str]()

    def flaky(*arguments: object, **options: object) -> list[object]:
        if next(failed):
            import requests

            raise requests.exceptions.ConnectionError("gone for a while")
        return []

    monkeypatch.setattr(client, "search_runs", flaky)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:5000")
    with connection.patient(lambda error: waited.append(str(error))):
        assert client.search_runs([]) == []
    assert len(waited) == 2
    assert all("does not answer (gone for a while)" in line and "secret" not in line for line in waited)


def test_leaving_does_not_wait() -> None:
    """SIGTERM while a server is waited for."""
    program = (
        "from cnnviz.jobs import worker\n"
        "try:\n    worker.work('cpu', on_status=lambda status: print(status.phase, status.message, flush=True))\n"
        "except worker.Stopped:\n    print('left')\n"
    )
    settings = os.environ | {"MLFLOW_TRACKING_URI": f"http://user:secret@127.0.0.1:{free_port()}"}
    with Started("", program=program, environment=settings, stdout=PIPE) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        rest = process.stdout.read()
    assert all(line.startswith("waiting for the store the store at http://user:***@127.0.0.1") for line in lines)
    assert rest.endswith("left\n")
