"""The nodes of a cluster, as they were seen last, and what makes a node one to train on.

Imports neither Ray nor PyTorch: a node that is asked what it has answers at once.
"""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
TRAINING = ("*.py", "data/*", "train/*")  # the package's sources that decide how a network is trained


@dataclass(frozen=True)
class Node:
    name: str
    cores: int
    gpus: int = 0
    busy_cores: int = 0
    busy_gpus: int = 0
    trouble: str = ""  # why nothing is trained there


def signature() -> dict[str, str]:
    """What must be the same on every node, so that a network's last bits do not depend on where it is trained."""
    digest = hashlib.sha256()
    files = sorted({path for pattern in TRAINING for path in PACKAGE.glob(pattern) if path.is_file()})
    for path in files:
        if path.name != "__main__.py":
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return {"cnnviz": digest.hexdigest()[:12], "torch": metadata.version("torch")}


def difference(theirs: dict[str, str] | str, ours: dict[str, str]) -> str:
    """What keeps a node from training, given its signature, or why it has none; "" if nothing does."""
    if isinstance(theirs, str):
        return theirs
    if theirs.get("torch") != ours["torch"]:
        return f"has torch {theirs.get('torch')} and the worker {ours['torch']}: install the same there"
    if theirs.get("cnnviz") != ours["cnnviz"]:
        return "has another version of cnnviz than the worker: install the same there"
    return ""
