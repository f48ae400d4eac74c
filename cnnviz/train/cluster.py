"""Shards as tasks of a Ray cluster. The only module that imports ray.

A task is a generator that yields what a shard's process sends through its pipe. Ray repeats none: what a lost node was
training goes back to the queue, and on from its last recorded epoch. Tasks ask a board, an actor beside the worker,
which networks to leave out; a task whose board does not answer any more ends itself, as nobody records what it trains.
cnnviz and its requirements are installed on every node, as PyTorch has to be in any case: shipped by Ray, its sources
would be the same everywhere, and PyTorch, which decides the last bits, would not.
"""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
import warnings
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.data.dataset import TENSORS
from cnnviz.errors import ClusterError
from cnnviz.train import memory, nodes
from cnnviz.train.loop import EpochResult, LateFigures, Start
from cnnviz.train.nodes import Node
from cnnviz.train.planning import Room, Shard, of_nodes
from cnnviz.train.shards import (
    Done,
    Message,
    Ready,
    ShardFailed,
    ShardStarted,
    Train,
    command_for,
    positions,
    received,
    run_shard,
)

ASK_SECONDS = 0.5  # between two looks of a task at the board
SILENT_SECONDS = 30.0  # without an answer of the board, after which a task ends itself
LOOK_SECONDS = 2.0  # between two looks at the nodes, and at the head
BEHIND_SECONDS = 3.0  # that Ray takes to know that a task's cores are free
PROBED = "is being looked at"
PROBE_SECONDS = 60.0  # until a node that says nothing is done without
CONNECT_SECONDS = 2.0
BUFFERED = 64  # messages of a task that the worker has not read: then it waits, as one with a full pipe does
LOST_SECONDS = 3.0  # within which the node of a task that died is seen to be gone
_Packed = tuple[str, str, tuple[str, ...], Mapping[str, Any]]  # a data set: name, title, classes, arrays by name


# -- the worker's side ----------------------------------------------------------------------------------


@dataclass(eq=False)
class Task:
    """A shard's task, and the node that it was given to."""

    shard: Shard
    number: int
    node: str
    threads: int
    gpus: int
    board: Any
    messages: Any  # Ray's generator of references
    left_out: frozenset[int] = frozenset()
    ended_at: float | None = None

    def leave_out(self, members: Collection[int]) -> None:
        now = positions(self.shard, members)
        if now != self.left_out:
            self.left_out = now
            self.board.leave_out.remote(self.number, now)

    def end(self) -> None:
        self.ended_at = time.monotonic()

    def kill(self) -> None:
        self.end()
        with contextlib.suppress(RayError):
            ray.cancel(self.messages, force=True)


@dataclass(eq=False)
class _Place:
    """A node of the cluster."""

    node: Node
    address: tuple[str, int]  # of its raylet
    probe: Any = None  # the reference to its signature
    since: float = field(default_factory=time.monotonic)
    others: tuple[int, int] = (0, 0)  # cores and GPUs that other programs use
    is_gone: bool = False


