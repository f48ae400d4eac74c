"""What of a picture file concerns its pixels. Nothing else in it decides anything, however odd, damaged or large it is.

JPEG: ITU-T T.81, annex B. PNG: Portable Network Graphics (Third Edition), W3C 2025. EXIF: CIPA DC-008, section 4.6.
BMP: Microsoft, "Bitmap Header Types".
"""

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from cnnviz.data.srgb import BT2020, DISPLAY_P3, Colours

MAX_PROFILE = 4_000_000  # bytes of a colour profile, inflated; the largest that printers use have three million
MAX_PARTS = 100_000  # segments or chunks; the largest honest files have some thousand

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# What begins a segment, or ends the picture. Coded data hold none: their FF 00 and restart markers are neither.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_END, _SCAN, _NO_FRAMES = 0xD9, 0xDA, (0xC4, 0xC8, 0xCC)
_OTHERWISE = b"\xaa\x55\x33\xcc" * 256  # begins with another bit than the zeros that a decoder puts for what is missing
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_READ_BEFORE_PIXELS = (b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"acTL", b"fcTL")
_GREY, _RGB, _PALETTE = 0, 2, 3  # a PNG's colour types
_CODED_PRIMARIES = {1: None, 9: BT2020, 12: DISPLAY_P3}  # ITU-T H.273, table 2
_UNSPECIFIED, _SRGB_CURVE = 2, 13  # tables 2 and 3
_BMP_4, _BMP_5 = 108, 124  # sizes of the headers of versions 4 and 5
_BMP_MASKS = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)  # where red, green, blue and opacity are in a number of 32 bits
_ORIENTATION, _SHORT = 0x0112, 3  # an EXIF tag and its type


@dataclass(frozen=True)
class Contents:
    """A picture file taken apart."""

    file: bytes  # the same picture, without anything that does not concern its pixels
    orientation: int = 1  # 1…8, as EXIF numbers how the camera was held
    colours: Colours = Colours()  # noqa: RUF009 — it cannot be changed
    notes: tuple[str, ...] = ()  # of what was left out: ("first frame",)
    otherwise: bytes | None = None  # of a JPEG without an end: the same picture if other data followed
    scans: int = 0  # of a JPEG
    coefficients: int = 0  # bytes, of a JPEG that is held as a whole while it is decoded
    depth: int = 8  # bits a sample of a PNG
    clear: tuple[int, ...] | None = None  # a PNG's transparent colour, in samples of 16 bits or scaled to 8


def read(content: bytes) -> Contents:
    """Take a picture file apart; one that is in none of these formats is returned as it is.

    Raises ValueError if it has more than MAX_PARTS.
    """
    if content.startswith(_JPEG):
        return _jpeg(content)
    if content.startswith(_PNG):
        return _png(content)
    return _bmp(content) if content.startswith(b"BM") else Contents(content)


