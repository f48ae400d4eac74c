"""What trains the shards of a device: this machine's processes, or the cluster that CNNVIZ_RAY names."""

import contextlib
from collections.abc import Iterator
from typing import Any

from cnnviz.errors import ClusterError, ConfigError
from cnnviz.jobs import devices, nodes
from cnnviz.train.shards import Engine, Processes


@contextlib.contextmanager
def connected(device: str) -> Iterator[Engine[Any]]:
    """The device's engine, for as long as it is needed. Raises ClusterError if the cluster does not answer."""
    if device != "cluster":
        yield Processes(device)
        return
    if trouble := devices.no_cluster():
        raise ConfigError(trouble)
    from cnnviz.train import cluster  # and Ray, which nothing else needs

    address = devices.cluster_address()
    try:
        engine = cluster.Cluster(address)
    except ClusterError as error:
        nodes.note(address, (), str(error))
        raise
    with contextlib.closing(engine):
        nodes.note(address, engine.nodes)
        yield engine


def note(engine: Engine[Any]) -> None:
    """Keep the nodes as they are now, for the pages."""
    if (seen := getattr(engine, "nodes", None)) is not None:
        nodes.note(devices.cluster_address(), seen)
