"""Small picture files of some hundred kinds, as browsers show them, and by how much two right decoders may differ."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from tests.helpers import drawn_files as drawn
from tests.helpers.drawn_files import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, chunk, png
from tests.helpers.hostile import encode, smooth

_NOISE = np.random.default_rng(3).integers(0, 256, (18, 23, 4))
SMOOTH = smooth(46, 34)

# Levels of 255. Opacity in 8 bits: browsers round colours times opacity once more. Colours: two engines' curves.
# JPEG, WebP: another inverse transform.
EXACT, OPACITY, CONVERTED, LOSSY = 0, 2, 3, 4


@dataclass(frozen=True)
class Kind:
    """A picture file, and what Chromium does not make of it."""

    data: bytes
    tolerance: int = EXACT
    not_turned: str = ""  # why Chromium does not turn it
    painted: int | None = None  # rows; of a JPEG without an end, Chromium leaves the last row of blocks unpainted


def samples(depth: int, channels: int) -> np.ndarray:
    """Noise of so many bits; the last of two or four channels is as often clear or opaque as it is between.

    Both bytes of 16 bits are equal: Chromium drops the lower one and cnnviz rounds, which is the same for these alone.
    """
    values = 257 * _NOISE[..., :channels] if depth == 16 else _NOISE[..., :channels] >> (8 - depth)
    if channels in (2, 4):
        ends = (2**depth - 1) * (_NOISE[..., 1] % 2)
        values[..., -1] = np.where(_NOISE[..., 0] % 3 == 0, values[..., -1], ends)
    return values


def every() -> dict[str, Kind]:
    return dict([*_pngs(), *_png_colours(), *_jpegs(), *_others()])


def _palette(count: int) -> bytes:
    return chunk(b"PLTE", np.random.default_rng(count).integers(0, 256, 3 * count, np.uint8).tobytes())


def _pngs() -> Iterator[tuple[str, Kind]]:
    for interlaced in (False, True):
        for colour, depths, channels in [
            (GREY, (1, 2, 4, 8, 16), 1),
            (RGB, (8, 16), 3),
            (PALETTE, (1, 2, 4, 8), 1),
            (GREY_ALPHA, (8, 16), 2),
            (RGB_ALPHA, (8, 16), 4),
        ]:
            for depth in depths:
                values = samples(depth, channels)
                name = f"PNG of type {colour}, {depth} bits{', interlaced' * interlaced}"
                make = partial(png, values, depth, colour, interlaced=interlaced)
                palette = [_palette(2**depth)] if colour == PALETTE else []
                yield name, Kind(make(*palette), OPACITY if channels in (2, 4) else EXACT)
                if channels in (1, 3):
                    key = struct.pack(f">{channels}H", *values[4, 5]) if colour != PALETTE else b"\xff\0\x80"
                    tolerance = OPACITY if colour == PALETTE else EXACT
                    yield f"{name}, tRNS", Kind(make(*palette, chunk(b"tRNS", key)), tolerance)
    eight = samples(8, 3)
    key = struct.pack(">3H", *(eight[4, 5] + 256))
    yield "PNG, tRNS with bits that do not count", Kind(png(eight, 8, RGB, chunk(b"tRNS", key)))
    yield "PNG, tRNS cut short", Kind(png(eight, 8, RGB, chunk(b"tRNS", key[:5])))
    yield "PNG, tRNS of another checksum", Kind(png(eight, 8, RGB, chunk(b"tRNS", key, broken=True)))
    yield "PNG, tRNS after the pixels", Kind(png(eight, 8, RGB, after=chunk(b"tRNS", key)))
    four, values = _palette(4), samples(2, 1)
    yield "PNG, tRNS before its palette", Kind(png(values, 2, PALETTE, chunk(b"tRNS", bytes(3)), four))
    behind = chunk(b"eXIf", drawn.exif(drawn.orientation(6))) + png(eight[::-1], 8, RGB)[33:]
    yield "PNG with chunks behind its end", Kind(png(eight, 8, RGB) + behind)
    yield "PNG without an end", Kind(png(eight, 8, RGB, end=b""))
    yield "PNG with data behind it", Kind(png(eight, 8, RGB) + bytes(1000))
    upright = chunk(b"eXIf", drawn.exif(drawn.orientation(6)))
    yield "PNG to turn", Kind(png(eight, 8, RGB, upright))
    why = "its eXIf chunk stands behind the pixels, where it is allowed"
    yield "PNG to turn, said at the end", Kind(png(eight, 8, RGB, after=upright), not_turned=why)


def _png_colours() -> Iterator[tuple[str, Kind]]:
    p3, light = drawn.embedded(drawn.rgb_profile()), drawn.gamma(1.0)
    chunks: dict[str, list[bytes]] = {
        "gAMA 1": [light],
        "gAMA 0.5": [drawn.gamma(0.5)],
        "gAMA 0": [drawn.gamma(0)],
        "gAMA 0.45455, a screen's": [drawn.gamma(0.45455)],
        "gAMA 0.432, nearly a screen's": [drawn.gamma(0.432)],
        "gAMA 0.43, not a screen's": [drawn.gamma(0.43)],
        "gAMA cut short": [chunk(b"gAMA", b"\0\1\x86")],
        "gAMA of another checksum": [chunk(b"gAMA", struct.pack(">I", 100_000), broken=True)],
        "gAMA twice": [light, drawn.gamma(0.5)],
        "gAMA and P3": [drawn.gamma(0.45455), drawn.chromaticities(drawn.P3)],
        "gAMA 1 and P3": [light, drawn.chromaticities(drawn.P3)],
        "gAMA and sRGB's primaries": [drawn.gamma(0.45455), drawn.chromaticities(drawn.SRGB)],
        "gAMA and no primaries": [light, drawn.chromaticities([0] * 8)],
        "gAMA and primaries in a line": [light, drawn.chromaticities([0.3127, 0.329, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])],
        "P3 without gAMA": [drawn.chromaticities(drawn.P3)],
        "gAMA and sRGB": [light, chunk(b"sRGB", b"\0")],
        "gAMA and sRGB of no known intent": [light, chunk(b"sRGB", b"\x09")],
        "iCCP": [p3],
        "iCCP outranks sRGB": [p3, chunk(b"sRGB", b"\0")],
        "iCCP outranks gAMA": [light, p3],
        "iCCP that is none": [drawn.embedded(b"nothing")],
        "iCCP that is none, gAMA": [light, drawn.embedded(b"nothing")],
        "iCCP for greys": [drawn.embedded(drawn.grey_profile(1.0))],
        "iCCP for greys, gAMA": [light, drawn.embedded(drawn.grey_profile(1.5))],
        "iCCP for inks": [drawn.embedded(drawn.cmyk_profile())],
        "iCCP of 1.5 MB": [drawn.embedded(drawn.rgb_profile(1.0, padding=1_500_000))],
        "cICP P3": [chunk(b"cICP", bytes([12, 13, 0, 1]))],
        "cICP BT.2020": [chunk(b"cICP", bytes([9, 13, 0, 1]))],
        "cICP sRGB, gAMA": [light, chunk(b"cICP", bytes([1, 13, 0, 1]))],
        "cICP unspecified, gAMA": [light, chunk(b"cICP", bytes([2, 2, 0, 1]))],
    }
    for name, each in chunks.items():
        yield f"PNG, {name}", Kind(png(samples(8, 3), 8, RGB, *each), CONVERTED)
    for name in ("gAMA 1", "gAMA 1 and P3", "iCCP", "cICP P3"):
        yield f"PNG of 16 bits, {name}", Kind(png(samples(16, 3), 16, RGB, *chunks[name]), CONVERTED)
        yield f"PNG with opacity, {name}", Kind(png(samples(8, 4), 8, RGB_ALPHA, *chunks[name]), CONVERTED)
        yield f"PNG of 16 bits with opacity, {name}", Kind(png(samples(16, 4), 16, RGB_ALPHA, *chunks[name]), CONVERTED)
        palette = [*chunks[name], _palette(16), chunk(b"tRNS", b"\0\xff")]
        yield f"PNG with a palette, {name}", Kind(png(samples(4, 1), 4, PALETTE, *palette), CONVERTED)
        yield f"grey PNG, {name}", Kind(png(samples(8, 1), 8, GREY, *chunks[name]), CONVERTED)
    grey = drawn.embedded(drawn.grey_profile(1.0))
    for depth in (8, 16):
        yield f"grey PNG of {depth} bits, iCCP for greys", Kind(png(samples(depth, 1), depth, GREY, grey), CONVERTED)
        with_opacity = png(samples(depth, 2), depth, GREY_ALPHA, grey)
        yield f"grey PNG of {depth} bits with opacity, iCCP for greys", Kind(with_opacity, CONVERTED)


def _jpegs() -> Iterator[tuple[str, Kind]]:
    plain = encode(SMOOTH, "JPEG", quality=95, subsampling=0)
    progressive = encode(SMOOTH, "JPEG", quality=95, progressive=True)
    grey = encode(SMOOTH.convert("L"), "JPEG", quality=95)
    three_inks = SMOOTH.convert("CMYK")
    black = three_inks.getchannel("C").rotate(180)
    inks = encode(Image.merge("CMYK", [*three_inks.split()[:3], black]), "JPEG", quality=95)
    for name, data in [("", plain), (", progressive", progressive), (", grey", grey), (", CMYK", inks)]:
        yield f"JPEG{name}", Kind(data, LOSSY)
        yield f"JPEG{name}, with data behind it", Kind(data + b"\xff\xda\0\2\0" * 300, LOSSY)
        yield f"JPEG{name}, without an end", Kind(data[:-2], LOSSY, painted=32)
        yield f"JPEG{name}, with half an end", Kind(data[:-1], LOSSY, painted=32)
    yield "JPEG, half the colours", Kind(encode(SMOOTH, "JPEG", quality=95), LOSSY)
    for name, data, profile in [
        ("JPEG", plain, drawn.rgb_profile()),
        ("JPEG, progressive", progressive, drawn.rgb_profile()),
        ("JPEG, grey", grey, drawn.grey_profile(1.0)),
        ("JPEG, grey, for RGB", grey, drawn.rgb_profile(1.0)),
        ("JPEG, for greys", plain, drawn.grey_profile(1.0)),
        # Chromium mixes the black into the other inks before it looks into the profile.
        ("JPEG, CMYK without black", encode(three_inks, "JPEG", quality=95), drawn.cmyk_profile()),
    ]:
        yield f"{name}, profile", Kind(drawn.with_segments(data, *drawn.profile_segments(profile)), LOSSY + CONVERTED)
    parts = drawn.profile_segments(drawn.rgb_profile(), 100)
    for name, some in [("in parts", parts), ("in parts, last first", parts[::-1]), ("less a part", parts[:-1])]:
        yield f"JPEG, profile {name}", Kind(drawn.with_segments(plain, *some), LOSSY + CONVERTED)
    upright, upside_down = drawn.orientation(6), drawn.orientation(3)
    odd = [drawn.entry(0x0100, 2, 9, b"\0\0\1\0"), upright, drawn.entry(0x0128, 9, 1, b"\xff\xff\xff\xff")]
    turned = {
        **{f"{held}, big-endian": [drawn.exif(drawn.orientation(held, ">"), order=">")] for held in range(10)},
        "6, among odd tags": [drawn.exif(*odd)],
        "6, then 3": [drawn.exif(upright, upside_down)],
        "6, then 3 in other data": [drawn.exif(upright), drawn.exif(upside_down)],
        "6, cut in two": [drawn.exif(upright)[:14], drawn.exif(upright)[14:]],
        "6 of another type": [drawn.exif(drawn.entry(0x0112, 4, 1, b"\6"))],
        "6, two values": [drawn.exif(drawn.entry(0x0112, 3, 2, b"\6\0\6\0"))],
    }
    for name, every_exif in turned.items():
        segments = [drawn.exif_segment(each) for each in every_exif]
        yield f"JPEG, orientation {name}", Kind(drawn.with_segments(plain, *segments), LOSSY)
    xmp = drawn.segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>')
    yield "JPEG, orientation 6 in XMP alone", Kind(drawn.with_segments(plain, xmp), LOSSY)


def _others() -> Iterator[tuple[str, Kind]]:
    rgb, rgba = (Image.fromarray(samples(8, channels).astype(np.uint8)) for channels in (3, 4))
    palette = rgb.quantize(32)
    webp = partial(encode, kind="WEBP", lossless=True, exact=True)
    yield "WebP", Kind(webp(rgb))
    yield "WebP, lossy", Kind(encode(SMOOTH, "WEBP", quality=90), LOSSY)
    yield "WebP, opacity", Kind(webp(rgba), OPACITY)
    yield "WebP, profile", Kind(webp(rgb, icc_profile=drawn.rgb_profile()), CONVERTED)
    yield "WebP, profile for greys", Kind(webp(rgb, icc_profile=drawn.grey_profile(1.0)), CONVERTED)
    yield "WebP with data behind it", Kind(webp(rgb) + bytes(99))
    why = "it does not look for EXIF data in WebP, where they are allowed"
    yield "WebP to turn", Kind(webp(rgb, exif=drawn.exif(drawn.orientation(6))), not_turned=why)
    gif = encode(palette, "GIF")
    yield "GIF", Kind(gif)
    yield "GIF, a clear colour", Kind(encode(palette, "GIF", transparency=5))
    yield "GIF, frames", Kind(encode(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]))
    yield "GIF with data behind it", Kind(gif + b"garbage,,,,,!!!!")
    yield "GIF with half a frame behind it", Kind(gif[:-1] + b",\0\0")
    yield "GIF without an end", Kind(gif[:-1])
    for name, screen in [("larger", (40, 30)), ("smaller", (10, 10))]:
        yield f"GIF, a {name} screen", Kind(gif[:6] + struct.pack("<HH", *screen) + gif[10:])
    yield "BMP", Kind(encode(rgb, "BMP"))
    yield "BMP with data behind it", Kind(encode(rgb, "BMP") + bytes(99))
    yield "BMP, palette", Kind(encode(palette, "BMP"))
    yield "BMP, 1 bit", Kind(encode(rgb.convert("1"), "BMP"))
    four_bytes = np.random.default_rng(1).integers(0, 2**32, (18, 23))
    blue_first, red_first = (0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000)
    for header in (40, 56, 108, 124):
        for compression, masks in [(0, blue_first), (3, blue_first), (3, red_first)]:
            for opacity in (0xFF000000, 0) if header > 40 else (0,):
                data = drawn.bmp(four_bytes, 32, [*masks, opacity][: 3 + (header > 40)], header, compression)
                name = f"BMP, 32 bits, compression {compression}, header {header}, masks {masks[0]:x} {opacity:x}"
                yield name, Kind(data, OPACITY)
    clear = drawn.bmp(four_bytes & 0xFFFFFF, 32, [*blue_first, 0xFF000000], 108)
    yield "BMP, nothing opaque", Kind(clear)
    for name, sixteen in {
        "565": (0xF800, 0x7E0, 0x1F, 0),
        "555": (0x7C00, 0x3E0, 0x1F, 0),
        "1555": (0x7C00, 0x3E0, 0x1F, 0x8000),
        "4444": (0xF00, 0xF0, 0xF, 0xF000),
        "0": (0, 0, 0, 0),
    }.items():
        yield f"BMP, 16 bits, {name}", Kind(drawn.bmp(four_bytes >> 16, 16, sixteen, 108), OPACITY)
    yield "BMP, 16 bits", Kind(drawn.bmp(four_bytes >> 16, 16, (), 40, 0))
    ten_each = (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)
    yield "BMP, 2 and thrice 10 bits", Kind(drawn.bmp(four_bytes, 32, ten_each, 108), OPACITY)
    profile = drawn.rgb_profile()
    yield "BMP, profile", Kind(drawn.bmp(four_bytes, 32, [*blue_first, 0], 124, profile=profile), CONVERTED)
