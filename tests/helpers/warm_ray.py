"""Ray's workers, forked from a process that has PyTorch loaded, which takes 2 s of a core each time.

A raylet runs this file to set a worker up. It hands on what it was started with, and lasts as long as the worker. Ray
itself is loaded by each: it takes its settings from the environment at that moment.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

_FOLDER = "CNNVIZ_TEST_WARM_RAY"  # the variable that names the server's folder
_FOR_SETUP = ("--language=", "--serialized-runtime-env-context=")


def serve(folder: Path) -> None:
    """Fork a worker for whoever connects to the socket in the folder, and note it there."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "unnamed"))
        server.listen(64)
        (folder / "unnamed").rename(folder / "socket")
        while True:
            asking, _ = server.accept()
            if not os.fork():
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                with contextlib.suppress(SystemExit):
                    _be_worker(folder, asking)
                os._exit(0)
            asking.close()


def _be_worker(folder: Path, asking: socket.socket) -> None:
    _, streams, _, _ = socket.recv_fds(asking, 1, 2)
    with asking.makefile() as said:
        words, environment, raylet = json.loads(said.readline())
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    (folder / f"{raylet} {os.getpid()}").touch()
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


def settings(folder: Path) -> dict[str, object]:
    """Of a node whose workers start warm."""
    return {"setup_worker_path": __file__, "env_vars": {_FOLDER: str(folder)}}


def started_by(raylet: int, folder: Path) -> list[int]:
    """Process ids of workers, which may have ended."""
    return [int(path.name.split()[1]) for path in folder.glob(f"{raylet} *")]


def _ask() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith(_FOR_SETUP)]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(f"{os.environ[_FOLDER]}/socket")
        socket.send_fds(server, [b"\0"], [1, 2])
        server.sendall(json.dumps([words, dict(os.environ), os.getppid()]).encode() + b"\n")
        server.recv(1)  # nothing: the worker has ended


if __name__ == "__main__":
    _ask()
