"""The HTML file: its figures are the store's, it asks for nothing, and no name or word in it does anything."""

import json
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from cnnviz.render.report.page import _paletted
from tests.render.report.conftest import Made


class _Read(HTMLParser):
    """Elements, and the texts of tables' rows, of scripts and of all else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[tuple[str, str]] = []
        self.text = ""
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))
        if tag not in ("meta", "img", "input", "path", "br"):
            self._within.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._within.pop() == tag  # well formed

    def handle_data(self, data: str) -> None:
        if self._within[-1:] == ["script"]:
            kind, before = self.scripts[-1]
            self.scripts[-1] = kind, before + data
            return
        if "td" in self._within or "th" in self._within:
            self.rows[-1][-1] += data.strip()
        self.text += data


def test_its_figures_are_the_stores(made: Made) -> None:
    read = _Read(made.html)
    heads = ["activation", "best", "at epoch", "last", "epochs", "time", "run"]
    table = read.rows[read.rows.index(heads) + 1 :][: len(made.runs)]
    for run, row in zip(made.runs, table, strict=True):  # the best first, as they were made
        epoch, best = run.best or (-1, -1.0)
        shown = [run.config.activation, f"{100 * best:.2f}", str(epoch), f"{100 * run.accuracy[-1]:.2f}"]
        assert row == [*shown, str(run.epoch), "3 min", run.id[:8]]
    assert [f"{100 * run.accuracy[1]:.2f}" for run in made.runs] in [row[1:] for row in read.rows if row[:1] == ["1"]]
    confusion = [row for row in read.rows if len(row) == 11 and row[0] in ("disc", "dots")]
    assert [sum(map(int, row[1:])) for row in confusion] == [100, 100]
    right = re.search(r"([\d,]+) of 1,000 test pictures right", read.text)
    assert right is not None
    classes = next(row[1:] for row in read.rows if row[:2] == ["", "disc"])
    matrix = {row[0]: row[1:] for row in read.rows if len(row) == 11 and row[0] in classes}
    assert sum(int(matrix[name][place]) for place, name in enumerate(classes)) == int(right[1].replace(",", ""))


def test_the_charts_draw_what_is_recorded(made: Made) -> None:
    specs = [json.loads(text) for kind, text in _Read(made.html).scripts if kind == "application/json"]
    drawn = {
        (row["run_id"], row["split"], row["epoch"], round(row["value"], 6))
        for spec in specs
        if isinstance(spec, dict)
        for rows in spec.get("datasets", {}).values()
        for row in rows
        if row.keys() >= {"run_id", "split", "epoch", "value"}
    }
    for run in made.runs:
        for epoch, share in enumerate(run.accuracy):
            assert (run.id, "test", epoch, round(100 * (1 - share), 6)) in drawn


def test_it_asks_for_nothing_and_allows_its_own_scripts_alone(made: Made) -> None:
    read = _Read(made.html)
    for tag, attributes in read.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            if tag == "a" and attributes.get("rel") == "noopener noreferrer":
                continue  # of somebody's own words: asked for only by a click
            assert attributes.get(name, "#").startswith(("data:image/", "#")), (tag, attributes)
    (policy,) = [attributes["content"] for _, attributes in read.elements if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split(";")[1]
    assert policy.count("'sha256-") == len([kind for kind, _ in read.scripts if not kind]) == 2
    assert len(made.html) < 3_000_000


def test_names_and_words_are_text(made: Made) -> None:
    read = _Read(made.html)
    assert "<script>alert('name')</script>" in read.text
    assert "<script>alert('words')</script>" in read.text
    assert "alert('name')" not in "".join(text for kind, text in read.scripts if not kind)
    assert {tag for tag, _ in read.elements} >= {"h4", "strong"}  # the words' own Markdown


def test_sections_are_open_folded_or_left_out(made: Made) -> None:
    read = _Read(made.html)
    assert [attributes["id"] for tag, attributes in read.elements if tag == "section"] == [
        chapter.key for chapter in made.document.chapters
    ]
    assert "code" not in {chapter.key for chapter in made.document.chapters}
    folded = [attributes for tag, attributes in read.elements if tag == "details" and "data-folded" in attributes]
    assert len(folded) == 1
    assert "open" in folded[0]  # without scripts, and on paper, everything is open


def test_pictures_have_a_text_and_steps_a_slider(made: Made) -> None:
    read = _Read(made.html)
    images = [attributes for tag, attributes in read.elements if tag == "img"]
    assert len(images) > 60  # ten pictures, their maps after three epochs, kernels, mistakes
    assert all(attributes["alt"] for attributes in images)
    sliders = [attributes for _, attributes in read.elements if attributes.get("type") == "range"]
    assert [each["max"] for each in sliders] == ["2", "2"]
    labelled = {attributes.get("for") for tag, attributes in read.elements if tag == "label"}
    assert {each["id"] for each in sliders} <= labelled


def test_a_palette_keeps_every_colour() -> None:
    few, many = (np.random.default_rng(0).integers(0, top, (40, 50, 3), np.uint8) for top in (6, 256))
    assert _paletted(Image.fromarray(few)).mode == "P"
    for pixels in (few, many):
        assert np.array_equal(np.asarray(_paletted(Image.fromarray(pixels)).convert("RGB")), pixels)
