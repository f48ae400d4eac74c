"""What fails between cnnviz and the store, as one line with its remedy; and whether a server answers at all."""

import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.engine import make_url

from cnnviz.errors import CnnvizError, StoreError, UnreachableError
from cnnviz.store import addresses

ANSWER_SECONDS = 4.0  # after which a server is said not to answer
ASK_AGAIN_SECONDS = 2.0  # a server that answered, or did not, is not asked again sooner
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_GATEWAY = (502, 503, 504)  # what a proxy says of a server that is down

_REMEDIES = {
    "disk is full": "free some space",
    "no space left": "free some space",
    "disk i/o error": "free some space, or check the disk",
    "readonly": "allow writing there, or set CNNVIZ_HOME to another folder",
    "read-only": "allow writing there, or set CNNVIZ_HOME to another folder",
    "permission denied": "allow writing there, or set CNNVIZ_HOME to another folder",
    "locked": "another program holds it; try again",
    "can't locate revision": "a newer MLflow made it; install that one, or set CNNVIZ_HOME to another folder",
}
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # by their modules


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """MLflow's, SQLite's and the file system's exceptions as one line with its remedy, without a password."""
    try:
        yield
    except CnnvizError:
        raise
    except Exception as error:
        known = ("mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3")
        is_drivers = isinstance(error, ImportError) and not addresses.is_embedded()
        if not isinstance(error, OSError) and not is_drivers and type(error).__module__.split(".")[0] not in known:
            raise
        if is_unreachable(error):
            raise unreachable(error) from error
        reason = _missing_driver(error) if isinstance(error, ModuleNotFoundError) else _reason(error)
        remedy = next((each for sign, each in _REMEDIES.items() if sign in reason.lower()), "")
        raise StoreError(
            f"the store at {addresses.shown()} cannot be used: {reason}" + f": {remedy}" * bool(remedy)
        ) from error


def _missing_driver(error: ModuleNotFoundError) -> str:
    package = _PACKAGES.get(error.name or "", error.name)
    return f"its driver {error.name} is not installed: pip install '{package}'"


def _reason(error: Exception) -> str:
    """The first line that says what is wrong: SQLAlchemy's may come after one that says when it was noticed."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = [line for line in lines if any(sign in line.lower() for sign in _REMEDIES)]
    return addresses.masked((telling or lines)[0])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_unreachable(error: Exception) -> bool:
    """Whether it says that a server does not answer, which passes by itself."""
    if addresses.is_embedded():
        return False
    kinds = {(type(each).__module__.split(".")[0], type(each).__name__) for each in _chain(error)}
    of_http = any(package in ("requests", "urllib3") for package, _ in kinds)
    of_a_database = ("sqlalchemy", "OperationalError") in kinds and urlsplit(addresses.tracking_uri()).hostname
    wrong_address = any(name in ("InvalidURL", "InvalidSchema", "MissingSchema") for _, name in kinds)
    return bool(of_http or of_a_database) and not wrong_address


def unreachable(error: Exception) -> UnreachableError:
    if isinstance(error, UnreachableError):
        return error
    reasons = [getattr(each, "strerror", None) or str(each) for each in _chain(error)]
    reason = addresses.masked(next((line for line in reasons[-1].splitlines() if line.strip()), type(error).__name__))
    whose = f"the store at {addresses.shown()} cannot be used: it does not answer"
    return UnreachableError(f"{whose} ({reason}): start it, or set MLFLOW_TRACKING_URI to one that runs")


_answered: dict[str, tuple[float, UnreachableError | None]] = {}  # address → when, and what was wrong


def must_answer(uri: str) -> None:
    """Raises UnreachableError if a server does not answer within ANSWER_SECONDS, as it was ASK_AGAIN_SECONDS ago at
    most; of a database without its driver, ImportError. Other stores are files: nothing is asked."""
    at, fault = _answered.get(uri, (-ASK_AGAIN_SECONDS, None))
    if time.monotonic() - at >= ASK_AGAIN_SECONDS:
        fault = None
        try:
            _ask(uri)
        except Exception as error:
            if not isinstance(error, OSError) and not is_unreachable(error):
                raise
            fault = unreachable(error)
        _answered[uri] = time.monotonic(), fault
    if fault:
        raise fault


def _ask(uri: str) -> None:
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        # MLflow's own request, for its certificates, proxies and passwords; any answer will do but a gateway's.
        answer = http_request(
            get_default_host_creds(uri),
            "/health",
            "GET",
            max_retries=0,
            retry_codes=(),
            timeout=ANSWER_SECONDS,
            raise_on_status=False,
        )
        if answer.status_code in _GATEWAY:
            raise ConnectionError(f"HTTP status {answer.status_code}")
    elif scheme.split("+")[0] in DATABASE_ENGINES and not scheme.startswith("sqlite"):
        url = make_url(uri)
        url.get_dialect().import_dbapi()
        if url.host:
            socket.create_connection((url.host, url.port or _PORTS[url.get_backend_name()]), ANSWER_SECONDS).close()
