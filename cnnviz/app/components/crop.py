"""A picture with a square frame on it, which a pointer or keys move and size."""

from collections.abc import Callable

from PIL import Image

from cnnviz.app.components import component
from cnnviz.app.state import reported
from cnnviz.data.pictures import Square
from cnnviz.render.exports import data_address

_crop = component(
    "crop",
    '<div class="crop"><img draggable="false"><div class="frame" tabindex="0" role="application">'
    '<i></i><i></i><i></i><i></i></div></div><div class="readout" aria-live="polite"></div>',
)


def crop(
    name: str,
    original: Image.Image,
    size: tuple[int, int],
    square: Square,
    key: str,
    on_move: Callable[[Square], None],
) -> None:
    """Draw it. original: the picture as it is shown; size: its full width and height, in whose pixels the square is.

    on_move is called once the frame rests: it is within the picture, whatever the browser sends.
    """

    def moved() -> None:
        sent = reported(key).square
        if sent is not None:
            on_move(Square(*(int(number) for number in sent[:3])).within(size))

    data = {
        "id": key,
        "label": f"Square of {name} that the network gets: arrow keys move it, with Shift further; + and - size it",
        "alt": name,
        "src": data_address(original, fast=True),
        "size": list(size),
        "shown": list(original.size),
        "square": list(square),
    }
    _crop(key=key, data=data, on_square_change=moved)