def orientation(exif: bytes) -> int:
    """The orientation 1…8 that EXIF data give; 1, upright, if they give none. No other tag is looked at."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(count):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
            if (tag, kind, values) == (_ORIENTATION, _SHORT, 1):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # cut short
        pass
    return 1


def _counted(parts: int) -> int:
    if parts == MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS:,} parts")
    return parts + 1


# -- JPEG --------------------------------------------------------------------------------------------


def _jpeg(content: bytes) -> Contents:
    view = memoryview(content)
    kept = [view[:2]]
    exif, profile, notes = b"", list[bytes](), list[str]()
    scans, coefficients, progressive, ended = 0, 0, False, False
    at, parts = 2, 0
    while found := _MARKER.search(content, at):
        parts = _counted(parts)
        marker, start = content[found.end() - 1], found.end()
        if marker == _END:
            ended = True
            break
        at = start + max(2, int.from_bytes(content[start : start + 2]))
        data = content[start + 2 : at]
        if marker == _SCAN:
            scans += 1
            following = _MARKER.search(content, at)
            at = following.start() if following else len(content)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0"):
            exif = exif or data
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0"):
            profile.append(data[12:])
        elif marker == 0xE2 and data.startswith(b"MPF\0"):
            notes = ["first picture of the file"]
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            coefficients, progressive = _coefficients(data), marker & 3 == 2
        if marker < 0xE0 or _tells_how_colours_are_coded(marker, data):
            kept.append(view[found.start() : at])
    file = b"".join(kept).rstrip(b"\xff")
    return Contents(
        file + b"\xff\xd9",
        orientation(exif),
        Colours(_joined(profile)),
        tuple(notes),
        otherwise=None if ended else file + _OTHERWISE + b"\xff\xd9",
        scans=scans,
        coefficients=coefficients if progressive or scans > 1 else 0,
    )


def _tells_how_colours_are_coded(marker: int, data: bytes) -> bool:
    jfif = marker == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 14
    return jfif or (marker == 0xEE and data.startswith(b"Adobe") and len(data) >= 12)


def _coefficients(frame: bytes) -> int:
    """The bytes that a frame's coefficients take, two each; frame: its header."""
    if len(frame) < 6:
        return 0
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    samplings = [(byte >> 4, byte & 15) for byte in frame[7 : 6 + 3 * count : 3]]
    most = max((across for across, _ in samplings), default=1) * max((down for _, down in samplings), default=1)
    return sum(2 * width * height * across * down // max(1, most) for across, down in samplings)


def _joined(parts: list[bytes]) -> bytes | None:
    """A colour profile from its parts, each after its number and how many there are; b"" if one is missing."""
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: part[:1])
    whole = [tuple(part[:2]) for part in ordered] == [(number, len(parts)) for number in range(1, len(parts) + 1)]
    return b"".join(part[2:] for part in ordered) if whole else b""


# -- PNG ---------------------------------------------------------------------------------------------


def _png(content: bytes) -> Contents:
    view = memoryview(content)
    kept = [view[:8]]
    header, exif, said = b"", b"", dict[bytes, bytes]()
    at, parts, palette, pixels = 8, 0, False, False
    while at + 8 <= len(content):
        parts = _counted(parts)
        name, stop = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4])
        chunk = view[at:stop]
        if name in _PIXEL_CHUNKS:
            kept.append(chunk)
            header = header or bytes(chunk[8:-4])  # the first chunk
            palette, pixels = palette or name == b"PLTE", pixels or name == b"IDAT"
            if name == b"IEND":
                break
        elif name == b"eXIf" and not exif and _sound(chunk):
            exif = bytes(chunk[8:-4])
        elif name in _READ_BEFORE_PIXELS and not pixels and name not in said and _sound(chunk):
            said[name] = bytes(chunk[8:-4])
            if name == b"tRNS" and palette and header[9:10] == bytes([_PALETTE]):
                kept.append(chunk)
        at = stop
    if len(header) != 13:
        return Contents(content)
    notes = []
    if len(said.get(b"acTL", b"")) == 8 and int.from_bytes(said[b"acTL"][:4]) > 1:
        notes = ["first frame" if b"fcTL" in said else "still picture instead of its animation"]
    depth, colour_type = header[8], header[9]
    return Contents(
        b"".join(kept),
        orientation(exif),
        _said_of_colours(said),
        tuple(notes),
        depth=depth,
        clear=_clear(said.get(b"tRNS", b""), depth, colour_type),
    )


