"""Picture files written by hand: PNGs of every type and depth, colour profiles, EXIF data, BMPs with alpha."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # a PNG's colour types
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
D50 = (0.9642, 1.0, 0.8249)
# White, red, green and blue, x and y of each
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
# The same relative to D50, as profiles hold them: XYZ of red, green and blue
P3_D50 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]


def chunk(name: bytes, data: bytes, broken: bool = False) -> bytes:
    """One chunk of a PNG; broken: with another checksum than its own."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ broken)


def png(
    samples: np.ndarray,
    depth: int,
    colour: int,
    *chunks: bytes,
    after: bytes = b"",
    interlaced: bool = False,
    end: bytes | None = None,
) -> bytes:
    """A PNG of these samples, (height, width) or (height, width, channels), with chunks before and after its pixels."""
    samples = samples.reshape(*samples.shape[:2], -1)
    height, width = samples.shape[:2]
    passes = [samples[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [samples]
    rows = b"".join(_rows(each, depth) for each in passes if each.size)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
    return start + chunk(b"IDAT", zlib.compress(rows)) + after + (chunk(b"IEND", b"") if end is None else end)


def _rows(samples: np.ndarray, depth: int) -> bytes:
    flat = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    else:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 * value)))


def chromaticities(values: Sequence[float]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in values)))


def embedded(profile: bytes, name: bytes = b"profile") -> bytes:
    return chunk(b"iCCP", name + b"\0\0" + zlib.compress(profile))


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 (ICC.1:2001-04)."""
    name = b"for tests\0"
    every = {
        b"desc": b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz(D50),
        **tags,
    }
    table, body, start = struct.pack(">I", len(every)), b"", 128 + 4 + 12 * len(every)
    for tag, data in every.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">II", start + len(body), 0) + b"\x02\x40\0\0" + kind + space + connection
    header += struct.pack(">6H", 2001, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(D50)[8:] + bytes(48)
    return header + table + body


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def curve(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * exponent))


def rgb_profile(exponent: float = 2.2, colorants: Sequence[Sequence[float]] = P3_D50, padding: int = 0) -> bytes:
    """Three curves and a matrix, by default Display P3's; padding: bytes of a private tag that cannot be compressed."""
    tags = {name + b"XYZ": xyz(values) for name, values in zip((b"r", b"g", b"b"), colorants, strict=True)}
    curves = {name + b"TRC": curve(exponent) for name in (b"r", b"g", b"b")}
    private = {b"priv": b"data" + bytes(4) + np.random.default_rng(0).bytes(padding)} if padding else {}
    return profile(b"RGB ", {**tags, **curves, **private})


def grey_profile(exponent: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve(exponent)})


def cmyk_profile(grid: int = 5) -> bytes:
    """Inks whose colours in L*a*b* are all a little off those of a screen, in a table of grid⁴ colours."""
    cyan, magenta, yellow, black = np.indices((grid,) * 4) / (grid - 1)
    light = (245 - 60 * cyan - 70 * magenta - 20 * yellow) * (1 - 0.8 * black)
    strength = 1 - 0.7 * black
    red = 128 + strength * (60 * magenta - 30 * cyan)
    warm = 128 + strength * (70 * yellow - 40 * cyan)
    table = np.stack([light, red, warm], -1).round().astype(np.uint8).tobytes()
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    body = b"mft1" + bytes(4) + bytes([4, 3, grid, 0]) + identity + 4 * ramp + table + 3 * ramp
    return profile(b"CMYK", {b"A2B0": body}, b"prtr", b"Lab ")


def entry(tag: int, kind: int, count: int, value: bytes, order: str = "<") -> bytes:
    """One entry of an EXIF directory; value: four bytes, the value itself or where it is."""
    return struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")[:4]


def orientation(value: int, order: str = "<") -> bytes:
    return entry(0x0112, 3, 1, struct.pack(f"{order}H", value), order)


def exif(*entries: bytes, order: str = "<") -> bytes:
    """EXIF data, without the six bytes that introduce it in a JPEG."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with further segments right after its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif_segment(data: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + data)


def profile_segments(data: bytes, size: int = 65_000) -> list[bytes]:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return [
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part) for number, part in enumerate(parts, 1)
    ]


def bmp(
    numbers: np.ndarray, bits: int, masks: Sequence[int], header: int, compression: int = 3, profile: bytes = b""
) -> bytes:
    """A BMP of these numbers, (height, width), of 16 or 32 bits, with a header of so many bytes.

    masks: which bits are red, green, blue and, of headers of 56 bytes and more, opacity; used by compression 3.
    """
    height, width = numbers.shape
    rows = b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in numbers[::-1].astype(f"<u{bits // 8}"))
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 0, 0, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    if profile:
        info = info.ljust(112, b"\0") + struct.pack("<II", header + len(rows), len(profile))
        info = info[:56] + b"DEBM" + info[60:]
    start = 14 + max(header + 12 * (header == 40 and compression == 3), len(info) if header > 40 else 0)
    start_of_file = b"BM" + struct.pack("<IHHI", start + len(rows) + len(profile), 0, 0, start)
    return (start_of_file + info).ljust(start, b"\0")[:start] + rows + profile
