"""What is known here of the cluster: the nodes as a worker, or somebody who looked, noted them. Needs no Ray."""

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cnnviz.jobs import processes
from cnnviz.jobs.files import job_file, write_atomically
from cnnviz.train import planning
from cnnviz.train.nodes import Node
from cnnviz.wording import count

STALE_SECONDS = 30  # after which the app has the nodes looked at again
LOOKING_SECONDS = 60  # that a look may take


@dataclass(frozen=True)
class Seen:
    """The cluster as it was seen last."""

    address: str  # as CNNVIZ_RAY had it
    at: float  # seconds since 1970
    nodes: tuple[Node, ...]
    trouble: str = ""  # why it could not be seen

    @property
    def room(self) -> planning.Room:
        return planning.of_nodes(self.nodes)


def note(address: str, found: Sequence[Node], trouble: str = "") -> None:
    seen = Seen(address, time.time(), tuple(found), trouble)
    with contextlib.suppress(OSError):
        write_atomically(job_file("cluster", "nodes"), json.dumps(asdict(seen)))


def seen(address: str) -> Seen | None:
    """None: nobody has looked at this cluster yet."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        noted = json.loads(job_file("cluster", "nodes").read_text(encoding="utf-8"))
        found = Seen(noted["address"], noted["at"], tuple(Node(**each) for each in noted["nodes"]), noted["trouble"])
        return found if found.address == address else None
    return None


_looked_at = float("-inf")  # by this process


def look(address: str) -> None:
    """Have the nodes looked at, by a process of its own, if nobody has of late: connecting to Ray takes seconds."""
    global _looked_at
    found = seen(address)
    if (found and abs(time.time() - found.at) < STALE_SECONDS) or time.monotonic() - _looked_at < LOOKING_SECONDS:
        return
    _looked_at = time.monotonic()
    command = [sys.executable, "-m", "cnnviz", "cluster"]
    processes.detached(command, job_file("cluster", "log"), settings={"CNNVIZ_RAY": address})


def room(address: str) -> planning.Room | None:
    found = seen(address)
    return found.room if found and found.room.cores else None


def headline(found: Seen) -> str:
    """ "4 nodes · 16 cores, 12 busy · 2 GPUs, 1 busy"."""
    if found.trouble:
        return found.trouble
    able = [node for node in found.nodes if not node.trouble]
    words = [count(len(able), "node"), *([used(*able)] if able else [])]
    words += [f"{len(found.nodes) - len(able)} cannot train"] if len(able) < len(found.nodes) else []
    return " · ".join(words)


def used(*some: Node) -> str:
    """ "16 cores, 12 busy · 2 GPUs, none busy" of these nodes together."""
    has = {"core": sum(node.cores for node in some), "GPU": sum(node.gpus for node in some)}
    busy = {"core": sum(node.busy_cores for node in some), "GPU": sum(node.busy_gpus for node in some)}
    return " · ".join(f"{count(has[noun], noun)}, {busy[noun] or 'none'} busy" for noun in has if has[noun])
