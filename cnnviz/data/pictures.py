"""From an untrusted file to exactly what the network sees: 32×32 pixels, and a note of every step that led to them."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image, ImageChops, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from cnnviz.architectures import IMAGE_SIZE
from cnnviz.data import picture_files, srgb
from cnnviz.data.picture_files import Contents
from cnnviz.data.srgb import Colours
from cnnviz.errors import ConfigError, ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # each further decoder is a further target for attacks
MAX_BYTES = 20_000_000
# Decoding takes up to 13 bytes a pixel with all intermediate copies, 20 for WebP: a picture stays below 300 MB. Larger
# JPEGs, as cameras make them, are decoded at a half or a quarter of their size, which takes no more; only a progressive
# one's coefficients are held at full size all the same.
MAX_PIXELS = 20_000_000
MAX_JPEG_PIXELS = 200_000_000
MAX_JPEG_MEMORY = 250_000_000  # bytes of its coefficients and of its pixels, four each
MAX_WEBP_PIXELS = 12_000_000
MAX_SLOW_PIXELS = 1_000_000  # of run-length coded BMP, which Pillow decodes in Python
MAX_SCANS = 100  # of a progressive JPEG: encoders write about ten, an attacker thousands
FRAMINGS = ("crop", "fit")  # how a picture becomes square: a square of it alone, or all of it on grey
GREY = (128, 128, 128)  # around a picture that does not fill its square: the middle one
# Each new pixel is a weighted mean of the old ones around its centre: of all of those it stands for if the picture
# shrinks, so that none is passed over. It is what torchvision's resize() does with BICUBIC and antialias=True.
RESAMPLING = Image.Resampling.BICUBIC

_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CHANNELS = {"I;16B": 1, "LA;16B": 2, "RGB;16B": 3, "RGBA;16B": 4}  # by what Pillow calls 16 bits a sample
_ROWS = 64  # that are looked at as an array at a time: of all at once, a copy more would be held
_decoding = Lock()  # catch_warnings affects the whole process; and one huge picture at a time is enough


class Square(NamedTuple):
    """A square part of a picture, in its pixels."""

    left: int
    top: int
    side: int

    @classmethod
    def central(cls, size: tuple[int, int]) -> "Square":
        """The largest one, in the middle. size: width and height."""
        side = min(size)
        return cls((size[0] - side) // 2, (size[1] - side) // 2, side)

    def within(self, size: tuple[int, int]) -> "Square":
        """The nearest one that lies in a picture of that width and height.

        >>> Square(-5, 90, 40).within((120, 100))
        Square(left=0, top=60, side=40)
        """
        side = min(max(1, self.side), *size)
        return Square(min(max(0, self.left), size[0] - side), min(max(0, self.top), size[1] - side), side)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom, as Pillow has them."""
        return self.left, self.top, self.left + self.side, self.top + self.side


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, in sRGB, on white, first frame."""

    name: str  # printable, one line; escape it before it becomes Markdown or HTML
    image: Image.Image  # RGB
    format: str  # "JPEG"
    notes: tuple[str, ...] = ()  # what was done to it: ("turned by its EXIF tag",)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.size


@dataclass(frozen=True)
class Prepared:
    """A picture as the network sees it."""

    pixels: Tensor  # uint8 (32, 32, 3)
    note: str  # "1200×800 JPEG, turned by its EXIF tag, centre square of 800, shrunk to 32×32 (antialiased bicubic)"


def open_picture(data: bytes | Path, name: str) -> Picture:
    """Decode the whole file. Raises ImageError, naming the file and the remedy, whatever is wrong with it."""
    name = "".join(c if c.isprintable() else "?" for c in name)[:100] or "the picture"
    content = data if isinstance(data, bytes) else _read(data, name)
    if not content:
        raise ImageError(f"{name} is empty: save or upload it again")
    if len(content) > MAX_BYTES:
        raise ImageError(f"{name} is larger than the {MAX_BYTES // 10**6} MB cnnviz opens: shrink it first")
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked below
        try:
            return _decode(content, name)
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not a JPEG, PNG, WebP, GIF or BMP picture: save it as PNG or JPEG") from error
        except Image.DecompressionBombError as error:
            raise _too_large(name, MAX_PIXELS) from error
        except Exception as error:  # damaged files make Pillow raise nearly anything: SyntaxError, struct.error, …
            raise _damaged(name, " ".join(str(error).split())[:100] or type(error).__name__) from error


def prepare(picture: Picture, framing: str = "crop", square: Square | None = None) -> Prepared:
    """The network's 32×32 pixels of a square of the picture ("crop"), or of all of it on a grey square ("fit").

    square: by default the largest in the middle. A square of 32×32 pixels keeps every byte. Raises ConfigError for a
    framing that is not among FRAMINGS, and for a square that is not within the picture.
    """
    if framing not in FRAMINGS:
        raise ConfigError(f"framing {framing!r} is not known: choose one of {', '.join(FRAMINGS)}")
    width, height = picture.size
    central = Square.central(picture.size)
    crop = square or central
    if crop != crop.within(picture.size):
        raise ConfigError(f"{crop} is not within a picture of {width}×{height} pixels: choose one that is")
    side = crop.side if framing == "crop" else max(width, height)
    image, steps = picture.image, [f"{width}×{height} {picture.format}", *picture.notes]
    if framing == "crop" and crop.box != (0, 0, width, height):
        image = image.crop(crop.box)
        where = f"centre square of {side}" if crop == central else f"square of {side} at {crop.left}, {crop.top}"
        steps.append(where)
    elif width != height:
        steps.append(f"all of it, on a grey square of {side}")
    if side != IMAGE_SIZE:
        way = "shrunk to {0}×{0} (antialiased bicubic)" if side > IMAGE_SIZE else "enlarged to {0}×{0} (bicubic)"
        steps.append(way.format(IMAGE_SIZE))
    elif not picture.notes:
        steps.append("every pixel as it is")
    pixels = torch.from_numpy(np.array(_on_square(image)))
    return Prepared(pixels, ", ".join(steps))


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror or error}): choose another file") from error


def _decode(content: bytes, name: str) -> Picture:
    contents = picture_files.read(content)
    if contents.scans > MAX_SCANS:
        raise ImageError(f"{name} is a JPEG of more than {MAX_SCANS} scans: save it as PNG")
    image = _open(contents.file)
    shown_format = str(image.format).replace("WEBP", "WebP")
    notes = [*_bounded(image, contents, name), *contents.notes]
    if image.format in ("GIF", "WEBP"):
        notes += ["first frame"] * _is_animated(contents.file)
        orientation = picture_files.orientation(image.info.get("exif", b""))
        contents = replace(contents, orientation=orientation, colours=Colours(image.info.get("icc_profile")))
    covered = image.tile[0].extents if image.format == "GIF" else None  # a frame may leave some of the screen clear
    if contents.depth == 16:
        colour, alpha, steps = _of_sixteen_bits(image, contents)
    else:
        image.load()
        if contents.otherwise is not None:
            _check_end(image, contents, name)
        colour, alpha, steps = _of_eight_bits(image, contents)
    del image
    if covered and covered != (0, 0, *colour.size):
        inside = Image.new("L", colour.size)
        inside.paste(255, covered)
        alpha = ImageChops.darker(alpha, inside) if alpha else inside
    if alpha and alpha.getextrema() != (255, 255):
        canvas = Image.new("RGB", colour.size, "white")
        canvas.paste(colour, mask=alpha)
        colour = canvas
        steps.append("transparency on white")
    if contents.orientation in _UPRIGHT:
        colour = colour.transpose(_UPRIGHT[contents.orientation])
        steps.append("turned by its EXIF tag")
    return Picture(name, colour, shown_format, (*notes, *steps))


def _open(file: bytes) -> ImageFile:
    if file.startswith(b"\xff\xd8"):
        return JpegImageFile(io.BytesIO(file))  # Image.open() would refuse more than 179 megapixels
    return cast(ImageFile, Image.open(io.BytesIO(file), formats=FORMATS))


def _bounded(image: ImageFile, contents: Contents, name: str) -> list[str]:
    """Refuse what would take too much memory or time, or have it decoded smaller if that avoids it; notes of that."""
    width, height = image.size
    most = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_JPEG_PIXELS if image.format == "JPEG" else MAX_PIXELS
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        most = MAX_SLOW_PIXELS
    if width * height > most:
        raise _too_large(name, most)
    if image.format != "JPEG":
        return []
    for divisor in (1, 2, 4):
        pixels = width * height // divisor**2
        if pixels <= MAX_PIXELS and contents.coefficients + 4 * pixels <= MAX_JPEG_MEMORY:
            break
    else:
        size = f"{width}×{height} pixels in several scans"
        raise ImageError(f"{name} is a JPEG of {size}, too large to decode: save it as baseline JPEG")
    if divisor == 1:
        return []
    image.draft(image.mode, (width // divisor, height // divisor))
    return [f"decoded at {image.width}×{image.height} instead of {width}×{height}"]


def _is_animated(file: bytes) -> bool:
    with contextlib.suppress(Exception):  # whatever is wrong with what follows the first frame
        return bool(getattr(_open(file), "is_animated", False))
    return False


def _check_end(image: Image.Image, contents: Contents, name: str) -> None:
    """Refuse a JPEG whose last pixels are missing: those that would be others if other data followed."""
    other = _open(contents.otherwise or b"")
    _bounded(other, contents, name)
    other.load()
    if any(image.crop(box).tobytes() != other.crop(box).tobytes() for box in _bands(image)):
        raise _damaged(name, "its end is missing")


def _of_eight_bits(image: ImageFile, contents: Contents) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """A loaded picture's colours in sRGB, its opacity if it may have any, and notes of what was converted."""
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    if contents.clear is not None:
        image.info["transparency"] = contents.clear if mode == "RGB" else contents.clear[0]
    colours, notes = srgb.usable(contents.colours, mode)
    if mode == "CMYK" and not colours.profile:
        notes.append("CMYK turned to RGB")
    colour, alpha = cast(Image.Image, image), None
    if image.has_transparency_data:
        colour = colour.convert("LA" if mode == "L" else "RGBA")
        alpha = colour.getchannel("A")
    if colour.mode != mode:
        colour = colour.convert(mode)
    return srgb.converted(colour, colours), alpha, notes


