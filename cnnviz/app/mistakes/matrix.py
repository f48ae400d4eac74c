"""The confusion matrix; a cell opens its pictures."""

from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key
from cnnviz.data import Dataset

KEYS: tuple[Key, ...] = ()


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of the first network."""
