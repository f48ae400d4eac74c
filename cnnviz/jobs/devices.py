"""The devices of this machine, and the cluster that CNNVIZ_RAY names."""

import importlib.util
import os

import torch

from cnnviz.config import DEVICES
from cnnviz.errors import ConfigError
from cnnviz.jobs import gpu


def cluster_address() -> str:
    """CNNVIZ_RAY: a Ray cluster by its head, host:port, or "auto", the one this machine belongs to; "": none."""
    return os.environ.get("CNNVIZ_RAY", "").strip()


def no_cluster() -> str:
    """Why nothing is trained on a cluster here, and the remedy; "": it can be."""
    if not cluster_address():
        return "no cluster is named: set CNNVIZ_RAY to the address of a Ray cluster's head (host:port), or to auto"
    if importlib.util.find_spec("ray") is None:
        return "a cluster needs Ray: pip install -r requirements-cluster.txt"
    return ""


def available() -> list[str]:
    """The cluster if one is named, and the devices of this machine, the fastest first."""
    found = ["cluster"] if cluster_address() and not no_cluster() else []
    found += ["cuda"] if gpu.is_there() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def resolve(device: str) -> str:
    """The device to use: for "auto" the cluster if one is named, else the fastest one here. Raises ConfigError for one
    that is not here."""
    if device not in DEVICES:
        raise ConfigError(f"device {device!r} is not known: choose one of {', '.join(DEVICES)}")
    if device == "auto":
        return available()[0]
    if device == "cluster" and (trouble := no_cluster()):
        raise ConfigError(trouble)
    if device not in available():
        reason = f" ({trouble})" if device == "cuda" and (trouble := gpu.trouble()) else ""
        raise ConfigError(f"this machine has no {device}{reason}: choose one of {', '.join(available())}")
    return device


def nearest(device: str) -> str:
    """That device, or the fastest here if a run was trained on a machine that had another."""
    return device if device in available() else available()[0]


def describe(device: str) -> str:
    """The device as a segment records it: "cuda: NVIDIA H200". What is trained on a cluster, its task describes."""
    return f"cuda: {torch.cuda.get_device_name()}" if device == "cuda" else device
