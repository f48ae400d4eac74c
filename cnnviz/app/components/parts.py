"""A whole and its parts: one bar, and a button for each part, which chooses it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from cnnviz.app.components import component
from cnnviz.app.state import reported

_parts = component("parts", '<div class="whole"><div class="bar"></div><div class="parts" role="group"></div></div>')


@dataclass(frozen=True)
class Part:
    name: str
    figure: str
    note: str
    share: float  # of the bar; 0: it is no part of the whole, and has a button alone
    hue: str  # colour, as CSS
    title: str  # on hover


def parts(
    label: str, those: Sequence[Part], key: str, on_pick: Callable[[int], None], selected: int, columns: int
) -> None:
    """columns: buttons side by side where there is room for them, else two."""

    def picked() -> None:
        place = reported(key).picked
        if place is not None:
            on_pick(int(place))

    data = {"label": label, "parts": [asdict(each) for each in those], "selected": selected, "columns": columns}
    _parts(key=key, data=data, on_picked_change=picked)
