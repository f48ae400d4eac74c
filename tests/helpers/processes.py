"""A test's processes, and those of cnnviz that start warm: forked from one that has their libraries loaded, which takes
3 to 6 s of a core each time.

All else of these is as if Python had started for them alone: their environment, folder, streams, session, signals and
exit status.
"""

import contextlib
import ctypes
import gc
import io
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import context, forkserver, popen_forkserver, reduction, spawn, util
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, BinaryIO, TextIO

import psutil

from cnnviz import paths
from cnnviz.jobs import processes
from cnnviz.store import addresses

PIPE = subprocess.PIPE
_util: Any = util
PREPARES = "cnnviz.train.preload"  # when a fork server imports it
# Not Python's own one, which shards are forked from: whoever is first to use that says what it loads.
_server: Any = forkserver.ForkServer()
_server.set_forkserver_preload(["tests.helpers.loaded", "cnnviz"])  # the latter: a worker is known by its command line


class _Popen(popen_forkserver.Popen):
    """As Python's own, but for the server, and for the main module, which no process begins with: AppTest leaves its
    script as that."""

    _fds: list[int]

    def _launch(self, process_obj: Any) -> None:
        data, buffer = spawn.get_preparation_data(process_obj.name), io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump({name: each for name, each in data.items() if not name.startswith("init_main")}, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, to_it = _server.connect_to_new_process(self._fds)
        self.finalizer = util.Finalize(self, _util.close_fds, (os.dup(to_it), self.sentinel))
        with os.fdopen(to_it, "wb") as file:
            file.write(buffer.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


class Forked(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:  # noqa: N802
        return _Popen(process_obj)


def forked(target: Callable[..., None], *arguments: Any) -> Forked:
    """A started process, in this one's environment."""
    return _forked(os.environ, target, *arguments)


def _forked(environment: Mapping[str, str], target: Callable[..., None], *arguments: Any) -> Forked:
    started = Forked(target=_run, args=(dict(environment), target, *arguments))
    started.start()
    return started


def _run(environment: Mapping[str, str], target: Callable[..., None], *arguments: Any) -> None:
    os.environ.clear()  # of when the server was started
    os.environ.update(environment)
    target(*arguments)


class Started:
    """What subprocess.Popen is for a process that starts cold: of a module, as `python -m` runs it, or of a program, as
    `python -c` does. Its streams are text, but for stdin.

    stdin, stdout, stderr: PIPE or an open descriptor; otherwise nothing is read, and what it says goes into the log.
    as_a_user: permissions count, though root run the tests.
    """

    def __init__(
        self,
        module: str,
        *words: str,
        log: Path = Path(os.devnull),
        program: str = "",
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        folder: Path = paths.PROJECT,
        as_a_user: bool = False,
    ) -> None:
        self.stdin: BinaryIO | None = None
        self.stdout: TextIO | None = None
        self.args, ours = [module or "-c", *words], list[int]()
        with log.open("ab") as said, Path(os.devnull).open() as nothing:
            streams = [stdin or nothing.fileno(), stdout or said.fileno(), stderr or said.fileno()]
            if stdin == PIPE:
                streams[0], end = os.pipe()
                ours.append(streams[0])
                self.stdin = os.fdopen(end, "wb")
            if stdout == PIPE:
                end, streams[1] = os.pipe()
                ours.append(streams[1])
                self.stdout = os.fdopen(end)
            handed = [_Descriptor(each) for each in streams]
            order = _Order(module, words, program, handed, folder, as_a_user)
            self._process = _forked(os.environ if environment is None else environment, _main, order)
        for each in ours:
            os.close(each)
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self.kill()
        self.close()

    def close(self) -> None:
        """What it reads ends here; it is waited for."""
        for stream in (self.stdin, self.stdout):
            if stream is not None:
                stream.close()
        self.wait()


def run_warm(
    *words: str,
    program: str = "",
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    folder: Path = paths.PROJECT,
    timeout: float = 300,
    as_a_user: bool = False,
) -> subprocess.CompletedProcess[str]:
    """What subprocess.run returns for `python -W ignore -m cnnviz WORDS`, or `python -W ignore -c PROGRAM WORDS`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = Started(
            "" if program else "cnnviz",
            *words,
            program=program,
            environment=environment,
            stdout=stdout or out.fileno(),
            stderr=err.fileno(),
            folder=folder,
            as_a_user=as_a_user,
        )
        try:
            status = started.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_all(started)
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode(errors="replace"))
    return subprocess.CompletedProcess(started.args, status, *said)


def detached(
    command: Sequence[str], log: Path, settings: Mapping[str, str] = MappingProxyType({}), is_told: bool = False
) -> Started:
    """In the place of cnnviz.jobs.processes.detached, for the command `python -m …`."""
    processes.bound(log)
    python, option, module, *words = command
    assert (python, option) == (sys.executable, "-m"), command
    environment = os.environ | paths.settled() | addresses.settled() | dict(settings)
    return Started(module, *words, log=log, environment=environment, stdin=PIPE if is_told else None)


def kill_all(process: subprocess.Popen[bytes] | Started) -> None:
    """kill -9 of the process and of those it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        each.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)


# -- the process's own side -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Descriptor:
    """An open file, which reaches the process as a number of its own."""

    number: int

    def __reduce__(self) -> tuple[Callable[..., "_Descriptor"], tuple[Any, ...]]:
        return _received, (reduction.DupFd(self.number),)


def _received(handle: Any) -> _Descriptor:
    return _Descriptor(handle.detach())


@dataclass(frozen=True)
class _Order:
    module: str  # "": the program
    words: tuple[str, ...]
    program: str
    streams: Sequence[_Descriptor]  # 0, 1 and 2
    folder: Path
    as_a_user: bool


def _main(order: _Order) -> None:
    if order.as_a_user:
        _give_up_capabilities()
    settle([each.number for each in order.streams], order.folder)
    if order.module:
        run_module(order.module, *order.words)
    else:
        with _errors_passed_over():
            sys.argv = ["-c", *order.words]
            sys.modules["__main__"] = main = ModuleType("__main__")
            exec(compile(order.program, "<string>", "exec"), vars(main))


def settle(streams: Sequence[int], folder: Path) -> None:
    """Be a process of its own, in that folder, with these descriptors as its stdin, stdout and stderr."""
    os.setsid()
    os.chdir(folder)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for number in {*streams} - {0, 1, 2}:
        os.close(number)
    _open_streams()
    tempfile.tempdir = None
    warnings.simplefilter("ignore")
    warm_shards()


def run_module(name: str, *words: str) -> None:
    with _errors_passed_over():
        sys.argv = [name, *words]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _open_streams() -> None:
    """As Python does at its start."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding or None, errors=errors or None, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding or None, errors="backslashreplace", closefd=False)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    sys.stderr.reconfigure(line_buffering=True)


@contextlib.contextmanager
def _errors_passed_over() -> Iterator[None]:
    """At the end, as Python does: of what nobody reads, only what was printed is an error."""
    try:
        yield
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _give_up_capabilities() -> None:
    """As `setpriv --inh-caps=-all --bounding-set=-all` does: without them root is a user like others."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; of those that there are
    version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(version, none):
        raise OSError(ctypes.get_errno(), "capset")


_cold = _util.spawnv_passfds


def warm_shards() -> None:
    """From now on this process's shards start warm, too."""
    _util.spawnv_passfds = _fork_server


def _fork_server(path: bytes, words: Sequence[Any], descriptors: Sequence[int]) -> int:
    """In the place of a new Python that loads what shards have in common: this process, which has, is forked as long as
    it has one thread. The server's process id."""
    program = os.fsdecode(words[-1])
    if repr(PREPARES) not in program or threading.active_count() > 1:
        return int(_cold(path, words, descriptors))
    if pid := os.fork():
        return pid
    try:
        gc.enable()  # off while whoever asks loads its own libraries
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in {int(each.name) for each in Path("/proc/self/fd").iterdir()} - {0, 1, 2, nothing, *descriptors}:
            os.dup2(nothing, number)  # not closed: whatever has it would close the next one of that number
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        forkserver._forkserver.__init__()  # type: ignore[misc]  # as whoever asks for it holds the old one's lock
        sys.orig_argv[:] = [os.fsdecode(each) for each in words]
        sys.modules.pop(PREPARES, None)
        exec(program, {"__name__": "__main__"})
    except SystemExit:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(0)
