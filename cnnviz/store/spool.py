"""What a worker could not write because the server was away: kept on the disk in order, written once it is back.

Between `kept` and its end every operation is carried out at once as long as the server answers. The first that finds it
away is appended to a file, and so are all that follow until the file is empty again: the server sees one order. An
operation can be repeated without a difference (MLflow ignores a metric that it has with the same value, time and step;
tags, statuses and files are overwritten by the same), so one that was carried out without saying so does no harm. A
worker that is killed leaves the file, which the next worker of the device writes before it takes runs.

Only this installation changes its active runs, so what is written late is still true: of a run that is over, deleted or
somebody else's by then, it had been written before, or is wanted no more, and is passed over.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from hashlib import sha256
from time import monotonic
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException

from cnnviz import paths
from cnnviz.errors import StoreError, UnreachableError
from cnnviz.store import addresses, connection, failures, ownership
from cnnviz.store.failures import readable_errors
from cnnviz.store.records import status_of
from cnnviz.store.runs import ACTIVE

_Operation = TypeVar("_Operation", bound=Callable[..., None])
_operations: dict[str, Callable[..., None]] = {}
_kept: ContextVar["Spool | None"] = ContextVar("spool", default=None)


def operation(function: _Operation) -> _Operation:
    """A change of one run that can be repeated; its arguments, the run's id first, can be written as JSON."""
    name = function.__name__

    @wraps(function)
    def carried_out(run_id: str, *arguments: Any) -> None:
        spool = _kept.get()
        if spool is None:
            function(run_id, *arguments)
        elif spool.is_empty:
            try:
                with readable_errors():
                    function(run_id, *arguments)
            except UnreachableError:
                spool.append(name, run_id, arguments)
        else:
            spool.append(name, run_id, arguments)

    _operations[name] = function
    return carried_out  # type: ignore[return-value]


@contextlib.contextmanager
def kept(spool: "Spool") -> Iterator[None]:
    """Within it, operations that find the server away go into the spool; all else that asks it raises at once."""
    before = _kept.set(spool)
    try:
        with connection.patient(None):
            yield
    finally:
        _kept.reset(before)


class Spool:
    """The file of a device's worker, who holds the device's lock."""

    def __init__(self, device: str) -> None:
        # A file a store: what one server was not there for is not written to another.
        store = sha256(addresses.for_browser().encode()).hexdigest()[:12]
        self.path = paths.home() / "spool" / f"{device}-{store}.jsonl"
        self.place = self.path.with_suffix(".place")  # how far it has been written to the server
        self._end = self._whole_lines()
        self._over = set[str]()  # runs of which nothing more is written, as a part would leave a gap

    @property
    def is_empty(self) -> bool:
        return not self._end

    def _whole_lines(self) -> int:
        """Its length, without a last line that a killed worker, or a full disk, has left incomplete."""
        if not self.path.exists():
            return 0
        end = self.path.read_bytes().rfind(b"\n") + 1
        os.truncate(self.path, end)
        return end

    def append(self, name: str, run_id: str, arguments: tuple[Any, ...]) -> None:
        line = json.dumps([name, run_id, *arguments]).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self.path, self._end)
            raise StoreError(
                f"the server is away, and {self.path} cannot be written ({error.strerror}): free some space"
            ) from error
        self._end += len(line)

    def write(self, seconds: float = float("inf")) -> bool:
        """Carry out what it holds, for so long; whether it is empty. Raises UnreachableError, StoreError."""
        if self.is_empty:
            return True
        until, active = monotonic() + seconds, set[str]()
        outside = _kept.set(None)
        try:
            with self.path.open("rb") as file, readable_errors():
                file.seek(self._written())
                while file.tell() < self._end:
                    if monotonic() > until:
                        return False
                    name, run_id, *arguments = json.loads(file.readline())
                    if run_id not in self._over:
                        known = run_id in active and name != "finish"
                        if (known or _is_active_here(run_id)) and _carry_out(name, run_id, arguments):
                            active.add(run_id)
                        else:
                            self._over.add(run_id)
                    self._note(file.tell())
        finally:
            _kept.reset(outside)
        # In this order: killed in between, the next worker repeats all of it rather than leaving out something new.
        self.place.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self._end = 0
        self._over.clear()
        return True

    def _written(self) -> int:
        try:
            return min(int(self.place.read_text()), self._end)
        except (OSError, ValueError):
            return 0

    def _note(self, written: int) -> None:
        half = self.place.with_suffix(".tmp")
        half.write_text(str(written))
        half.replace(self.place)


def _carry_out(name: str, run_id: str, arguments: list[Any]) -> bool:
    """False if somebody has deleted the run."""
    try:
        _operations[name](run_id, *arguments)
    except (MlflowException, StoreError) as error:
        if failures.is_unreachable(error) or isinstance(error, UnreachableError) or _is_active_here(run_id):
            raise
        return False
    return True


def _is_active_here(run_id: str) -> bool:
    try:
        found = connection.client().get_run(run_id)
        is_active = found.info.lifecycle_stage == "active" and status_of(found) in ACTIVE
        return is_active and ownership.of(found).is_here
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
