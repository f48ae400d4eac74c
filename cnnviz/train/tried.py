"""What was found of the ways of running steps, kept for each machine, version and shape of a stack.

A file each in <CNNVIZ_HOME>/ways. Without one that can be read, or written, everything is found again.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.train import native, nodes

# Fields of RunConfig on which no way of running a step depends.
OTHER = frozenset({"lr", "init", "seed", "limit_train", "validation", "patience", "dataset", "epochs"})
TROUBLE_SECONDS = 86_400.0  # what was no good is tried again a day later: the machine may have been at fault


@dataclass(frozen=True)
class Verdict:
    """What a trial has found of a way."""

    trouble: str = ""  # what is wrong with it; "": nothing
    step_seconds: float = 0.0


def place(configs: Sequence[RunConfig], device: str) -> Path:
    """The file for a stack of these runs here."""
    settings = [{name: value for name, value in vars(config).items() if name not in OTHER} for config in configs]
    key = json.dumps([_machine(device), torch.get_num_threads(), settings], default=str, sort_keys=True)
    return paths.home() / "ways" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _machine(device: str) -> list[object]:
    """What decides whether a way works, and how fast: processor, compiler, versions, driver."""
    found: list[object] = [nodes.signature(), platform.node(), platform.machine(), os.cpu_count(), device]
    found += [torch.__version__, torch.backends.cpu.get_cpu_capability()]
    if compiler := shutil.which(native.compiler() or ""):
        with contextlib.suppress(OSError):
            its = Path(compiler).resolve().stat()
            found += [compiler, its.st_size, its.st_mtime]
    if device == "cuda":
        found += [torch.cuda.get_device_name(), torch.version.cuda, torch.backends.cudnn.version()]
        with contextlib.suppress(OSError):
            found.append(Path("/proc/driver/nvidia/version").read_text(encoding="utf-8"))
    return found


def read(file: Path) -> dict[str, Verdict]:
    """Verdicts by way."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        found = {way: Verdict(str(its["trouble"]), float(its["step_seconds"])) for way, its in kept["ways"].items()}
        is_old = time.time() - float(kept["at"]) > TROUBLE_SECONDS
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {way: verdict for way, verdict in found.items() if not (verdict.trouble and is_old)}


def write(file: Path, verdicts: Mapping[str, Verdict]) -> None:
    """Keep them, if that can be."""
    kept = {"at": time.time(), "ways": {way: asdict(verdict) for way, verdict in verdicts.items()}}
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")  # shards write at the same time
        temporary.write_text(json.dumps(kept), encoding="utf-8")
        temporary.replace(file)
