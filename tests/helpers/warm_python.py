"""In the place of Python where others start it: Ray for its workers, cnnviz for its own.

This file, run as a program, hands on what it was started with to a process that has cnnviz's libraries loaded, and
lasts as long as what that forks: a module (`-m …`) or a program. Ray itself is loaded by each of its workers: it takes
its settings from the environment at that moment.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "CNNVIZ_TEST_WARM_PYTHON"  # the variable that names the server's folder
_OF_RAYS_SETUP = ("--language=", "--serialized-runtime-env-context=")


def serve(folder: Path) -> None:
    """Fork a process for whoever connects to the socket in the folder, and note it there."""
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
                    _become(folder, asking)
                os._exit(0)
            asking.close()


def _become(folder: Path, asking: socket.socket) -> None:
    from tests.helpers import processes

    _, streams, _, _ = socket.recv_fds(asking, 1, 3)
    with asking.makefile() as said:
        words, environment, parent, works_in = json.loads(said.readline())
    os.environ.clear()
    os.environ.update(environment)
    (folder / f"{parent} {os.getpid()}").touch()
    processes.settle(streams, Path(works_in))
    if words[0] == "-m":
        processes.run_module(*words[1:])
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[None]:
    """A process that does, for as long as the block lasts."""
    from tests.helpers.processes import forked
    from tests.helpers.workers import wait_for

    server = forked(serve, folder)
    try:
        wait_for((folder / "socket").exists)
        yield
    finally:
        server.kill()
        server.join()


def settings(folder: Path) -> dict[str, str]:
    """Of the environment of whoever starts this file."""
    return {_FOLDER: str(folder)}


def started_by(parent: int, folder: Path) -> list[int]:
    """Ids of processes, which may have ended."""
    return [int(path.name.split()[1]) for path in folder.glob(f"{parent} *")]


def _ask() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith(_OF_RAYS_SETUP)]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(f"{os.environ[_FOLDER]}/socket")
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        server.sendall(json.dumps([words, dict(os.environ), os.getppid(), str(Path.cwd())]).encode() + b"\n")
        server.recv(1)  # nothing: it has ended


if __name__ == "__main__":
    _ask()
