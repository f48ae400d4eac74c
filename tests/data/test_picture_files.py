"""Picture files taken apart: what concerns the pixels is kept, what is said of them is read, all else is left out."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cnnviz.data import picture_files
from cnnviz.data.srgb import BT2020, DISPLAY_P3, Colours
from tests.helpers import drawn_files as drawn
from tests.helpers.hostile import encode, grey_jpeg, smooth

PICTURE = smooth(70, 50)
SAMPLES = np.asarray(PICTURE).astype(int)
PROFILE = drawn.rgb_profile()


def same(first: bytes, second: bytes) -> bool:
    return bool(np.array_equal(np.asarray(Image.open(io.BytesIO(first))), np.asarray(Image.open(io.BytesIO(second)))))


@pytest.mark.parametrize("held", range(10))
@pytest.mark.parametrize("order", "<>")
def test_the_orientation_is_what_pillow_reads(held: int, order: str) -> None:
    data = drawn.exif(drawn.entry(0x0100, 3, 1, b"\1\1", order), drawn.orientation(held, order), order=order)
    theirs = Image.Exif()
    theirs.load(b"Exif\0\0" + data)
    assert theirs[0x0112] == held
    assert picture_files.orientation(data) == picture_files.orientation(b"Exif\0\0" + data)
    assert picture_files.orientation(data) == (held if 1 <= held <= 8 else 1)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_of_a_jpeg_only_its_pixels_are_kept(mode: str, progressive: bool) -> None:
    plain = encode(PICTURE.convert(mode), "JPEG", progressive=progressive, comment=b"a comment")
    segments = [drawn.exif_segment(drawn.exif(drawn.orientation(6))), *drawn.profile_segments(PROFILE, 99)]
    contents = picture_files.read(drawn.with_segments(plain, *segments) + plain)
    assert same(contents.file, plain)
    assert not [text for text in (b"Exif", b"ICC_PROFILE", b"a comment") if text in contents.file]
    assert (contents.orientation, contents.colours, contents.otherwise) == (6, Colours(PROFILE), None)
    assert contents.scans == plain.count(b"\xff\xda")


def test_a_colour_profile_in_parts_needs_them_all() -> None:
    plain, parts = encode(PICTURE, "JPEG"), drawn.profile_segments(PROFILE, 99)
    assert len(parts) > 4
    for some, wanted in [(parts[::-1], PROFILE), (parts[1:], b""), (parts[:-1], b""), (300 * parts[:1], b"")]:
        assert picture_files.read(drawn.with_segments(plain, *some)).colours == Colours(wanted)


@pytest.mark.parametrize(("sampling", "bytes_a_pixel"), [(0, 6), (1, 4), (2, 3)])
def test_what_is_held_while_a_jpeg_is_decoded(sampling: int, bytes_a_pixel: int) -> None:
    pixels = PICTURE.width * PICTURE.height
    for progressive in (False, True):
        data = encode(PICTURE, "JPEG", subsampling=sampling, progressive=progressive)
        assert picture_files.read(data).coefficients == bytes_a_pixel * pixels * progressive
    assert picture_files.read(encode(PICTURE.convert("L"), "JPEG", progressive=True)).coefficients == 2 * pixels
    assert picture_files.read(grey_jpeg(80, 70)).coefficients == 0
    assert picture_files.read(grey_jpeg(80, 70, at_once=False)).coefficients == 6 * 80 * 70


def test_a_jpeg_without_an_end_gets_one_and_a_second_version() -> None:
    plain = encode(PICTURE, "JPEG")
    contents = picture_files.read(plain[:-2])
    assert contents.file == picture_files.read(plain).file
    assert contents.otherwise is not None
    assert same(contents.otherwise, plain)


def png(*chunks: bytes, after: bytes = b"") -> bytes:
    return drawn.png(SAMPLES, 8, drawn.RGB, *chunks, after=after)


def test_of_a_png_only_its_pixels_are_kept() -> None:
    text = drawn.chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(3_000_000)))
    exif = drawn.chunk(b"eXIf", drawn.exif(drawn.orientation(6)))
    contents = picture_files.read(png(text, after=text + exif))
    assert contents.file == png()
    assert contents.orientation == 6


SAYS_SRGB, GAMMA = drawn.chunk(b"sRGB", b"\0"), drawn.gamma(0.5)
P3 = drawn.chromaticities(drawn.P3)


def coded(*numbers: int) -> bytes:
    return drawn.chunk(b"cICP", bytes(numbers))


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([], Colours()),
        ([drawn.embedded(PROFILE)], Colours(PROFILE)),
        ([drawn.embedded(PROFILE), GAMMA, P3], Colours(PROFILE, 0.5, DISPLAY_P3)),
        ([drawn.embedded(PROFILE), GAMMA, SAYS_SRGB], Colours(PROFILE)),
        ([drawn.chunk(b"iCCP", b"name\0\0not deflated")], Colours(b"")),
        ([drawn.chunk(b"iCCP", b"name")], Colours(b"")),
        ([drawn.embedded(bytes(picture_files.MAX_PROFILE))], Colours(bytes(picture_files.MAX_PROFILE))),
        ([drawn.embedded(bytes(picture_files.MAX_PROFILE + 1))], Colours(b"")),
        ([GAMMA], Colours(gamma=0.5)),
        ([GAMMA, P3], Colours(gamma=0.5, primaries=DISPLAY_P3)),
        ([P3], Colours()),
        ([GAMMA, SAYS_SRGB], Colours()),
        ([drawn.gamma(0)], Colours()),
        ([drawn.chunk(b"gAMA", bytes(3))], Colours()),
        ([drawn.chunk(b"gAMA", struct.pack(">I", 50_000), broken=True)], Colours()),
        ([coded(1, 13, 0, 1), GAMMA, drawn.embedded(PROFILE)], Colours()),
        ([coded(12, 13, 0, 1)], Colours(primaries=DISPLAY_P3)),
        ([coded(9, 13, 0, 1)], Colours(primaries=BT2020)),
        ([coded(9, 16, 0, 1)], Colours(unknown="cICP")),
        ([coded(2, 2, 0, 1), GAMMA], Colours(gamma=0.5)),
    ],
)
def test_what_outranks_what_of_a_pngs_colours(chunks: list[bytes], wanted: Colours) -> None:
    contents = picture_files.read(png(*chunks))
    assert contents.colours == wanted
    assert contents.file == png()
    assert picture_files.read(png(after=b"".join(chunks))).colours == Colours()


@pytest.mark.parametrize(
    ("colour", "depth", "key", "wanted"),
    [
        (drawn.GREY, 1, [1], (255,)),
        (drawn.GREY, 2, [2], (170,)),
        (drawn.GREY, 4, [0xFF03], (51,)),
        (drawn.GREY, 8, [300], (44,)),
        (drawn.GREY, 16, [300], (300,)),
        (drawn.RGB, 8, [1, 2, 259], (1, 2, 3)),
        (drawn.RGB, 16, [1, 2, 259], (1, 2, 259)),
        (drawn.RGB, 8, [1, 2], None),
        (drawn.RGB_ALPHA, 8, [1, 2, 3], None),
    ],
)
def test_the_transparent_colour(colour: int, depth: int, key: list[int], wanted: tuple[int, ...] | None) -> None:
    channels = {drawn.GREY: 1, drawn.RGB: 3, drawn.RGB_ALPHA: 4}[colour]
    chunk = drawn.chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    contents = picture_files.read(drawn.png(np.zeros((2, 2, channels), int), depth, colour, chunk))
    assert (contents.clear, contents.depth) == (wanted, depth)


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        ([drawn.chunk(b"acTL", struct.pack(">II", 2, 0)), drawn.chunk(b"fcTL", bytes(26))], ("first frame",)),
        ([drawn.chunk(b"acTL", struct.pack(">II", 2, 0))], ("still picture instead of its animation",)),
        ([drawn.chunk(b"acTL", struct.pack(">II", 1, 0)), drawn.chunk(b"fcTL", bytes(26))], ()),
        ([drawn.chunk(b"fcTL", bytes(26))], ()),
    ],
)
def test_an_animation_is_said_to_be_one(chunks: list[bytes], notes: tuple[str, ...]) -> None:
    assert picture_files.read(png(*chunks)).notes == notes


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("tall", [1, -1])
def test_a_bmp_of_any_order_of_bits(bits: int, tall: int) -> None:
    numbers = np.random.default_rng(0).integers(0, 2**bits, (5, 7))
    width = bits // 4
    masks = [(2**width - 1) << (width * place) for place in (1, 3, 0, 2)]  # red, green, blue, opacity
    data = drawn.bmp(numbers if tall > 0 else numbers[::-1], bits, masks, 108)
    data = data[:22] + struct.pack("<i", tall * 5) + data[26:]
    most = 2**width - 1
    wanted = np.stack([(numbers >> (width * place) & most) * 255 / most for place in (1, 3, 0, 2)], -1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture_files.read(data).file))), np.round(wanted))


def test_files_of_more_parts_than_any_honest_one() -> None:
    many = picture_files.MAX_PARTS + 1
    for content in (
        png(drawn.chunk(b"tEXt", b"") * many),
        drawn.with_segments(encode(PICTURE, "JPEG"), b"\xff\xfe\0\2" * many),
    ):
        with pytest.raises(ValueError, match="more than 100,000 parts"):
            picture_files.read(content)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a", bytes(99)])
def test_what_is_no_picture_is_left_to_the_decoder(content: bytes) -> None:
    assert picture_files.read(content).file.startswith(content)
