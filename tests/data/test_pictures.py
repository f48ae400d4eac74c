"""Untrusted pictures: honest ones come through rightly, hostile ones end in one clear line."""

import pickle
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from cnnviz.data.pictures import FRAMINGS, MAX_BYTES, Picture, Square, open_picture, prepare
from cnnviz.errors import ConfigError, ImageError
from tests.helpers import drawn_files as drawn
from tests.helpers import hostile
from tests.helpers.hostile import encode, gif_screen, png, smooth

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def seen(data: bytes, framing: str = "crop") -> np.ndarray:
    return prepare(open_picture(data, "it"), framing).pixels.numpy()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    "data",
    [
        encode(Image.fromarray(NOISE)),
        encode(Image.fromarray(NOISE), "BMP"),
        encode(Image.fromarray(NOISE), "WEBP", lossless=True),
        encode(Image.fromarray(NOISE).convert("RGBA")),
    ],
    ids=["PNG", "BMP", "lossless WebP", "opaque RGBA"],
)
def test_32_by_32_pixels_come_through_byte_for_byte(data: bytes, framing: str) -> None:
    result = prepare(open_picture(data, "it"), framing)
    assert np.array_equal(result.pixels.numpy(), NOISE)
    assert result.note.endswith("every pixel as it is")


def test_a_cifar_picture_is_seen_exactly(cifar10_root: Path) -> None:
    batch = pickle.loads((cifar10_root / "cifar-10-batches-py" / "test_batch").read_bytes(), encoding="bytes")
    for row in batch[b"data"][:20]:
        pixels = row.reshape(3, 32, 32).transpose(1, 2, 0)
        assert np.array_equal(seen(encode(Image.fromarray(np.ascontiguousarray(pixels)))), pixels)


@pytest.mark.parametrize("side", [1, 7, 31, 33, 40, 48, 63, 64, 65, 100, 333])
def test_scaling_is_torchvisions_antialiased_bicubic(side: int) -> None:
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    given = torch.from_numpy(noise).permute(2, 0, 1)
    wanted = resize(given, [32, 32], InterpolationMode.BICUBIC, antialias=True).permute(1, 2, 0).numpy().astype(int)
    result = prepare(open_picture(encode(Image.fromarray(noise)), "it"))
    assert np.abs(result.pixels.numpy() - wanted).max() <= 1
    assert ("shrunk to 32×32 (antialiased bicubic)" in result.note) == (side > 32)


@pytest.mark.parametrize("square", [Square(0, 0, 90), Square(31, 17, 50), Square(118, 88, 2), Square(87, 59, 31)])
def test_a_square_is_scaled_as_if_nothing_were_around_it(square: Square) -> None:
    noise = np.random.default_rng(square.side).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    left, top, right, bottom = square.box
    given = torch.from_numpy(noise[top:bottom, left:right]).permute(2, 0, 1)
    wanted = resize(given, [32, 32], InterpolationMode.BICUBIC, antialias=True).permute(1, 2, 0).numpy().astype(int)
    result = prepare(open_picture(encode(Image.fromarray(noise)), "it"), square=square)
    assert np.abs(result.pixels.numpy() - wanted).max() <= 1
    assert f"120×90 PNG, square of {square.side} at {left}, {top}, " in result.note


def test_a_square_of_32_pixels_keeps_every_byte() -> None:
    around = np.random.default_rng(1).integers(0, 256, (70, 60, 3), dtype=np.uint8)
    around[20:52, 11:43] = NOISE
    result = prepare(open_picture(encode(Image.fromarray(around)), "it"), square=Square(11, 20, 32))
    assert np.array_equal(result.pixels.numpy(), NOISE)
    assert result.note == "60×70 PNG, square of 32 at 11, 20, every pixel as it is"


def test_the_square_in_the_middle_is_the_one_by_default() -> None:
    picture = open_picture(encode(smooth(90, 121)), "it")
    assert Square.central(picture.size) == Square(0, 15, 90) == Square(-9, 15, 900).within(picture.size)
    assert prepare(picture, square=Square(0, 15, 90)).note == prepare(picture).note
    for outside in (Square(1, 15, 90), Square(0, 0, 0), Square(-1, 0, 40), Square(60, 0, 31)):
        assert outside.within(picture.size) != outside
        with pytest.raises(ConfigError, match="not within a picture of 90×121 pixels"):
            prepare(picture, square=outside)


