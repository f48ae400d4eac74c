"""Markdown with its pictures: every link leads to one of them, and no name or word in it does anything."""

import io
import re
import zipfile

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from cnnviz.render.report import archive, vega
from tests.render.report.conftest import Made


def test_pictures_are_there_and_nothing_is_fetched(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    dot = io.BytesIO()
    Image.new("RGB", (1, 1)).save(dot, "PNG")
    asked: list[int] = []

    def drawn(specs: list[object]) -> list[bytes]:
        asked.append(len(specs))
        return [dot.getvalue()] * len(specs)

    monkeypatch.setattr(vega, "pictures", drawn)
    file = zipfile.ZipFile(io.BytesIO(archive.as_zip(made.document)))
    text = file.read("report.md").decode()
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    sources = re.findall(r'<img src="([^"]*)"', shown)
    assert set(sources) == set(file.namelist()) - {"report.md"}
    assert sources
    assert asked[0] > 3
    assert "<script" not in shown
    assert "evil.example/y.png" in text  # a link that shows as text, and no picture
    for name in file.namelist()[1:]:
        assert file.read(name).startswith(b"\x89PNG")
    for run in made.runs:
        assert f"| {100 * run.accuracy[-1]:.2f} |" in text


def test_a_chart_is_drawn_in_a_process_of_its_own() -> None:
    spec = {"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {"x": {"field": "x", "type": "quantitative"}}}
    (picture,) = vega.pictures([spec])
    assert Image.open(io.BytesIO(picture)).width > 100
    assert vega.pictures([]) == []