class Cluster:
    """A connection to a Ray cluster, which runs shards. Raises ClusterError, here and later, if it does not answer."""

    def __init__(self, address: str) -> None:
        if "://" in address:
            raise ClusterError(f"CNNVIZ_RAY={address} is a Ray client's: give the head's host:port, or auto")
        self.address, self.head = address, None if address == "auto" else _host_and_port(address)
        self._check_head()
        handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", namespace="cnnviz")
            with self._closed_by_errors():
                self._settle()
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise ClusterError(f"{self._said()} does not answer: {_line(error)}") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)

    @contextlib.contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        """Connected to one cluster, this process could not connect again."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _settle(self) -> None:
        """See what there is, once connected."""
        context = ray.get_runtime_context()
        self.head = _host_and_port(context.gcs_address)
        # Beside the worker: it lives as long as somebody records.
        here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
        self.board = _Board.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        self.signature = nodes.signature()
        self.places: dict[str, _Place] = {}
        self.data: dict[str, Any] = {}  # references to data sets
        self.tasks: list[Task] = []
        self.started = 0
        self.looked_at = 0.0
        self._look()
        while any(place.node.trouble == PROBED for place in self.places.values()):
            time.sleep(0.1)
            self._look()
        if not self.room.cores:
            raise ClusterError(". ".join([f"{self._said()} has no node to train on", *self.troubles()]))

    def close(self) -> None:
        ray.shutdown()

    # -- the nodes -----------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        return [place.node for place in self.places.values() if not place.is_gone and place.node.cores]

    @property
    def room(self) -> Room:
        return of_nodes(self.nodes)

    def troubles(self) -> Sequence[str]:
        return [f"node {node.name} {node.trouble}" for node in self.nodes if node.trouble and node.trouble != PROBED]

    def _look(self) -> None:
        """Which nodes there are, what they are busy with, and what new ones have installed."""
        self.looked_at = time.monotonic()
        self._check_head()
        from ray._private.state import available_resources_per_node

        try:
            free, found = available_resources_per_node(), [each for each in ray.nodes() if each["Alive"]]
        except (RuntimeError, RayError) as error:
            raise ClusterError(f"{self._said()} does not answer: {_line(error)}") from error
        recently = self.looked_at - BEHIND_SECONDS
        self.tasks = [task for task in self.tasks if task.ended_at is None or task.ended_at > recently]
        for each in found:
            has, left = each["Resources"], free.get(each["NodeID"], {})
            cores, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
            place = self.places.get(each["NodeID"])
            if place is None:
                name = self._name(each, found)
                address = each["NodeManagerAddress"], int(each["NodeManagerPort"])
                place = self.places[each["NodeID"]] = _Place(Node(name, cores, gpus, trouble=PROBED), address)
                if cores:
                    place.probe = _probe(each["NodeID"])
                else:
                    place.node = replace(place.node, trouble="")
            busy = cores - int(left.get("CPU", 0)), gpus - int(left.get("GPU", 0))
            place.node = replace(place.node, busy_cores=busy[0], busy_gpus=busy[1])
            ours = [task for task in self.tasks if task.node == each["NodeID"]]
            place.others = busy[0] - sum(task.threads for task in ours), busy[1] - sum(task.gpus for task in ours)
        for node_id in set(self.places) - {each["NodeID"] for each in found}:
            self.places[node_id].is_gone = True
        for place in self.places.values():
            self._read_probe(place)

    def _name(self, node: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
        name = str(node.get("NodeName") or node["NodeManagerAddress"])
        is_alone = sum(str(other.get("NodeName") or other["NodeManagerAddress"]) == name for other in others) == 1
        return name if is_alone else f"{name} ({node['NodeID'][:6]})"

    def _read_probe(self, place: _Place) -> None:
        if place.probe is None:
            return
        try:
            trouble = nodes.difference(ray.get(place.probe, timeout=0), self.signature)
        except GetTimeoutError:
            if not place.is_gone and time.monotonic() - place.since < PROBE_SECONDS:
                return
            place.node = replace(place.node, trouble="does not answer")  # so far
            return
        except RayError as error:
            trouble = f"cannot train: {_line(error)}"
        place.probe, place.node = None, replace(place.node, trouble=trouble)

    def _check_head(self) -> None:
        """Left to itself, Ray ends this process after a minute without its head."""
        if self.head and not _answers(self.head) and not _answers(self.head):
            raise ClusterError(f"{self._said()} does not answer: start it, or set CNNVIZ_RAY to another's address")

    def _said(self) -> str:
        return "the Ray cluster" if self.address == "auto" else f"the Ray cluster at {self.address}"

    # -- shards --------------------------------------------------------------------------------------

    def start(
        self, shard: Shard, configs: Sequence[RunConfig], starts: Sequence[Start], working: Collection[Task]
    ) -> Task | None:
        """None: nothing has room for it now."""
        room = self.room
        threads = max(1, min(shard.threads, room.widest))  # it may have been planned for a cluster that had more
        gpus = min(int(shard.device == "cuda"), room.gpus)
        node_id = self._freest(threads, gpus, working)
        if node_id is None:
            return None
        self.started += 1
        command = command_for(shard, configs, starts)
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        messages = _train.options(num_cpus=threads, num_gpus=gpus, scheduling_strategy=there).remote(
            replace(shard, device="cuda" if gpus else "cpu"),
            command,
            self.board,
            self.started,
            self._dataset(command.configs[0].dataset),
        )
        task = Task(shard, self.started, node_id, threads, gpus, self.board, messages)
        self.tasks.append(task)
        return task

    def _freest(self, threads: int, gpus: int, working: Collection[Task]) -> str | None:
        """The node with the most cores free, of those with room for so many threads and GPUs."""
        best, most = None, 0
        for node_id, place in self.places.items():
            ours = [task for task in working if task.node == node_id]
            cores = place.node.cores - max(place.others[0], 0) - sum(task.threads for task in ours)
            free_gpus = place.node.gpus - max(place.others[1], 0) - sum(task.gpus for task in ours)
            if not place.is_gone and not place.node.trouble and min(cores - threads, free_gpus - gpus) >= 0:
                best, most = (node_id, cores) if cores > most else (best, most)
        return best

    def _dataset(self, name: str) -> Any:
        """A reference to the data set: it travels to each node once, whose tasks share it."""
        if name not in self.data:
            dataset = data.load(name)
            arrays = {each: getattr(dataset, each).numpy() for each in TENSORS}
            self.data[name] = ray.put((name, dataset.title, dataset.classes, arrays))
        return self.data[name]

    def messages(self, working: Collection[Task], seconds: float) -> Iterator[tuple[Task, Message]]:
        if time.monotonic() - self.looked_at > LOOK_SECONDS:
            self._look()
        tasks = {task.messages: task for task in working}
        if not tasks:
            time.sleep(seconds)  # until a node is there, or free
            return
        ready, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(tasks), num_returns=1, timeout=seconds)
        for reference in ready:
            task = tasks[reference]
            yield task, received(task.shard, self._receive(task))

    def _receive(self, task: Task) -> Message:
        place = self.places[task.node]
        try:
            message: Message = ray.get(next(task.messages))
        except StopIteration:
            return ShardFailed(task.shard, f"its task on node {place.node.name} ended unexpectedly", died=True)
        except RayError as error:
            self._check_head()
            if self._is_lost(place):
                place.is_gone = True
                return ShardFailed(task.shard, f"node {place.node.name} was lost", died=True, is_lost=True)
            reason = f"its task on node {place.node.name} was killed: {_line(error)}"
            return ShardFailed(task.shard, reason, died=True)
        if isinstance(message, Ready):
            return ShardStarted(task.shard, f"cluster: {'cuda' if task.gpus else 'cpu'}, {place.node.name}")
        return message if isinstance(message, EpochResult | LateFigures | Done) else replace(message, shard=task.shard)

    def _is_lost(self, place: _Place) -> bool:
        """Whether a node whose task has died is gone; it may take a moment to be."""
        end = time.monotonic() + LOST_SECONDS
        while time.monotonic() < end:
            if place.is_gone or not _answers(place.address):
                return True
            time.sleep(0.2)
        return False


def _probe(node_id: str) -> Any:
    """A reference to what the node has installed: its signature, or a line that says what it lacks."""

    def signature_there() -> dict[str, str] | str:  # by value: the node may have no cnnviz
        try:
            from cnnviz.train import nodes
        except ImportError as error:
            return f"cannot import cnnviz ({error}): install it there"
        return nodes.signature()

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(signature_there).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"CNNVIZ_RAY={address} is no address: give the head's host:port, or auto")
    return host, int(port)


def _answers(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=CONNECT_SECONDS):
        return True
    return False


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


# -- a node's side --------------------------------------------------------------------------------------


@ray.remote(num_cpus=0)
class _Board:
    """What the worker asks of the tasks: which networks, by position, to train no further."""

    def __init__(self) -> None:
        self.left_out: dict[int, frozenset[int]] = {}

    def leave_out(self, number: int, left_out: frozenset[int]) -> None:
        self.left_out[number] = left_out

    def asked(self, number: int) -> frozenset[int]:
        return self.left_out.get(number, frozenset())


class _Asked:
    """What the board says, looked at by a thread of its own for as long as the task lasts."""

    def __init__(self, board: Any, number: int) -> None:
        self.board, self.number = board, number
        self.left_out: frozenset[int] = frozenset()
        self.over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.over.wait(ASK_SECONDS):
            try:
                self.left_out = ray.get(self.board.asked.remote(self.number), timeout=SILENT_SECONDS)
            except RayError:
                if not self.over.is_set():
                    os._exit(1)  # the worker is gone


@ray.remote(max_retries=0, num_returns="streaming", _generator_backpressure_num_objects=BUFFERED)
def _train(shard: Shard, command: Train, board: Any, number: int, dataset: _Packed) -> Generator[Message]:
    """A shard's task. It is trained in a thread, so that what it reports in the middle of a step can be yielded."""
    memory.set_malloc(*memory.malloc_for(command.configs[0]))
    name = dataset[0]
    if name not in memory.datasets:  # Ray keeps the process for the next task
        memory.datasets[name] = _unpacked(*dataset)
    asked = _Asked(board, number)
    outbox: queue.Queue[Message] = queue.Queue(1)
    arguments = (shard, command, shard.device, outbox.put, lambda: asked.left_out, memory.datasets)
    threading.Thread(target=run_shard, args=arguments, daemon=True).start()
    yield Ready()
    message: Message = Ready()
    while not isinstance(message, Done | ShardFailed):
        message = outbox.get()
        yield message
    asked.over.set()


def _unpacked(name: str, title: str, classes: tuple[str, ...], arrays: Mapping[str, Any]) -> data.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the arrays are the node's, not to be written, and nothing writes to pictures
        return data.Dataset(name, title, classes, **{each: torch.from_numpy(array) for each, array in arrays.items()})