def _of_sixteen_bits(image: ImageFile, contents: Contents) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """The same for a PNG of 16 bits a sample, which is not loaded yet."""
    channels = _CHANNELS[str(image.tile[0].args)]
    mode, count = ("L", 1) if channels < 3 else ("RGB", 3)
    colours, notes = srgb.usable(contents.colours, mode)
    shown, opacity = srgb.levels(colours, 65535), srgb.levels(Colours(), 65535)
    colour, alpha = Image.new(mode, image.size), None
    if channels > count or contents.clear is not None:
        alpha = Image.new("L", image.size, 255)
    for box, samples in _samples(image, contents.file):
        colour.paste(_image(shown(samples[..., :count])), box)
        if alpha and channels > count:
            alpha.paste(_image(opacity(samples[..., count:])), box)
        elif alpha:
            alpha.paste(0, box, _image(np.uint8(255) * (samples == contents.clear).all(-1, keepdims=True)))
    return srgb.converted(colour, Colours(colours.profile)), alpha, ["16 bits rounded to 8", *notes]


def _samples(image: ImageFile, file: bytes) -> Iterator[tuple[tuple[int, int, int, int], np.ndarray]]:
    """16 bits a sample, (rows, width, channels), some rows at a time with the box they fill.

    Pillow keeps the high bytes alone, except of greys. Read as if they were little-endian, the low ones are high.
    """
    tile = image.tile[0]
    if tile.args == "LA;16B":
        image.tile = [tile._replace(args="RGBA")]  # four bytes a pixel, as they are
    image.load()
    low = None
    if tile.args in ("RGB;16B", "RGBA;16B"):
        low = _open(file)
        low.tile = [low.tile[0]._replace(args=tile.args.replace(";16B", ";16L"))]
        low.load()
    for box in _bands(image):
        values = np.asarray(image.crop(box))
        if low is not None:
            values = 256 * values.astype(np.uint16) + np.asarray(low.crop(box))
        elif tile.args == "LA;16B":
            values = values.view(">u2")
        yield box, values.reshape(*values.shape[:2], -1)


def _image(values: np.ndarray) -> Image.Image:
    """uint8 (height, width, 3) or (height, width, 1)"""
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of some rows each that make up the whole picture."""
    for top in range(0, image.height, _ROWS):
        yield 0, top, image.width, min(top + _ROWS, image.height)


def _too_large(name: str, most: int) -> ImageError:
    return ImageError(f"{name} has more than the {most // 10**6} megapixels cnnviz opens: shrink it first")


def _damaged(name: str, reason: str) -> ImageError:
    return ImageError(f"{name} is damaged or cut short ({reason}): download or export it again")


def _on_square(image: Image.Image) -> Image.Image:
    """The picture scaled until its longer side is IMAGE_SIZE, in the middle of a grey square."""
    longer = max(image.size)
    width, height = (max(1, round(length * IMAGE_SIZE / longer)) for length in image.size)
    scaled = image.resize((width, height), RESAMPLING)
    if width == height:
        return scaled
    square = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), GREY)
    square.paste(scaled, ((IMAGE_SIZE - width) // 2, (IMAGE_SIZE - height) // 2))
    return square
