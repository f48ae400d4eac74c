"""A real MLflow server, and ports."""

import os
import socket
import time
import urllib.request
from pathlib import Path

from tests.helpers.processes import Started, kill_all


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# MLflow's own command, which would start a second Python for uvicorn.
SERVE = """
import os, runpy, sys
import uvicorn  # first: mlflow.server looks whether it is there
import mlflow.server
from mlflow.cli import cli

def serve_here(command, extra_env, **options):
    os.environ.update(extra_env)
    python, option, module, *words = command
    assert (option, module) == ("-m", "uvicorn"), command
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()

mlflow.server._exec_cmd = serve_here
cli.main(sys.argv[1:])
"""


def start_server(folder: Path, port: int, database: str = "") -> Started:
    """A server on 127.0.0.1 that answers. Its artifacts lie in the folder `artifacts`, its database beside it."""
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = Started("", *words, program=SERVE, log=folder / "log", folder=folder, environment=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
    except BaseException:
        kill_all(process)
        raise
    return process


def _wait_for(address: str, process: Started, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())
