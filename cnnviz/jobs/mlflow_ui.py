"""MLflow's own UI on this store."""

import contextlib
import itertools
import json
import socket
import sys
import time

import psutil
from filelock import FileLock

from cnnviz.errors import StoreError
from cnnviz.jobs import processes
from cnnviz.jobs.files import job_file, write_atomically
from cnnviz.store import addresses

_STORE = "MLFLOW_BACKEND_STORE_URI"  # in the environment: everybody may read a command line, and the password in it


def start(port: int = 5000) -> str:
    """Start MLflow's own UI on this store, on 127.0.0.1 alone, unless it runs already; its address. A server has one.

    Raises StoreError if it does not answer within a minute.
    """
    if addresses.is_server():
        return addresses.for_browser()
    with FileLock(job_file("mlflow-ui", "lock")):  # two sessions may ask at once
        note, uri = job_file("mlflow-ui", "json"), addresses.tracking_uri()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            noted = json.loads(note.read_text(encoding="utf-8"))
            # The port may be another program's by now, or the note another store's, moved here with its folder.
            if psutil.Process(noted["pid"]).environ().get(_STORE) == uri and not _is_free(noted["port"]):
                return f"http://127.0.0.1:{noted['port']}"
        port = next((each for each in range(port, port + 50) if _is_free(each)), 0)
        options = {
            "--host": "127.0.0.1",
            "--port": str(port),
            "--workers": "1",
            "--allowed-hosts": f"127.0.0.1:{port},localhost:{port}",  # against DNS rebinding
            "--uvicorn-opts": "--log-level warning",  # no line a request: its log stays short
        }
        log = job_file("mlflow-ui", "log")
        command = [sys.executable, "-m", "mlflow", "ui", *itertools.chain(*options.items())]
        # Else MLflow starts eight more processes, for jobs on traces of language models.
        settings = {_STORE: uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = processes.detached(command, log, settings)
        write_atomically(note, json.dumps({"port": port, "pid": process.pid}))
        for _ in range(120):
            if not _is_free(port):
                return f"http://127.0.0.1:{port}"
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise StoreError(f"MLflow's UI did not start on port {port}: its output is in {log}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
