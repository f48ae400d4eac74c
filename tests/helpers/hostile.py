"""Pictures made to harm: cut short, bit-flipped, lying about their size, of another type, bombs. All from one seed."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.helpers.drawn_files import bmp, chunk, cmyk_profile, profile_segments, with_segments

ORIENTATION = 0x0112


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def smooth(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, blue is none."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, width).astype(np.uint8)
    pixels[:, :, 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return Image.fromarray(pixels)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for what Pillow itself would not write."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = [header, *chunks, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in body]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif_screen(width: int, height: int) -> bytes:
    data = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG with its last scan many times over: small, and each costs a walk over the whole picture."""
    data = encode(smooth(side, side), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * count + data[end:]


def grey_jpeg(width: int, height: int, at_once: bool = True) -> bytes:
    """A small baseline JPEG of any size; not at once: in a scan for each component, all held until the last is read."""
    start = encode(Image.new("RGB", (8, 8)), "JPEG", subsampling=0)
    size = start.index(b"\xff\xc0") + 5
    head = start[:size] + struct.pack(">HH", height, width) + start[size + 4 : start.index(b"\xff\xda")]
    blocks = -(-width // 8) * -(-height // 8) * (3 if at_once else 1)
    # A block is 00 1010: no change of its mean, and nothing else. Four are three bytes.
    data = b"\x28\xa2\x8a" * (blocks // 4) + b"\x28\xa2\x8a"[: blocks % 4] + b"\x2f"
    scans = [b"\3\1\0\2\0\3\0"] if at_once else [bytes([1, component, 0]) for component in (1, 2, 3)]
    body = (b"\xff\xda" + struct.pack(">H", len(scan) + 5) + scan + b"\0\x3f\0" + data for scan in scans)
    return head + b"".join(body) + b"\xff\xd9"


def rle_bmp(width: int, height: int, code: bytes) -> bytes:
    """A run-length coded BMP of 8 bits."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(code), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(code), 0, 0, start) + header + bytes(1024) + code


def exif(entries: int, size: int) -> bytes:
    """EXIF data whose entries all point at the same many bytes."""
    table = b"".join(struct.pack("<HHII", (0x9000 + tag) % 65536, 7, size, 8) for tag in range(entries))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries) + table + bytes(4) + bytes(size)


def honest_files() -> dict[str, bytes]:
    image, grey = smooth(48, 40), smooth(48, 40).convert("L")
    turned = Image.Exif()
    turned[ORIENTATION], turned[0x010F] = 6, "maker"
    return {
        "JPEG": encode(image, "JPEG", exif=turned),
        "progressive JPEG": encode(image, "JPEG", progressive=True),
        "CMYK JPEG": encode(image.convert("CMYK"), "JPEG"),
        "PNG": encode(image, exif=turned),
        "palette PNG": encode(image.quantize(32), transparency=1),
        "16-bit PNG": encode(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)),
        "WebP": encode(image.convert("RGBA"), "WEBP", exif=turned),
        "GIF": encode(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "BMP": encode(image, "BMP"),
        "palette BMP": encode(image.quantize(16), "BMP"),
        "two views": encode(image, "MPO", save_all=True, append_images=[grey]),
    }


def damaged_files(each: int = 40) -> Iterator[tuple[str, bytes]]:
    """Every honest file cut and with flipped bits: headers, where a flip is a lie, as likely as all the rest."""
    for kind, data in honest_files().items():
        draw = random.Random(kind)
        for number in range(each):
            if number % 2:
                yield f"{kind}, cut {number}", data[: draw.randrange(len(data) // 2)]
                continue
            damaged = bytearray(data)
            for _ in range(draw.choice([1, 4, 64])):
                damaged[draw.randrange(draw.choice([len(data), min(len(data), 200)]))] ^= 1 << draw.randrange(8)
            yield f"{kind}, flipped {number}", bytes(damaged)


def liars() -> Iterator[tuple[str, bytes]]:
    for colour, depth in [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (4, 8), (6, 8), (6, 16), (5, 8), (3, 16)]:
        for width, height in [(0, 1), (1, 2**31 - 1), (4000, 4000), (100_000, 100_000)]:
            yield f"PNG {colour}/{depth} says {width}×{height}", png(width, height, depth, colour, b"")
    yield "GIF with a huge screen", gif_screen(65535, 65535)
    for name in ("JPEG", "WebP", "BMP"):
        data = bytearray(honest_files()[name])
        for place in range(16, 30):  # where the sizes are kept
            data[place] = 0xFF
        yield f"{name} that lies", bytes(data)
    canvas = bytearray(
        encode(Image.new("RGBA", (8, 8)), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    )
    at = canvas.index(b"VP8X") + 12
    canvas[at : at + 6] = (16382).to_bytes(3, "little") * 2
    yield "WebP with a huge canvas", bytes(canvas)


def others() -> Iterator[tuple[str, bytes]]:
    image = smooth(16, 16)
    for kind in ("TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "PDF", "EPS", "DDS"):
        yield kind, encode(image, kind)
    for name, start in {
        "pickle": b"\x80\x04\x95cos\nsystem\n", "zip": b"PK\x03\x04", "ELF": b"\x7fELF", "SVG": b"<svg onload='x()'/>",
        "PostScript": b"%!PS-Adobe-3.0\n", "HTML": b"<html><script>", "HEIC": b"\0\0\0\x18ftypheic", "text": b"a cat",
        "gzip": b"\x1f\x8b\x08", "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n", "nothing": b"", "zeros": bytes(1000),
        "only a JPEG's start": b"\xff\xd8\xff", "only a PNG's start": b"\x89PNG\r\n\x1a\n",
    }.items():  # fmt: skip
        yield name, start + bytes(50) * bool(start)


def bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compress(bytes(10**8))
    yield "zlib bomb in a text", png(1, 1, 8, 2, bytes(4), (b"zTXt", b"a\0\0" + zeros))
    yield "zlib bomb in a profile", png(1, 1, 8, 2, bytes(4), (b"iCCP", b"a\0\0" + zeros))
    yield "zlib bomb in the pixels", png(1, 1, 8, 2, bytes(10**8))
    yield "iCCP of 4.1 MB", png(1, 1, 8, 2, bytes(4), (b"iCCP", b"a\0\0" + zlib.compress(bytes(4_100_000))))
    small = png(1, 1, 8, 2, bytes(4))
    start = small.index(b"IDAT") - 4
    yield "1,600,000 chunks", small[:start] + chunk(b"tEXt", b"") * 1_600_000 + small[start:]
    yield "4,900,000 segments", b"\xff\xd8" + b"\xff\xfe\0\2" * 4_900_000 + honest_files()["JPEG"][2:]
    yield "a run of marker bytes", b"\xff\xd8" + b"\xff" * 19_900_000 + honest_files()["JPEG"][2:]
    yield "170 megapixels in three scans", grey_jpeg(17_000, 10_000, at_once=False)
    yield "10,000 chunks", png(1, 1, 8, 2, bytes(4), *[(b"tEXt", b"a\0b")] * 10_000)
    yield "1,000 scans", scans(2000, 1000)
    yield "50 scans", scans(1000, 50)
    yield "run-length BMP, 16 megapixels", rle_bmp(4000, 4000, b"\1\1" * 5_000_000)
    yield "run-length BMP, one long row", rle_bmp(990_000, 1, b"\1\1\0\0" * 100)
    overlapping = exif(5000, 60_000)
    yield (
        "overlapping EXIF in a JPEG",
        b"\xff\xd8"
        + b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in [overlapping[:65_000]])
        + honest_files()["JPEG"][2:],
    )
    yield "overlapping EXIF in a PNG", png(1, 1, 8, 2, bytes(4), (b"eXIf", exif(60_000, 10_000_000)[6:]))
    yield (
        "1,000 frames",
        encode(
            Image.new("P", (9, 9)),
            "GIF",
            save_all=True,
            append_images=[Image.new("P", (9, 9), n % 250) for n in range(999)],
        ),
    )


def heavy() -> Iterator[tuple[str, bytes]]:
    """As large as is opened, in the ways that take most memory."""
    side, turned = 4470, Image.Exif()
    turned[ORIENTATION] = 6
    yield "RGBA", encode(Image.new("RGBA", (side, side), (9, 99, 3, 40)), compress_level=1, exif=turned)
    yield "palette", encode(Image.new("P", (side, side), 3), compress_level=1, transparency=3, exif=turned)
    yield "16 bits", encode(Image.fromarray(np.full((side, side), 30_000, np.uint16)), compress_level=1, exif=turned)
    yield "RGBA of 16 bits", png(side, side, 16, 6, (b"\0" + bytes(8 * side)) * side)
    yield (
        "progressive",
        encode(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True, subsampling=0, exif=turned),
    )
    yield (
        "progressive, 33 megapixels",
        encode(Image.new("RGB", (6600, 5000), "red"), "JPEG", progressive=True, subsampling=0),
    )
    yield "progressive, inks", encode(Image.new("CMYK", (5000, 4000)), "JPEG", progressive=True, exif=turned)
    yield "40 megapixels in three scans", grey_jpeg(8000, 5000, at_once=False)
    yield "200 megapixels", grey_jpeg(16_320, 12_240)
    profiled = encode(Image.new("CMYK", (side, side)), "JPEG", exif=turned)
    yield "inks with a profile", with_segments(profiled, *profile_segments(cmyk_profile()))
    yield (
        "RGB of 16 bits",
        png(side, side, 16, 2, (b"\0" + bytes(6 * side)) * side, (b"tRNS", bytes(6)), (b"gAMA", b"\0\1\x86\xa0")),
    )
    yield "BMP of 16 bits", bmp(np.zeros((2500, 3990), int), 16, (0xF00, 0xF0, 0xF, 0xF000), 108)
    yield "48 megapixels", encode(Image.new("RGB", (8000, 6000), "red"), "JPEG", exif=turned)
    yield "WebP", encode(Image.new("RGBA", (3460, 3460), (9, 9, 3, 40)), "WEBP", lossless=True, method=0, exif=turned)


def corpus() -> Iterator[tuple[str, bytes]]:
    yield from damaged_files()
    yield from liars()
    yield from others()
    yield from bombs()
    yield from heavy()


def sample() -> dict[str, bytes]:
    """One of each sort that is refused, by its suffix."""
    wanted = {"pickle": "jpg", "SVG": "png", "HTML": "gif", "1,000 scans": "jpg"}
    files = {name: content for name, content in others() if name in wanted} | {"1,000 scans": scans(2000, 1000)}
    files["half"] = honest_files()["JPEG"][:500]
    files["no rows"] = png(32, 32, 8, 2, b"")
    return {f"{name.replace(' ', '-')}.{wanted.get(name, 'jpg')}": content for name, content in files.items()}
