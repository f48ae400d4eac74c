"""This machine's NVIDIA GPU: why there is none to train on, what a run should say of it, and its figures."""

import importlib.util
import os
import re
import warnings
from collections.abc import Callable

import torch

IN_USE = 0.1  # of its memory: with more in other hands before anything is trained, somebody else computes on it
FIGURES: dict[str, tuple[str, Callable[[], float]]] = {  # by MLflow's own names
    "system/gpu_0_utilization_percentage": ("use", lambda: torch.cuda.utilization(0)),
    "system/gpu_0_memory_usage_megabytes": ("memory", lambda: torch.cuda.device_memory_used(0) / 1e6),
    "system/gpu_0_temperature_celsius": ("temperature", lambda: torch.cuda.temperature(0)),
}


def is_there() -> bool:
    return not _said()[0]


def trouble() -> str:
    """Why nothing can be trained on a GPU here, and the remedy; "": it can be."""
    is_missing, said = _said()
    if not is_missing:
        return ""
    if torch.version.cuda is None:
        return "PyTorch was installed without CUDA: install it as pytorch.org has it for your GPU"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={hidden.strip()} hides every GPU: unset it"
    if "too old" in said:
        wanted = f"PyTorch {torch.__version__.partition('+')[0]} (CUDA {torch.version.cuda})"
        return f"the NVIDIA driver is too old for {wanted}: update it, or install a PyTorch for an older CUDA"
    return "no NVIDIA GPU is found"


def _said() -> tuple[bool, str]:
    """Whether there is none, and what PyTorch says of it: a warning, if a driver is there and does not serve."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        is_missing = not torch.cuda.is_available()
    return is_missing, " ".join(str(each.message) for each in said)


def notes() -> list[str]:
    """What the message of a run that is trained on it should say, before anything is: a line each."""
    found = []
    if part := re.search(r"MIG\s+\S+", torch.cuda.get_device_name()):
        found.append(f"trained on a part of a GPU ({part[0]}), with its share of memory and speed")
    total = torch.cuda.get_device_properties(0).total_memory / 1e9
    used = figures().get("system/gpu_0_memory_usage_megabytes", 0.0) / 1e3
    if used > IN_USE * total:
        found.append(f"other programs hold {used:.0f} of the GPU's {total:.0f} GB: steps may take longer")
    if missing := missing_figures():
        remedy = "" if importlib.util.find_spec("pynvml") else ": pip install nvidia-ml-py"
        found.append(f"the GPU's {' and '.join(missing)} cannot be read and are not recorded{remedy}")
    return found


def figures() -> dict[str, float]:
    """Those that can be read: drivers raise for what a device, or a part of one, does not measure."""
    return _read()[0]


def missing_figures() -> list[str]:
    return _read()[1]


def _read() -> tuple[dict[str, float], list[str]]:
    found, missing = {}, []
    for name, (word, read) in FIGURES.items():
        try:
            found[name] = float(read())
        except Exception:
            missing.append(word)
    return found, missing
