"""From an untrusted file to exactly what the network sees: 32×32 pixels, and a note of every step that led to them.

Colour profiles are ignored.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnviz.architectures import IMAGE_SIZE
from cnnviz.errors import ConfigError, ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # each further decoder is a further target for attacks
MAX_BYTES = 20_000_000
# Decoding takes up to 13 bytes a pixel with all intermediate copies, 20 for WebP: a picture stays below 300 MB. Larger
# JPEGs, as cameras make them, are decoded at a half or a quarter of their size, which takes no more.
MAX_PIXELS = 20_000_000
MAX_JPEG_PIXELS = 200_000_000
MAX_WEBP_PIXELS = 12_000_000
MAX_SLOW_PIXELS = 1_000_000  # of run-length coded BMP, which Pillow decodes in Python
MAX_SCANS = 100  # of a progressive JPEG: encoders write about ten, an attacker thousands
SHOWN = 512  # pixels a side of the square that is shown, at most
FRAMINGS = ("crop", "fit")  # how a picture becomes square: its middle alone, or all of it on grey
GREY = (128, 128, 128)  # around a picture that does not fill its square: 0 once normalised

_ORIENTATION = ExifTags.Base.Orientation
_decoding = Lock()  # catch_warnings affects the whole process; and one huge picture at a time is enough


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, RGB, first frame."""

    name: str  # printable, one line; escape it before it becomes Markdown or HTML
    image: Image.Image
    format: str  # "JPEG"
    notes: tuple[str, ...] = ()  # what was done to it: ("turned by its EXIF tag",)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.size


@dataclass(frozen=True)
class Prepared:
    """A picture as the network sees it."""

    square: Image.Image  # what was scaled to 32×32 pixels, for display: at most SHOWN pixels a side
    pixels: Tensor  # uint8 (32, 32, 3)
    note: str  # "1200×800 JPEG, turned by its EXIF tag, centre square of 800, shrunk to 32×32 (area averaging)"


def open_picture(data: bytes | Path, name: str) -> Picture:
    """Decode the whole file. Raises ImageError, naming the file and the remedy, whatever is wrong with it."""
    name = "".join(c if c.isprintable() else "?" for c in name)[:100] or "the picture"
    content = data if isinstance(data, bytes) else _read(data, name)
    if not content:
        raise ImageError(f"{name} is empty: save or upload it again")
    if len(content) > MAX_BYTES:
        raise ImageError(f"{name} is larger than the {MAX_BYTES // 10**6} MB cnnviz opens: shrink it first")
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked below, broken EXIF data does no harm
        try:
            return _decode(content, name)
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not a JPEG, PNG, WebP, GIF or BMP picture: save it as PNG or JPEG") from error
        except Image.DecompressionBombError as error:
            raise _too_large(name, MAX_PIXELS) from error
        except Exception as error:  # damaged files make Pillow raise nearly anything: SyntaxError, struct.error, …
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise ImageError(f"{name} is damaged or cut short ({reason}): download or export it again") from error


def prepare(picture: Picture, framing: str = "crop") -> Prepared:
    """The network's 32×32 pixels of the picture's centre square ("crop"), or of all of it on a grey square ("fit").

    A picture of 32×32 pixels keeps every byte. Raises ConfigError for a framing that is not among FRAMINGS.
    """
    if framing not in FRAMINGS:
        raise ConfigError(f"framing {framing!r} is not known: choose one of {', '.join(FRAMINGS)}")
    width, height = picture.size
    side = min(width, height) if framing == "crop" else max(width, height)
    image, steps = picture.image, [f"{width}×{height} {picture.format}", *picture.notes]
    if width != height and framing == "crop":
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        steps.append(f"centre square of {side}")
    elif width != height:
        steps.append(f"all of it, on a grey square of {side}")
    steps.append(
        f"shrunk to {IMAGE_SIZE}×{IMAGE_SIZE} (area averaging)"
        if side > IMAGE_SIZE
        else f"enlarged to {IMAGE_SIZE}×{IMAGE_SIZE} (bicubic)"
        if side < IMAGE_SIZE
        else "every pixel as it is"
    )
    pixels = torch.from_numpy(np.array(_on_square(image, IMAGE_SIZE)))
    return Prepared(_on_square(image, min(side, SHOWN)), pixels, ", ".join(steps))


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror or error}): choose another file") from error


def _decode(content: bytes, name: str) -> Picture:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        notes = _check_size(image, content, name)
        if getattr(image, "is_animated", False):
            notes.append("first frame")
        image.load()
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        if turned:
            ImageOps.exif_transpose(image, in_place=True)
            notes.append("turned by its EXIF tag")
        rgb, steps = _to_rgb(image)
        shown_format = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a phone's JPEG with a second view
        return Picture(name, rgb, shown_format.replace("WEBP", "WebP"), (*notes, *steps))


def _check_size(image: Image.Image, content: bytes, name: str) -> list[str]:
    """Refuse what would take too much memory or time, or have it decoded smaller if that avoids it; notes of that."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        if content.count(b"\xff\xda") > MAX_SCANS:  # no such bytes occur in coded data
            raise ImageError(f"{name} is a JPEG of more than {MAX_SCANS} scans: save it as PNG")
        baseline = "progressive" not in image.info  # else all of it is held at once
        if MAX_PIXELS < pixels <= MAX_JPEG_PIXELS and baseline:
            halves = 2 if pixels <= 4 * MAX_PIXELS else 4
            was = image.size
            image.draft(image.mode, (image.width // halves, image.height // halves))
            if image.width * image.height <= MAX_PIXELS:
                return [f"decoded at {image.width}×{image.height} instead of {was[0]}×{was[1]}"]
    most = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        most = MAX_SLOW_PIXELS
    if pixels > most:
        raise _too_large(name, most)
    return []


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture in RGB on white, and notes of what was converted."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip at 255
        values, steps = np.asarray(image), ["16 bits scaled to 8"]
        grey = np.empty(values.shape, np.uint8)
        clear = image.info.get("transparency")
        for rows in range(0, len(values), 64):  # 64 rows at a time: the intermediate values take twelve bytes a pixel
            band = values[rows : rows + 64].astype(np.int64)
            grey[rows : rows + 64] = (band.clip(0, 65535) + 128) // 257
            if clear is not None:
                grey[rows : rows + 64][band == clear] = 255
        return Image.fromarray(grey).convert("RGB"), [*steps, *["transparency on white"] * (clear is not None)]
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            canvas = Image.new("RGB", image.size, "white")
            canvas.paste(image, mask=alpha)
            return canvas, ["transparency on white"]
    return image.convert("RGB"), ["CMYK turned to RGB"] if image.mode == "CMYK" else []


def _too_large(name: str, most: int) -> ImageError:
    return ImageError(f"{name} has more than the {most // 10**6} megapixels cnnviz opens: shrink it first")


def _on_square(image: Image.Image, side: int) -> Image.Image:
    """The picture scaled until its longer side is `side`, in the middle of a grey square."""
    longer = max(image.size)
    width, height = (max(1, round(length * side / longer)) for length in image.size)
    # A box filter that shrinks is the mean over the area each new pixel covers.
    resample = Image.Resampling.BOX if longer > side else Image.Resampling.BICUBIC
    scaled = image.resize((width, height), resample)
    if width == height:
        return scaled
    square = Image.new("RGB", (side, side), GREY)
    square.paste(scaled, ((side - width) // 2, (side - height) // 2))
    return square
