"""Files to download: everything in them, in its place."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnviz.data import CLASSES
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import activations, predict
from cnnviz.render import curve_charts
from cnnviz.render.colours import DARK, LIGHT, Scale, Theme, by_channel, colour
from cnnviz.render.curve_charts import View
from cnnviz.render.exports import NetworkPanel, as_file, captioned, picture_file, png, together, view
from cnnviz.render.maps import caption, tile
from tests.helpers.drawn import IMAGES, has, network
from tests.helpers.runs import lines


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("own_scales", [False, True])
def test_a_view_holds_both_networks_pictures_and_maps(
    texts: list[str],
    theme: Theme,
    own_scales: bool,
) -> None:
    nets = [network("lenet5x5"), network("lenet3x3", "relu")]
    panels = []
    for net in nets:
        every = activations(net, IMAGES[:1])
        layers = [
            (maps, by_channel(maps.values[0]) if own_scales else Scale.of([maps]))
            for name, maps in every.items()
            if name in ("c3_activation", "fc7")
        ]
        text = caption(predict(net, IMAGES[:1]), 0, 3, CLASSES)
        panels.append((net, NetworkPanel(net.arch.name, IMAGES[0], text, layers)))
    drawn = view(panels, theme)
    assert sum("true 3 cat" in text for text in texts) == 2
    assert {"lenet5x5", "lenet3x3"} <= set(texts)
    assert has(drawn, IMAGES[0].numpy().repeat(3, 0).repeat(3, 1))
    maps = panels[0][1].layers[0][0]
    zoom = round(56 / 10)
    scale = by_channel(maps.values[0])[5] if own_scales else Scale.of([maps])
    expected = colour(maps.values[0, 5], scale).repeat(zoom, 0).repeat(zoom, 1)
    shown = np.asarray(drawn)
    if own_scales:  # brought to a common scale: the same but for rounding
        assert any(np.abs(block.astype(int) - expected).max() <= 6 for block in blocks_near(shown, expected))
    else:
        assert has(drawn, expected)


def blocks_near(shown: np.ndarray, expected: np.ndarray) -> list[np.ndarray]:
    """Parts of the picture whose top left pixel is about that of the expected part."""
    tall, wide = expected.shape[:2]
    corner = np.abs(shown[: 1 - tall, : 1 - wide].astype(int) - expected[0, 0]).max(-1) <= 6
    return [shown[y : y + tall, x : x + wide] for y, x in np.argwhere(corner)]


def test_captioned_pictures_have_their_words_beneath_them(texts: list[str]) -> None:
    parts = [(f"3 ↔ {index}, r −0.5", Image.new("RGB", (300, 20), (index, 0, 0))) for index in range(7)]
    drawn = captioned("two × two", parts, ["a note " * 40])
    assert drawn.width < 1300
    assert texts[0:1] == ["3 / 0, r -0.5"]
    assert "two x two" in texts
    assert sum(text.startswith("a note") or text.startswith("note") for text in texts) >= 3
    for index in range(7):
        assert has(drawn, np.full((20, 300, 3), (index, 0, 0), np.uint8))


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("html", b"<!DOCTYPE html>")])
def test_exports(kind: str, start: bytes) -> None:
    frame = lines({"a": [2.0, 1.0], "b": [1.0, 0.5]})
    made = curve_charts.panels(frame, View(), curve_charts.hues(frame.lr), legend=True)
    content = as_file(together(made), kind)
    assert content.strip().startswith(start)
    if kind == "html":
        assert b"src=" not in content.replace(b'src="data:', b"")[:200_000].split(b"<body")[0]


def test_a_fast_png_holds_the_same_pixels() -> None:
    drawn = tile(torch.randn(6, 9, 9), Scale(-2, 2, True))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(drawn, fast=True)))), np.asarray(drawn))


def test_a_picture_larger_than_its_format_allows_is_refused_in_a_line() -> None:
    tall = Image.new("1", (1, 70_000))
    for name in ("a.jpg", "a.webp"):
        with pytest.raises(ConfigError, match=r"^1×70000 pixels are more than a \w+ can have .*: write a \.png$"):
            picture_file(tall, Path(name))
    assert Image.open(io.BytesIO(picture_file(tall, Path("a.png")))).size == tall.size


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_the_largest_picture_of_each_format_is_written(name: str) -> None:
    tall = Image.new("RGB", (1, {"a.jpg": 65_500, "a.webp": 16_383}[name]))
    assert Image.open(io.BytesIO(picture_file(tall, Path(name)))).size == tall.size
