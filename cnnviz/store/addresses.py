"""Where the store is: the address that MLflow is given, and what of it may be shown."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils.uri import resolve_uri_if_local
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cnnviz import paths
from cnnviz.errors import StoreError

# user:password@ behind a scheme, up to the last @: a password that was not quoted may hold one.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):\S*@")
_PASSWORD_OPTION = re.compile(r"(?<=[?&])(\w*(?:password|passwd|pwd|token|secret)\w*)=[^&\s]*", re.IGNORECASE)


def is_embedded() -> bool:
    """Whether the store is cnnviz's own SQLite file in paths.home()."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def is_server() -> bool:
    """Whether the store is an MLflow server, which has a user interface of its own."""
    return urlsplit(tracking_uri()).scheme in ("http", "https")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI if it is set, its paths made absolute; else the SQLite file in paths.home().

    Raises StoreError if it cannot be read as an address.
    """
    if is_embedded():
        return of_sqlite(database())
    given = os.environ["MLFLOW_TRACKING_URI"]
    try:
        if not given.startswith("sqlite"):
            return str(resolve_uri_if_local(given))
        url = make_url(given)
    except (ArgumentError, MlflowException, ValueError) as error:
        raise StoreError(
            f"MLFLOW_TRACKING_URI is no address ({masked(str(error))}): correct it, or unset it"
        ) from error
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return given
    return of_sqlite(Path(url.database), **{name: str(value) for name, value in url.query.items()})


def settled() -> dict[str, str]:
    """MLFLOW_TRACKING_URI, if it is set, for a process with another working directory."""
    return {} if is_embedded() else {"MLFLOW_TRACKING_URI": tracking_uri()}


def database() -> Path:
    """The embedded store's SQLite file."""
    return paths.home() / "mlflow.db"


def artifact_root() -> str | None:
    """Where a new experiment keeps its artifacts; None leaves it to the server.

    Of a database it must be said: MLflow would make a folder wherever whoever connects first happens to work. It is not
    that of this machine's own files, of which MLflow's are copies.
    """
    if is_embedded():
        return (paths.home() / "artifacts").as_uri()
    uri = tracking_uri()
    kind = urlsplit(uri).scheme.split("+")[0]
    if kind not in DATABASE_ENGINES:
        return None
    file = make_url(uri).database if kind == "sqlite" else None
    folder = Path(file).parent if file and Path(file).is_absolute() else paths.home()
    return (folder / "mlartifacts").as_uri()


def of_sqlite(path: Path, **options: str) -> str:
    """SQLAlchemy's address of a SQLite file, whatever characters are in its path.

    >>> of_sqlite(Path("/runs/mlflow.db"))
    'sqlite:////runs/mlflow.db'
    """
    try:
        address = URL.create("sqlite", database=path.absolute().as_posix(), query=options).render_as_string()
    except UnicodeEncodeError as error:
        raise StoreError(f"the name of {str(path.parent)!r} is not UTF-8: choose another folder") from error
    # MLflow makes the folder of a plain sqlite:/// address as it is spelled: of a quoted one that would be another.
    return address if unquote(address) == address else address.replace("sqlite:", "sqlite+pysqlite:", 1)


def opened_read_only(path: Path, **options: str) -> str:
    """SQLAlchemy's address of a SQLite file that nothing is written to."""
    query = {"uri": "true", **options}
    return URL.create("sqlite+pysqlite", database=path.absolute().as_uri(), query=query).render_as_string()


def shown() -> str:
    """The store as messages name it: the embedded one's folder, or an address without its password."""
    return str(paths.home()) if is_embedded() else masked(tracking_uri())


def for_browser() -> str:
    """The store's address without user and password."""
    parts = urlsplit(tracking_uri())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it.

    >>> masked("no answer from http://user:secret@host:5000/api")
    'no answer from http://user:***@host:5000/api'
    >>> masked("postgresql://host/runs?user=me&password=secret")
    'postgresql://host/runs?user=me&password=***'
    """
    return _PASSWORD_OPTION.sub(r"\1=***", _USER_AND_PASSWORD.sub(r"\1:***@", text))
