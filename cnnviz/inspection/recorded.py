"""Recorded networks, by run and epoch; those used last stay in memory, up to a limit."""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

from torch import Tensor

from cnnviz import data, paths
from cnnviz.inspection.network import Network, load_network
from cnnviz.store import addresses, artifacts
from cnnviz.store.runs import Run

MOST_BYTES = 600_000_000  # of weights: some 2,400 epochs of LeNets, or 17 of conv5's

_Key = tuple[str, str, str, int]
_kept: OrderedDict[_Key, Network] = OrderedDict()
_lock = Lock()


def load(run: Run, epoch: int) -> Network:
    """The run's network after that epoch, which any number of threads may use at once.

    Raises CheckpointError if its checkpoint is missing or damaged.
    """
    key = (addresses.tracking_uri(), str(paths.home()), run.id, epoch)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    weights = artifacts.load_checkpoint(run, epoch)
    network = of(run, weights)
    with _lock:
        _kept[key] = network
        while len(_kept) > 1 and sum(_bytes(each) for each in _kept.values()) > MOST_BYTES:
            _kept.popitem(last=False)
    return network


def of(run: Run, weights: Mapping[str, Tensor]) -> Network:
    """The run's network with these weights. Raises CheckpointError if they are of another."""
    config = run.config
    scale = data.scale_of(config.normalise, config.dataset)
    return load_network(run.architecture, config.activation, config.pooling, weights, scale)


def nearest_epoch(kept: list[int], wanted: int) -> int:
    """The last kept epoch up to the wanted one, or the first if all are later."""
    return max((epoch for epoch in kept if epoch <= wanted), default=min(kept))


def _bytes(network: Network) -> int:
    return 4 * network.arch.parameters
