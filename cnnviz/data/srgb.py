"""From a picture's own colours to sRGB, in which browsers show it and the network's training pictures are.

Colour profiles are applied by Little CMS. What a PNG's chunks say is applied here, as its specification has it
(Portable Network Graphics, Third Edition, W3C 2025, sections 11.3.2 and 13.13) and as Chromium reads it.
sRGB: IEC 61966-2-1.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageCms

# x and y of white, red, green and blue
SRGB = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
DISPLAY_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)

_ROWS = 64  # converted at a time: intermediate values take up to 40 bytes a pixel
_INPUTS = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # what a profile calls the colours of Pillow's modes
_D50 = np.array([0.9642, 1.0, 0.8249])  # XYZ of the white in which colours meet
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Colours:
    """What a file says of its colours. If it says nothing, they are sRGB; a profile outranks the rest."""

    profile: bytes | None = None  # ICC.1
    gamma: float | None = None  # samples are light to the power of this: 0.45455. None: sRGB's own curve
    primaries: tuple[float, ...] | None = None  # x and y of white, red, green and blue. None: sRGB's
    unknown: str = ""  # says something that is not understood: "cICP"


def usable(colours: Colours, mode: str) -> tuple[Colours, list[str]]:
    """What of it is to be applied to a picture of mode L, RGB or CMYK, and notes of that and of what is ignored."""
    notes = []
    if colours.profile is not None:
        try:
            transform, name = _transform(colours.profile, mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("broken colour profile ignored")
        else:
            if transform is None:
                return Colours(), [f"colour profile for {name} ignored"]
            if _is_srgb(transform):
                return Colours(), []
            return Colours(colours.profile), [f"colours converted from {name} to sRGB"]
    if colours.unknown:
        return Colours(), [*notes, f"{colours.unknown} colours taken for sRGB"]
    gamma, primaries = colours.gamma, colours.primaries
    if primaries is not None and _to_srgb(primaries) is None:
        return Colours(), [*notes, "impossible primaries ignored"]
    if gamma is not None and primaries is None and abs(2.2 * gamma - 1) <= 0.05:
        gamma = None  # an ordinary screen is meant, which is sRGB
    said = ([] if gamma is None else [f"gamma {gamma:.5g}"]) + ([] if primaries is None else ["its own primaries"])
    if said:
        notes.append(f"colours converted from {' and '.join(said)} to sRGB")
    return Colours(None, gamma, primaries), notes


def converted(image: Image.Image, colours: Colours) -> Image.Image:
    """The picture, mode L, RGB or CMYK, in sRGB, mode RGB; colours: usable ones. The image given may be changed."""
    if colours.profile is not None:
        transform, _ = _transform(colours.profile, image.mode)
        assert transform is not None
        if image.mode != transform.input_mode:
            image = image.convert(transform.input_mode)
        return transform.apply_in_place(image) if image.mode == "RGB" else transform.apply(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if colours != Colours():
        shown = levels(colours, 255)
        for top in range(0, image.height, _ROWS):
            box = (0, top, image.width, min(top + _ROWS, image.height))
            image.paste(Image.fromarray(shown(np.asarray(image.crop(box)))), box)
    return image


def levels(colours: Colours, most: int) -> Callable[[np.ndarray], np.ndarray]:
    """From samples 0…most, (…, 3) or (…, 1) of greys, to uint8 in sRGB; a profile is left out."""
    samples = np.arange(most + 1) / most
    if colours.gamma is None and colours.primaries is None:
        return np.floor(255 * samples + 0.5).astype(np.uint8).__getitem__
    light = _light(samples) if colours.gamma is None else samples ** (1 / colours.gamma)
    of_greys = _samples(light)
    matrix = None if colours.primaries is None else _to_srgb(colours.primaries)
    if matrix is None:
        return of_greys.__getitem__
    of_light, light = _samples(np.arange(65536) / 65535), light.astype(np.float32)

    def mixed(values: np.ndarray) -> np.ndarray:
        if values.shape[-1] == 1:
            return of_greys[values]
        return of_light[(65535 * (light[values] @ matrix.T).clip(0, 1) + 0.5).astype(np.uint16)]

    return mixed


def _light(samples: np.ndarray) -> np.ndarray:
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def _samples(light: np.ndarray) -> np.ndarray:
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.floor(255 * coded + 0.5).astype(np.uint8)


def _to_srgb(primaries: tuple[float, ...]) -> np.ndarray | None:
    """From light in these primaries to light in sRGB's, float32 (3, 3); None if no light has such primaries."""
    if min(primaries[1::2]) <= 0:
        return None
    try:
        return (np.linalg.inv(_to_xyz(SRGB)) @ _to_xyz(primaries)).astype(np.float32)
    except np.linalg.LinAlgError:
        return None


def _to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """From light to XYZ, adapted to D50 by Bradford's matrix (ICC.1:2010, annex E)."""
    x, y = np.array(primaries[::2]), np.array(primaries[1::2])
    white, *lights = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    mixed = np.stack(lights, 1)
    mixed *= np.linalg.solve(mixed, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    return adapted @ mixed


def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """From the profile to sRGB, None if it is for other pictures than those of this mode; and the profile's name.

    Raises PyCMSError, OSError or ValueError for a broken profile.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if _INPUTS.get(space) != mode and (space, mode) != ("RGB", "L"):
        return None, space
    name = "".join(c for c in source.profile.profile_description or "" if c.isprintable()).strip()[:60]
    # Optimised, Little CMS is a level off for three curves and a matrix, but ten for one curve and thirty for inks.
    exact = space == "RGB" and source.profile.is_matrix_shaper
    flags = ImageCms.Flags.NONE if exact else ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(source, _srgb(), _INPUTS[space], "RGB", ImageCms.Intent.PERCEPTUAL, flags)
    return transform, name or "its colour profile"


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    """sRGB as a profile of version 2: for one of version 4, Little CMS would make the darkest ink black."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[8] = 2
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether it changes no colour by more than the one level by which two sRGB profiles may differ."""
    if transform.input_mode == "CMYK":
        return False
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    probe = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    if transform.input_mode == "L":
        probe = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, 2)
    given = Image.fromarray(probe[..., 0] if transform.input_mode == "L" else probe)
    return int(np.abs(np.asarray(transform.apply(given)).astype(int) - probe).max()) <= 1