@pytest.mark.parametrize("side", [33, 40, 47, 48, 63])
def test_a_little_shrinking_passes_no_pixel_over(side: int) -> None:
    """A single bright pixel, wherever it is, leaves as much light as all others do."""
    light = []
    for place in range(side // 2, side // 2 + 6):
        dark = np.zeros((side, side, 3), np.uint8)
        dark[place, place] = 255
        light.append(seen(encode(Image.fromarray(dark))).astype(int).sum())
    assert max(light) < 1.5 * min(light)


def test_the_note_tells_all_that_was_done() -> None:
    held = drawn.exif_segment(drawn.exif(drawn.orientation(6)))  # the camera was held upright: turn by 90° clockwise
    profile = drawn.profile_segments(drawn.rgb_profile())
    data = drawn.with_segments(encode(smooth(90, 120), "JPEG"), held, *profile)
    picture = open_picture(data, "holiday.jpg")
    assert (picture.name, picture.format, picture.size) == ("holiday.jpg", "JPEG", (120, 90))
    done = "120×90 JPEG, colours converted from for tests to sRGB, turned by its EXIF tag"
    shrunk = "shrunk to 32×32 (antialiased bicubic)"
    assert prepare(picture).note == f"{done}, centre square of 90, {shrunk}"
    assert prepare(picture, "fit").note == f"{done}, all of it, on a grey square of 120, {shrunk}"


def test_pixels_that_were_changed_are_not_said_to_be_as_they_are() -> None:
    light = prepare(open_picture(drawn.png(NOISE.astype(int), 8, drawn.RGB, drawn.gamma(1.0)), "it"))
    assert light.note == "32×32 PNG, colours converted from gamma 1 to sRGB"
    deep = prepare(open_picture(drawn.png(NOISE.astype(int) * 256, 16, drawn.RGB), "it"))
    assert deep.note == "32×32 PNG, 16 bits rounded to 8"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(orientation: int) -> None:
    undo: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x.transpose(1, 0, 2), 2),
        8: np.rot90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(seen(encode(Image.fromarray(NOISE), exif=exif)), undo[orientation](NOISE))


def test_crop_takes_the_centre_and_fit_takes_all() -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64], wide[:, 64:] = NOISE, 255
    assert np.array_equal(seen(encode(Image.fromarray(wide))), NOISE)
    fitted = seen(encode(Image.fromarray(wide)), "fit")
    assert (fitted[:10] == 128).all()
    assert (fitted[22:] == 128).all()
    assert (fitted[10:21, :10] == 0).all()
    assert (fitted[10:21, 22:] == 255).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (1, 6000), (6000, 1), (31, 33), (640, 480)])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_odd_sizes(width: int, height: int, framing: str) -> None:
    result = prepare(open_picture(encode(Image.new("RGB", (width, height), (200, 100, 50))), "it"), framing)
    assert result.pixels.shape == (32, 32, 3)
    middle = result.pixels[16, 15 if width < height else 16] if framing == "fit" and width != height else result.pixels
    colours = {tuple(pixel) for pixel in middle.reshape(-1, 3).tolist()}
    assert colours <= {(200, 100, 50), (128, 128, 128)}
    assert (200, 100, 50) in {tuple(pixel) for pixel in result.pixels.reshape(-1, 3).tolist()}


@pytest.mark.parametrize(
    ("colour", "channels"), [(drawn.GREY, 1), (drawn.GREY_ALPHA, 2), (drawn.RGB, 3), (drawn.RGB_ALPHA, 4)]
)
@pytest.mark.parametrize("interlaced", [False, True])
def test_sixteen_bits_are_rounded(colour: int, channels: int, interlaced: bool) -> None:
    values = np.random.default_rng(6).integers(0, 65536, (90, 70, channels))
    count = channels - (channels in (2, 4))
    values[..., count:] = 65535
    picture = open_picture(drawn.png(values, 16, colour, interlaced=interlaced), "it")
    assert picture.notes == ("16 bits rounded to 8",)
    assert np.array_equal(np.asarray(picture.image), np.broadcast_to(np.round(values[..., :count] / 257), (90, 70, 3)))


