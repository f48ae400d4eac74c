from typing import Any

import pytest
from PIL import ImageDraw


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written on pictures."""
    written: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, place: tuple[int, int], words: str, *args: Any, **options: Any) -> None:
        written.append(words)
        draw(self, place, words, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return written
