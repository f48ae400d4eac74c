"""Views as pictures: everything on them, in its place."""

import numpy as np
import pytest
import torch
from PIL import Image

from cnnviz.data import CLASSES
from cnnviz.inspection.cells import Box
from cnnviz.inspection.network import activations, predict
from cnnviz.render.colours import DARK, LIGHT, Scale, Theme, by_channel, colour
from cnnviz.render.exports import NetworkPanel, captioned, view
from cnnviz.render.maps import boxed, caption, heat
from tests.helpers.drawn import IMAGES, has, network


def test_a_frame_is_drawn_around_the_pixels_and_cut_at_the_edge() -> None:
    plain = np.asarray(boxed(IMAGES[0], Box(4, 8, 12, 16), zoom=4)).astype(int)
    enlarged = IMAGES[0].numpy().repeat(4, 0).repeat(4, 1)
    changed = np.argwhere((plain != enlarged).any(-1))
    assert changed.min(0).tolist() == [32, 16]
    assert changed.max(0).tolist() == [63, 47]
    assert np.array_equal(plain[40:56, 24:40], enlarged[40:56, 24:40])
    assert boxed(IMAGES[0], Box(-3, -3, 2, 40)).size == (224, 224)


def test_heat_lies_over_the_picture_in_the_scale_s_colours() -> None:
    black = torch.zeros(32, 32, 3, dtype=torch.uint8)
    drawn = np.asarray(heat(black, torch.tensor([[-1.0, 1.0]]), Scale(-1, 1, True), side=64)).astype(int)
    assert drawn.shape == (64, 64, 3)
    assert drawn[32, 4, 2] > drawn[32, 4, 0] + 20  # blue on the left
    assert drawn[32, -4, 0] > drawn[32, -4, 2] + 20


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