def _sound(chunk: memoryview) -> bool:
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _clear(data: bytes, depth: int, colour_type: int) -> tuple[int, ...] | None:
    """The colour that a tRNS chunk makes transparent, of a grey or an RGB picture."""
    count = {_GREY: 1, _RGB: 3}.get(colour_type)
    if count is None or len(data) < 2 * count:
        return None
    most = 2**depth - 1  # of 16 bits, only so many count
    samples = [sample & most for sample in struct.unpack_from(f">{count}H", data)]
    return tuple(samples if depth == 16 else [255 * sample // most for sample in samples])


def _said_of_colours(said: dict[bytes, bytes]) -> Colours:
    """What a PNG's chunks say of its colours, in the order in which one outranks another."""
    coded = said.get(b"cICP", b"")
    if len(coded) == 4 and _UNSPECIFIED not in coded[:2]:
        if coded[0] not in _CODED_PRIMARIES or coded[1:4] != bytes([_SRGB_CURVE, 0, 1]):
            return Colours(unknown="cICP")
        return Colours(primaries=_CODED_PRIMARIES[coded[0]])
    profile = _inflated(said[b"iCCP"]) if b"iCCP" in said else None
    if len(said.get(b"sRGB", b"")) == 1 and said[b"sRGB"][0] <= 3:
        return Colours(profile)
    gamma, primaries = said.get(b"gAMA", b""), said.get(b"cHRM", b"")
    if len(gamma) < 4 or not any(gamma[:4]):  # primaries alone would leave the curve to be guessed
        return Colours(profile)
    return Colours(
        profile,
        int.from_bytes(gamma[:4]) / 100_000,
        tuple(value / 100_000 for value in struct.unpack_from(">8I", primaries)) if len(primaries) >= 32 else None,
    )


def _inflated(chunk: bytes) -> bytes:
    """The colour profile in an iCCP chunk; b"" if it cannot be had, or is larger than MAX_PROFILE."""
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(chunk[chunk.find(b"\0") + 2 :], MAX_PROFILE)
    except zlib.error:
        return b""
    return b"" if inflate.unconsumed_tail else profile


# -- BMP ---------------------------------------------------------------------------------------------


def _bmp(content: bytes) -> Contents:
    """A BMP whose bits are in any order, or that has opacity, as one of the few kinds of those that Pillow reads."""
    if len(content) < 70:
        return Contents(content)
    start, header, width, height, bits, compression = struct.unpack_from("<IIii2xHI", content, 10)
    colours = Colours()
    if header == _BMP_5 and content[70:74] == b"DEBM" and len(content) >= 138:  # "MBED"
        at, size = struct.unpack_from("<II", content, 126)
        colours = Colours(content[14 + at : 14 + at + size])
    if (bits, compression) == (16, 0):
        masks = (0x7C00, 0x3E0, 0x1F, 0)
    elif (bits, compression) == (32, 0) and header in (_BMP_4, _BMP_5):
        masks = (*_BMP_MASKS[:3], *struct.unpack_from("<I", content, 66))
    elif bits in (16, 32) and compression == 3 and header in (40, 52, 56, _BMP_4, _BMP_5):
        masks = struct.unpack_from("<4I", content, 54)
        masks = masks if header > 52 else (*masks[:3], 0)
    else:
        return Contents(content, colours=colours)
    row = -(-width * bits // 32) * 4
    rows = np.frombuffer(content, np.uint8, max(0, row) * abs(height), start).reshape(abs(height), -1)
    numbers = rows.view(f"<u{bits // 8}")[:, :width]
    pixels = np.full((*numbers.shape, 4), 255, np.uint8)
    for place, mask in zip((2, 1, 0, 3), masks, strict=True):  # blue is first
        if mask:
            shift = (mask & -mask).bit_length() - 1
            part = ((numbers & mask) >> shift) * np.float32(255 / (mask >> shift))
            pixels[..., place] = np.rint(part, out=part)
        elif place != 3:
            pixels[..., place] = 0
    info = struct.pack("<IiiHHIIiiII", _BMP_4, width, height, 1, 32, 3, pixels.size, 0, 0, 0, 0)
    info += struct.pack("<4I", *_BMP_MASKS)
    head = struct.pack("<2sIHHI", b"BM", 14 + _BMP_4 + pixels.size, 0, 0, 14 + _BMP_4)
    return Contents(head + info.ljust(_BMP_4, b"\0") + pixels.tobytes(), colours=colours)