@pytest.mark.parametrize("colour", [drawn.GREY, drawn.RGB])
def test_only_the_very_colour_of_sixteen_bits_is_transparent(colour: int) -> None:
    values = np.full((1, 3, 1 if colour == drawn.GREY else 3), 1000)
    values[0, 1], values[0, 2, -1] = 40000, 1001
    key = drawn.chunk(b"tRNS", struct.pack(f">{values.shape[2]}H", *values[0, 0]))
    picture = open_picture(drawn.png(values, 16, colour, key), "it")
    assert picture.notes == ("16 bits rounded to 8", "transparency on white")
    assert np.asarray(picture.image).tolist() == [[[255] * 3, [156] * 3, [4] * 3]]


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 32, 16))
    for kind in ("PNG", "WEBP"):
        picture = open_picture(encode(image, kind, **({"lossless": True} if kind == "WEBP" else {})), "it")
        assert picture.notes == ("transparency on white",)
        assert picture.image.getpixel((5, 5)) == (255, 127, 127)
        assert picture.image.getpixel((5, 25)) == (255, 255, 255)


def test_palettes_with_and_without_transparency() -> None:
    image = smooth(32, 32).quantize(16)
    assert np.array_equal(seen(encode(image)), np.asarray(image.convert("RGB")))
    assert open_picture(encode(image, transparency=bytes([0] * 16)), "it").image.getextrema() == ((255, 255),) * 3
    black = Image.new("P", (4, 4), 3)
    black.putpalette([0] * 48)
    assert open_picture(encode(black, "GIF", transparency=3), "it").image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes(mode: str) -> None:
    image = smooth(32, 32).convert("L").convert(mode)
    assert np.array_equal(seen(encode(image))[..., 2], np.asarray(image.convert("L")))


def test_cmyk() -> None:
    picture = open_picture(encode(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=100), "it")
    assert picture.notes == ("CMYK turned to RGB",)
    red, green, blue = np.asarray(picture.image)[20, 20]
    assert red > 250
    assert max(green, blue) < 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_alone(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = open_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options), "it")
    assert picture.notes == ("first frame",)
    assert picture.image.getpixel((4, 4)) == (255, 0, 0)


def test_a_phones_jpeg_with_two_views() -> None:
    picture = open_picture(encode(smooth(64, 64), "MPO", save_all=True, append_images=[smooth(32, 32)]), "it")
    assert (picture.format, picture.size, picture.notes) == ("JPEG", (64, 64), ("first picture of the file",))


def test_a_path_is_read_and_a_missing_one_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(NOISE)))
    assert open_picture(tmp_path / "a.png", "a.png").size == (32, 32)
    with pytest.raises(ImageError, match=r"b\.png cannot be read .*choose another"):
        open_picture(tmp_path / "b.png", "b.png")


