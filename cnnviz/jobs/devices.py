"""The devices of this machine."""

import torch

from cnnviz.config import DEVICES
from cnnviz.errors import ConfigError


def available() -> list[str]:
    """The devices of this machine, the fastest first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def resolve(device: str) -> str:
    """The device to use: for "auto" the fastest one here. Raises ConfigError for one that is not here."""
    if device not in DEVICES:
        raise ConfigError(f"device {device!r} is not known: choose one of {', '.join(DEVICES)}")
    if device == "auto":
        return available()[0]
    if device not in available():
        raise ConfigError(f"this machine has no {device}: choose one of {', '.join(available())}")
    return device


def nearest(device: str) -> str:
    """That device, or the fastest here if a run was trained on a machine that had another."""
    return device if device in available() else available()[0]


def describe(device: str) -> str:
    """The device as a segment records it: "cuda: NVIDIA H200"."""
    return f"cuda: {torch.cuda.get_device_name()}" if device == "cuda" else device
