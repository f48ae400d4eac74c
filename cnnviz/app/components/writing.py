"""A text that is kept while it is written: Streamlit's own text area is sent once it is left, too late for a reload."""

from collections.abc import Callable

from cnnviz.app.components import component
from cnnviz.app.state import reported

_writing = component(
    "writing", '<label></label><textarea dir="auto"></textarea><div class="state" role="status"></div>'
)


def writing(label: str, text: str, key: str, on_write: Callable[[str], None], most: int, placeholder: str = "") -> None:
    """Draw it. text: what is kept; on_write is called half a second after a key, with at most `most` characters."""

    def written() -> None:
        sent = reported(key).text
        if sent is not None:
            on_write(str(sent)[:most])

    data = {"id": key, "label": label, "text": text, "most": most, "placeholder": placeholder}
    _writing(key=key, data=data, on_text_change=written)
