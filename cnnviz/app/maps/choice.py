"""What choosing a picture comes to, wherever it is from."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """The picture to look at, and those it was chosen from."""

    pixels: Tensor  # uint8 (32, 32, 3), as the network sees it
    label: int | None  # its class, if it is known
    name: str
    others: Tensor  # uint8 (N, 32, 32, 3): the ones on show, for the sheet
    labels: Tensor | None  # (N,)
