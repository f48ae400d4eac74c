"""What is looked at on the page: the view, and in it one channel and one of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnviz.app.maps.looked import Looked
from cnnviz.app.state import Key, optional_key, text_key, whole_number
from cnnviz.inspection.network import layer_name, step_names

MAPS = None  # no view below the diagram
WHY, KERNELS, MISTAKES, SHEET, TRAINING = "why", "kernels", "mistakes", "sheet", "training"
MATCH, LAYERS = "match", "layers"


def _cell(text: str) -> tuple[int, int]:
    row, _, column = text.partition(".")
    return whole_number(row), whole_number(column)


VIEW = Key[str | None]("view", MAPS, lambda text: MAPS if text == "maps" else text)
OF = text_key("of", "run")  # the side of the network whose channel it is
LAYER = optional_key("layer")  # a step, such as "c3_activation"
CHANNEL = Key[int | None]("channel", None, whole_number)
CELL = Key[tuple[int, int] | None]("cell", None, _cell, lambda cell: "{}.{}".format(*cell) if cell else "")
KEYS = (VIEW, OF, LAYER, CHANNEL, CELL)


@dataclass(frozen=True)
class Selected:
    """One channel of one step of one network."""

    side: str
    step: str
    channel: int


def selected() -> Selected | None:
    step, channel = LAYER.get(), CHANNEL.get()
    return None if step is None or channel is None else Selected(OF.get(), step, channel)


def check(looked: Sequence[Looked]) -> None:
    """Refuse what the address selects but these networks do not have; without a channel nothing is selected."""
    archs = {one.side: one.run.architecture for one in looked}
    arch = archs.get(OF.get())
    step, channel = LAYER.get(), CHANNEL.get()
    if OF.get() not in ("run", "other"):
        OF.refuse("is neither run nor other")
    if step is not None and arch is not None:
        if step not in step_names(arch):
            LAYER.refuse(f"is no layer of {arch.name}")
        elif channel is not None and channel >= arch.layer(layer_name(step)).output[0]:
            CHANNEL.refuse(f"is no channel of {step}")
    if selected() is None:
        close_channel()


def choose_channel(side: str, step: str, channel: int) -> None:
    OF.set(side)
    LAYER.set(step)
    CHANNEL.set(channel)
    CELL.set(None)


def close_channel() -> None:
    OF.set(OF.default)
    for key in (LAYER, CHANNEL, CELL):
        key.set(None)


def toggle_channel(side: str, step: str, channel: int) -> None:
    """Choose it, or close it if it is the one chosen."""
    if selected() == Selected(side, step, channel):
        close_channel()
    else:
        choose_channel(side, step, channel)
