"""Pictures of maps: every cell in its place, one scale for all, texts that the font can write."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from cnnviz.architectures import ACTIVATIONS, ARCHITECTURES, architecture, initial_weights
from cnnviz.data import CLASSES
from cnnviz.errors import ConfigError
from cnnviz.inspection.cells import Box
from cnnviz.inspection.network import Prediction, activations, load_network, predict
from cnnviz.render.colours import DARK, LIGHT, NOT_FINITE, Scale, Theme, by_channel, colour
from cnnviz.render.exports import png
from cnnviz.render.maps import atlas, boxed, caption, heat, legend, mosaic, sheet, tile
from tests.helpers.architectures import BLOCKS, STUDY
from tests.helpers.drawn import IMAGES, colours_of, has, maps_of, network


def test_every_cell_of_a_tile_is_a_square_of_its_colour() -> None:
    values = torch.randn(5, 10, 10, generator=torch.Generator().manual_seed(2))
    scale = Scale.of([maps_of(values)])
    grid = tile(values, scale, width=140)
    assert grid.width <= 140
    for channel in range(5):
        assert has(grid, colour(values[channel], scale).repeat(6, 0).repeat(6, 1))
    wide = tile(values, scale)
    assert wide.width > 4 * wide.height


@pytest.mark.parametrize(("size", "zoom"), [(28, 2), (14, 4), (5, 11), (100, 1)])
def test_maps_of_any_size_come_out_about_as_large(size: int, zoom: int) -> None:
    values = torch.rand(1, size, size)
    assert tile(values, Scale(0, 1, signed=False), width=1).width == zoom * size + 2


def test_units_are_a_strip_in_whole_tens(texts: list[str]) -> None:
    values = torch.linspace(0, 1, 84)
    scale = Scale.of([maps_of(values)])
    grid = tile(values, scale, width=320)
    assert texts == [str(number) for number in range(0, 84, 10)]
    assert grid.width <= 320
    found = colours_of(grid)
    assert {tuple(pixel) for pixel in colour(values, scale).tolist()} <= found
    texts.clear()
    tile(torch.rand(10), scale)
    assert texts == [str(number) for number in range(10)]


def test_the_legend_gives_ends_and_middle_in_numbers(texts: list[str]) -> None:
    scale = Scale(-0.5, 0.5, signed=True)
    bar = np.asarray(legend(scale))
    assert texts == ["-0.5", "0", "0.5"]
    assert bar[5, [0, -1]].tolist() == colour(torch.tensor([-0.5, 0.5]), scale).tolist()
    texts.clear()
    legend(Scale(0.0, 0.0, signed=False, finite=False))
    assert texts == ["0", "not finite (NaN or infinity)"]


def test_captions() -> None:
    logits = torch.full((2, 10), 0.0)
    logits[0, 9] = 3.8
    logits[1] = math.nan
    prediction = Prediction(logits)
    assert caption(prediction, 0, 1, CLASSES) == "predicted 9 truck (83 %), true 1 automobile: wrong"
    assert caption(prediction, 0, 9, CLASSES) == "predicted 9 truck (83 %), true 9 truck: right"
    assert caption(prediction, 0, None, CLASSES) == "predicted 9 truck (83 %)"
    assert caption(prediction, 1, 0, CLASSES) == "no prediction, the logits are not finite, true 0 airplane"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_sheet_shows_each_picture_its_caption_and_its_maps_on_one_scale(theme: Theme, texts: list[str]) -> None:
    net = network()
    prediction, maps = predict(net, IMAGES), activations(net, IMAGES)["c3_activation"]
    labels = prediction.classes.clone()
    labels[1] = (labels[1] + 1) % 10
    page = sheet(net, IMAGES, labels, "c3_activation", theme=theme)
    assert page.getpixel((0, 0)) == theme.paper
    scale = Scale.of([maps])
    for index, label in enumerate(labels.tolist()):
        assert has(page, IMAGES[index].numpy().repeat(3, 0).repeat(3, 1))
        assert has(page, np.asarray(tile(maps.values[index], scale, theme=theme)))
        assert caption(prediction, index, label, CLASSES) in texts
    assert "lenet5x5: c3, after its tanh, 16 maps of 10 by 10" in texts
    inks = colours_of(page)
    assert {theme.right, theme.wrong} <= inks
    again = Image.open(io.BytesIO(png(page)))
    assert np.array_equal(np.asarray(again), np.asarray(page))


@pytest.mark.parametrize("model", [*STUDY, BLOCKS])
def test_every_layer_has_a_sheet_in_letters_the_font_has(model: str, texts: list[str]) -> None:
    font = ImageFont.load_default(14)
    missing = bytes(font.getmask("\uffff"))
    assert bytes(font.getmask("×")) == missing  # why the sheet writes "10 by 10"
    net = network(model, "relu")
    for name in activations(net, IMAGES):
        sheet(net, IMAGES[:1], torch.tensor([3]), name)
    letters = set("".join([*texts, *ACTIVATIONS, *ARCHITECTURES, *CLASSES, "0123456789.e+-"])) - {" "}
    assert [letter for letter in sorted(letters) if bytes(font.getmask(letter)) == missing] == []


def test_a_diverged_network_has_a_sheet(texts: list[str]) -> None:
    arch = ARCHITECTURES["lenet5x5"]
    weights = {name: weight * math.nan for name, weight in initial_weights(arch, seed=0).items()}
    page = sheet(load_network(arch, "tanh", "max", weights), IMAGES, None, "c1")
    assert texts.count("no prediction, the logits are not finite") == 3
    assert NOT_FINITE in colours_of(page)


@pytest.mark.parametrize(
    ("name", "message"), [("c9", "no layer 'c9'"), ("s2_activation", "s2_activation is not a step of lenet5x5")]
)
def test_a_layer_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sheet(network(), IMAGES, None, name)


def test_a_sheet_has_a_bound_that_depends_on_the_layer() -> None:
    arch = architecture("c512k3p1-s2-f10")
    wide = load_network(arch, "tanh", "max", initial_weights(arch, seed=0))
    many = IMAGES[:1].expand(100, -1, -1, -1)
    with pytest.raises(
        ConfigError, match=r"^100 pictures with their maps of c1 are too large a sheet: name at most \d+$"
    ):
        sheet(wide, many, None, "c1")
    assert sheet(wide, many, None, "fc3").height > 100


@pytest.mark.parametrize("count", [1, 6, 32, 70])
def test_an_atlas_holds_every_map_where_it_is_looked_for(count: int) -> None:
    values = torch.randn(count, 3, 5, generator=torch.Generator().manual_seed(0))
    scale = Scale(-2, 2, signed=True)
    pixels = np.asarray(atlas(values, scale))
    own = [Scale(-1 - index, 1 + index, signed=True) for index in range(count)]
    each = np.asarray(atlas(values, own))
    columns = min(count, 32)
    for index in range(count):
        row, column = divmod(index, columns)
        place = slice(3 * row, 3 * row + 3), slice(5 * column, 5 * column + 5)
        assert np.array_equal(pixels[place], colour(values[index], scale))
        assert np.array_equal(each[place], colour(values[index], own[index]))


def test_an_atlas_of_units_is_a_pixel_each() -> None:
    values = torch.linspace(0, 1, 40)
    assert atlas(values, Scale(0, 1, False)).size == (32, 2)
    assert np.array_equal(np.asarray(atlas(values, by_channel(values)))[0], colour(values[:32], Scale(0, 1, False)))


def test_a_mosaic_is_made_of_its_pictures() -> None:
    pixels = np.asarray(mosaic(IMAGES.numpy()))
    assert np.array_equal(pixels[:, 32:64], IMAGES[1].numpy())


def test_a_frame_is_drawn_around_the_pixels() -> None:
    plain = np.asarray(boxed(IMAGES[0], Box(4, 8, 12, 16), zoom=4)).astype(int)
    enlarged = IMAGES[0].numpy().repeat(4, 0).repeat(4, 1)
    changed = np.argwhere((plain != enlarged).any(-1))
    assert changed.min(0).tolist() == [32, 16]
    assert changed.max(0).tolist() == [63, 47]
    assert np.array_equal(plain[40:56, 24:40], enlarged[40:56, 24:40])
    unframed = np.asarray(boxed(IMAGES[0], Box(0, 4, 0, 6), zoom=4))
    assert np.array_equal(unframed, enlarged)


def test_heat_lies_over_the_picture_in_the_scale_s_colours() -> None:
    black = torch.zeros(32, 32, 3, dtype=torch.uint8)
    drawn = np.asarray(heat(black, torch.tensor([[-1.0, 1.0]]), Scale(-1, 1, True), side=64)).astype(int)
    assert drawn.shape == (64, 64, 3)
    assert drawn[32, 4, 2] > drawn[32, 4, 0] + 20  # blue on the left
    assert drawn[32, -4, 0] > drawn[32, -4, 2] + 20


def test_what_is_dropped_is_grey_and_crossed_out_where_there_is_room() -> None:
    values, dropped = torch.ones(2, 28, 28), torch.zeros(2, 28, 28, dtype=torch.bool)
    dropped[1, 5, 3] = True
    plain, drawn = (np.asarray(tile(values, Scale(0, 1, False), dropped=each)) for each in (None, dropped))
    assert {tuple(pixel) for pixel in drawn[(plain != drawn).any(2)].tolist()} == {(176, 176, 176)}
    assert (plain != drawn).any(2).sum() == 2 * 2  # one cell of one map, enlarged twice
    units = torch.ones(30)
    drawn = np.asarray(tile(units, Scale(0, 1, False), dropped=units > 0))
    assert {(176, 176, 176), (40, 40, 40)} <= {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
