"""Whatever is mangled outside the pixels, the picture opens, with the same pixels."""

import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as draw
from PIL import Image

from cnnviz.data.pictures import open_picture
from tests.helpers import drawn_files as drawn
from tests.helpers.hostile import encode

NOISE = np.random.default_rng(2).integers(0, 256, (6, 9, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
JPEG = encode(PICTURE, "JPEG", quality=90)
AS_JPEG = np.asarray(open_picture(JPEG, "plain").image)
UPRIGHT = -1  # quarter turns, of orientation 6

# The same files at every run, and none kept on the disk. The fixtures of every test only keep the user's files apart.
mangled = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data, "mangled").image)


@draw.composite
def exif(some: draw.DrawFn) -> bytes:
    """EXIF data that say orientation 6, among any other tags of any type, count and value, and any data behind them."""
    order = some(draw.sampled_from("<>"))
    others = draw.builds(
        drawn.entry,
        draw.one_of(
            draw.sampled_from([0x0100, 0x0128, 0x011A, 0x8769, 0x8825, 0x014A]), draw.integers(0, 65535)
        ).filter(lambda tag: tag != 0x0112),
        draw.integers(0, 20),
        draw.one_of(draw.integers(0, 9), draw.integers(0, 2**32 - 1)),
        draw.binary(min_size=4, max_size=4),
        draw.just(order),
    )
    before, after = some(draw.lists(others, max_size=6)), some(draw.lists(others, max_size=6))
    return drawn.exif(*before, drawn.orientation(6, order), *after, order=order) + some(draw.binary(max_size=40))


@mangled
@given(exif())
def test_odd_exif_data_beside_the_orientation(data: bytes) -> None:
    turned = np.rot90(NOISE, UPRIGHT)
    assert np.array_equal(pixels(drawn.with_segments(JPEG, drawn.exif_segment(data))), np.rot90(AS_JPEG, UPRIGHT))
    assert np.array_equal(pixels(drawn.png(NOISE.astype(int), 8, drawn.RGB, drawn.chunk(b"eXIf", data))), turned)
    assert np.array_equal(pixels(encode(PICTURE, "WEBP", lossless=True, exif=data)), turned)


@mangled
@given(draw.binary(max_size=80), draw.sampled_from([b"", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0", b"Exif\0\0"]))
def test_exif_data_that_are_none(data: bytes, start: bytes) -> None:
    assert np.array_equal(pixels(drawn.with_segments(JPEG, drawn.exif_segment(start + data))), AS_JPEG)
    assert np.array_equal(pixels(drawn.png(NOISE.astype(int), 8, drawn.RGB, drawn.chunk(b"eXIf", start + data))), NOISE)
    assert np.array_equal(pixels(encode(PICTURE, "WEBP", lossless=True, exif=start + data)), NOISE)


OF_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tRNS")  # count if they are sound and stand before the pixels
ANY = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"pHYs", b"sBIT", b"tIME", b"bKGD", b"hIST", b"acTL", b"fcTL")
OTHERS = draw.sampled_from(ANY) | draw.from_regex(rb"\A[a-z][A-Za-z][A-Z][a-z]\Z").filter(
    lambda name: name not in OF_COLOURS
)
CONTENT = draw.binary(max_size=60) | draw.sampled_from(
    [b"key\0\0" + zlib.compress(bytes(size)) for size in (9, 3_000_000)]
)


@mangled
@given(
    before=draw.lists(draw.tuples(OTHERS, CONTENT, draw.booleans()), max_size=5),
    unsound=draw.lists(draw.tuples(draw.sampled_from(OF_COLOURS), CONTENT, draw.just(True)), max_size=3),
    after=draw.lists(draw.tuples(OTHERS | draw.sampled_from(OF_COLOURS), CONTENT, draw.booleans()), max_size=5),
    behind=draw.binary(max_size=60),
)
def test_chunks_of_a_png_beside_its_pixels(
    before: list[tuple[bytes, bytes, bool]],
    unsound: list[tuple[bytes, bytes, bool]],
    after: list[tuple[bytes, bytes, bool]],
    behind: bytes,
) -> None:
    first = [drawn.chunk(*each) for each in [*before, *unsound]]
    last = b"".join(drawn.chunk(*each) for each in after)
    assert np.array_equal(pixels(drawn.png(NOISE.astype(int), 8, drawn.RGB, *first, after=last) + behind), NOISE)


MARKERS = draw.integers(0xE0, 0xED) | draw.sampled_from([0xEF, 0xFE])  # not Adobe's, which says how colours are coded
STARTS = [
    b"", b"Exif\0\0", b"ICC_PROFILE\0", b"ICC_PROFILE\0\1\1", b"MPF\0", b"Photoshop 3.0\0", b"Photoshop 3.0\x008BIM",
    b"http://ns.adobe.com/xap/1.0/\0", b"JFIF", b"JFXX\0",
]  # fmt: skip


@mangled
@given(
    segments=draw.lists(
        draw.tuples(
            draw.integers(0xE0, 0xED) | draw.sampled_from([0xEF, 0xFE]),
            draw.sampled_from(STARTS),
            draw.binary(max_size=60),
        ),
        max_size=6,
    ),
    behind=draw.binary(max_size=60) | draw.sampled_from([b"\xff\xda\0\2" * 200, JPEG, JPEG[:99]]),
    lacking=draw.integers(0, 2),
)
def test_segments_of_a_jpeg_beside_its_pixels(
    segments: list[tuple[int, bytes, bytes]], behind: bytes, lacking: int
) -> None:
    parts = [drawn.segment(marker, start + data) for marker, start, data in segments]
    whole = drawn.with_segments(JPEG, *parts)
    assert np.array_equal(pixels(whole + behind), AS_JPEG)
    assert np.array_equal(pixels(whole[: len(whole) - lacking]), AS_JPEG)


@pytest.mark.parametrize("behind", [b"\0" * 100, b"\xff\xda" * 100, b";,!,\xff,", bytes(range(256))])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_data_behind_the_picture(kind: str, behind: bytes) -> None:
    data = encode(PICTURE.quantize(16) if kind == "GIF" else PICTURE, kind)
    assert np.array_equal(pixels(data + behind), pixels(data))