def test_an_unknown_way_to_prepare() -> None:
    with pytest.raises(ConfigError, match="choose one of crop, fit"):
        prepare(Picture("it", smooth(4, 4), "PNG"), "stretch")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"dear network, what is this?", "is not a JPEG, PNG, WebP, GIF or BMP picture: save it as"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a JPEG"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a JPEG"),
    "tiff": (lambda: encode(smooth(9, 9), "TIFF"), "is not a JPEG"),
    "icon": (lambda: encode(smooth(16, 16), "ICO"), "is not a JPEG"),
    "huge file": (lambda: b"\xff\xd8" + bytes(MAX_BYTES), "is larger than the 20 MB"),
    "21 megapixels": (lambda: encode(Image.new("1", (4_200, 5_000))), "has more than the 20 megapixels"),
    "100 megapixels": (lambda: png(10_000, 10_000, 8, 2, b""), "has more than the 20 megapixels"),
    "10,000 megapixels": (lambda: png(100_000, 100_000, 8, 2, b""), "has more than the 20 megapixels"),
    "largest PNG": (lambda: png(2**31 - 1, 2**31 - 1, 16, 6, b""), "has more than the 20 megapixels"),
    "huge GIF screen": (lambda: gif_screen(65535, 65535), "has more than the 20 megapixels"),
    "no rows": (lambda: png(32, 32, 8, 2, b""), "is damaged or cut short"),
    "zero wide": (lambda: png(0, 32, 8, 2, b""), "is "),
    "zlib garbage": (lambda: encode(smooth(32, 32)).replace(b"IDAT", b"IDAT\x00", 1), "is "),
    "half a JPEG": (lambda: (x := encode(smooth(300, 300), "JPEG"))[: len(x) // 2], "is damaged or cut short"),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_files_end_in_one_line_with_the_remedy(which: str) -> None:
    make, message = HOSTILE[which]
    with pytest.raises(ImageError, match=f"^cat.png {message}") as caught:
        open_picture(make(), "cat.png")
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_a_hostile_name_stays_one_short_line() -> None:
    with pytest.raises(ImageError) as caught:
        open_picture(b"?", "a\nb\x1b[31m\u202e" + "x" * 5000 + ".png")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def outcome(data: bytes) -> Picture | str:
    """The picture, or the line that refuses it; anything else fails the test."""
    try:
        picture = open_picture(data, "cat.png")
    except ImageError as error:
        return str(error)
    for framing in FRAMINGS:
        assert prepare(picture, framing).pixels.shape == (32, 32, 3)
    return picture


def memory(which: str) -> float:
    """Of this process, MB: VmRSS as it is, VmHWM at its highest since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(which))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read as Linux tells them")
def test_hundreds_of_hostile_files_are_shown_or_refused_in_one_line_and_300_mb() -> None:
    count, slowest, largest = Counter[str](), (0.0, ""), (0.0, "")
    for name, data in hostile.corpus():
        Path("/proc/self/clear_refs").write_text("5")
        before, began = memory("VmRSS"), time.process_time()
        result = outcome(data)
        slowest = max(slowest, (time.process_time() - began, name))
        largest = max(largest, (memory("VmHWM") - before, name))
        if isinstance(result, str):
            assert result.startswith("cat.png "), name
            assert "\n" not in result, name
            assert ": " in result, name
        assert isinstance(result, str) or "cut" not in name, f"{name} is shown though most of it is missing"
        count["refused" if isinstance(result, str) else "shown"] += 1
        del result
    print(f"{count}; slowest {slowest[0]:.2f} s ({slowest[1]}); largest {largest[0]:.0f} MB ({largest[1]})")
    assert count.total() >= 500
    assert largest[0] < 300, largest[1]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cameras_48_megapixels_are_decoded_at_half_their_size(progressive: bool) -> None:
    picture = open_picture(encode(Image.new("RGB", (8000, 6000), "red"), "JPEG", progressive=progressive), "it")
    assert picture.size == (4000, 3000)
    assert picture.notes == ("decoded at 4000×3000 instead of 8000×6000",)


def test_a_progressive_jpeg_of_24_megapixels() -> None:
    whole = smooth(6000, 4000)
    picture = open_picture(encode(whole, "JPEG", progressive=True, subsampling=0), "it")
    assert picture.notes == ("decoded at 3000×2000 instead of 6000×4000",)
    small = np.asarray(whole.resize((3000, 2000), Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(picture.image) - small).max() < 6


def test_a_cameras_200_megapixels() -> None:
    picture = open_picture(hostile.grey_jpeg(16_320, 12_240), "it")
    assert picture.notes == ("decoded at 4080×3060 instead of 16320×12240",)
    assert picture.image.getextrema() == ((128, 128),) * 3


def test_what_is_held_as_a_whole_while_it_is_decoded_has_a_bound() -> None:
    with pytest.raises(ImageError, match=r"^it is a JPEG of 17000×10000 pixels in several scans.*: save it as"):
        open_picture(hostile.grey_jpeg(17_000, 10_000, at_once=False), "it")
    assert open_picture(hostile.grey_jpeg(6000, 4000, at_once=False), "it").size == (3000, 2000)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_may_lack_its_end_but_none_of_its_pixels(progressive: bool) -> None:
    data = encode(Image.fromarray(NOISE), "JPEG", progressive=progressive)
    whole = np.asarray(open_picture(data, "it").image)
    for lacking in (1, 2):
        assert np.array_equal(np.asarray(open_picture(data[:-lacking], "it").image), whole)
    for lacking in (3, 4, 10, 100):
        with pytest.raises(ImageError, match=r"^it is damaged or cut short \(its end is missing\): download"):
            open_picture(data[:-lacking], "it")


def test_a_gifs_frame_smaller_than_its_screen_stands_on_white() -> None:
    data = encode(Image.new("P", (4, 4)), "GIF")
    picture = open_picture(data[:6] + struct.pack("<HH", 6, 5) + data[10:], "it")
    assert picture.notes == ("transparency on white",)
    wanted = np.full((5, 6, 3), 255)
    wanted[:4, :4] = 0
    assert np.array_equal(np.asarray(picture.image), wanted)


def test_every_honest_kind_is_shown() -> None:
    for name, data in hostile.honest_files().items():
        assert isinstance(outcome(data), Picture), name
