"""Changes to a trained network's channels: switched off, or replaced by those of another epoch or network."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cnnviz.errors import ConfigError
from cnnviz.features import Network, ablated, transplanted

OFF, OTHER = "off", "other"
_CHANGE = re.compile(r"([a-z]+\d+)\.(\d+):(off|other|epoch-(\d+))")


@dataclass(frozen=True)
class Change:
    """What is done to one channel. Its text, "c3.12:off" or "c1.0:epoch-4", goes in an address."""

    layer: str
    channel: int
    source: str  # "off", "other" (the network beside it) or "epoch-4" (its own, at that epoch)

    def __str__(self) -> str:
        return f"{self.layer}.{self.channel}:{self.source}"

    @property
    def epoch(self) -> int | None:
        """Of the same network, that the channel comes from."""
        return int(self.source.removeprefix("epoch-")) if self.source.startswith("epoch-") else None

    @property
    def words(self) -> str:
        """
        >>> Change("c3", 12, "epoch-4").words
        'c3 · 12 from epoch 4'
        """
        what = OFF if self.source == OFF else "from the other network"
        return f"{self.layer} · {self.channel} {what if self.epoch is None else f'from epoch {self.epoch}'}"


def parse(text: str) -> Change:
    """Inverse of str(change). Raises ConfigError."""
    match = _CHANGE.fullmatch(text)
    if not match:
        raise ConfigError(f"{text[:60]!r} is not a change: write c3.12:off, c3.12:other or c3.12:epoch-4")
    return Change(match[1], int(match[2]), match[3])


def changed(network: Network, changes: Iterable[Change], donor: Callable[[Change], Network]) -> Network:
    """The network with the changes made: first the channels that come from a donor, then those that are switched off.

    Raises ConfigError for a channel that is not there or a donor that does not fit.
    """
    every = list(changes)
    for change in every:
        if change.source != OFF:
            network = transplanted(network, donor(change), change.layer, [change.channel])
    for layer in dict.fromkeys(change.layer for change in every if change.source == OFF):
        silent = [change.channel for change in every if (change.layer, change.source) == (layer, OFF)]
        network = ablated(network, layer, silent)
    return network
