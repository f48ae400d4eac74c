"""A real PostgreSQL on this machine, for a real MLflow server."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.servers import free_port

_DEBIANS = Path("/usr/lib/postgresql")


def programs() -> Path:
    """The folder of initdb and postgres. Skips the test, with the reason, where something is missing."""
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("no psycopg2: pip install -r requirements-cluster.txt")
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted((each / "bin" for each in _DEBIANS.glob("*")), reverse=True)
    whole = [each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()]
    if not whole:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    if os.geteuid() == 0 and _user() is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
    return whole[0]


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


class Postgres:
    """A database of its own in the folder; nothing is synced to the disk. address: for SQLAlchemy."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.folder, self.port = programs(), folder, free_port()
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        self.user: int | None = None  # who runs it, if that is not who runs the tests
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            self.user = user.pw_uid
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", ["-D", str(self.data), "-A", "trust", "-U", "cnnviz", "--no-sync", "-E", "UTF8"])
        self.address = f"postgresql+psycopg2://cnnviz@127.0.0.1:{self.port}/postgres"
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 60}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        # -w: it returns once the server answers.
        self._run("pg_ctl", ["-D", str(self.data), "-w", "-l", str(folder / "log"), "-o", options, "start"])

    def stop(self) -> None:
        self._run("pg_ctl", ["-D", str(self.data), "-w", "-m", "immediate", "stop"])

    def _run(self, program: str, arguments: Sequence[str]) -> None:
        command = [str(self.bin / program), *arguments]
        with (self.folder / "out").open("ab") as out:  # not a pipe, which the server would keep open
            done = subprocess.run(command, cwd=self.folder, stdout=out, stderr=out, user=self.user)
        assert done.returncode == 0, (self.folder / "out").read_text()
