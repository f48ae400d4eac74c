"""Many networks: what all get wrong, and how far they agree."""

from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key
from cnnviz.data import Dataset

KEYS: tuple[Key, ...] = ()


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of the first network."""
