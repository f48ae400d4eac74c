"""Ten kinds of shapes, drawn as 32×32 RGB pictures, the same bytes everywhere. Needs NumPy alone.

Each picture shows one shape near its centre, sharp or faded, of any colour, on a cluttered background. A shape of
another kind, and often a bar, partly covers it; lighting is uneven and pixels are noisy. All kinds have the same
distribution of colours and backgrounds, so that a network has to learn the form. Some training pictures are labelled as
the other shape, as human labels sometimes are wrong: memorising those is what makes a network overfit.

Shapes are signed distance functions (as in Inigo Quilez' "2D distance functions"). Random numbers are raw PCG64 draws,
arithmetic is IEEE's + - × ÷ √ on float32 one operation at a time: nothing that may differ between machines.

An exported script has a copy of what follows: it imports nothing of cnnviz, and stays so.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

VERSION = 1  # of the recipe: raised by any change that alters a byte
SIDE = 32  # pixels
CHUNK = 100  # pictures drawn at a time, ten of each kind: their arrays fit the processor's cache
MISTAKEN = 0.15  # share of the training labels that are wrong
DARK_SHAPES = 0.1  # share of the shapes that are darker than their ground
BARS = 0.5  # share of the pictures with a bar across

Array = np.ndarray

_TURNS = np.linspace(0, 2 * np.pi, 256, endpoint=False)
_COS, _SIN = (np.round(wave(_TURNS), 6).astype(np.float32) for wave in (np.cos, np.sin))
_Y, _X = (axis.reshape(-1).astype(np.float32) for axis in np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)


# -- kinds: (u, v) in units of the shape's size → signed distance, negative inside ----------------


def _box(u: Array, v: Array, width: float, height: float) -> Array:
    return np.maximum(abs(u) - width, abs(v) - height)


def _radius(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v)


def _wave(u: Array, period: float) -> Array:
    """Distance to the nearest of the bands that cover every other half period."""
    phase = u / period
    return (abs(phase - np.floor(phase) - 0.5) - 0.25) * period


def _sides(u: Array, v: Array, count: int) -> Iterator[Array]:
    """Distances, from the centre, along the normals of a regular polygon's sides."""
    for turn in range(count):
        index = turn * 256 // count
        yield u * _COS[index] + v * _SIN[index]


def _triangle(u: Array, v: Array) -> Array:
    first, second, third = _sides(u, v, 3)
    return np.maximum(np.maximum(first, second), third) - 0.6


def _star(u: Array, v: Array) -> Array:
    """A pentagram: inside all five sides but one, so the second largest distance decides."""
    sides = _sides(u, v, 5)
    largest = next(sides)
    second = np.full_like(largest, -np.inf)
    for side in sides:
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return second - 0.37


def _checks(u: Array, v: Array) -> Array:
    first, second = _wave(u, 1.2), _wave(v, 1.2)
    either = np.maximum(np.minimum(first, second), -np.maximum(first, second))
    return np.maximum(either, _box(u, v, 0.9, 0.9))


def _dots(u: Array, v: Array) -> Array:
    fu, fv = u / 0.7, v / 0.7
    dots = (_radius(fu - np.floor(fu) - 0.5, fv - np.floor(fv) - 0.5) - 0.36) * 0.7
    return np.maximum(dots, _radius(u, v) - 1.1)


KINDS: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda u, v: _radius(u, v) - 0.8,
    "ring": lambda u, v: abs(_radius(u, v) - 0.75) - 0.22,
    "triangle": _triangle,
    "square": lambda u, v: _box(u, v, 0.7, 0.7),
    "cross": lambda u, v: np.minimum(_box(u, v, 1.0, 0.3), _box(u, v, 0.3, 1.0)),
    "star": _star,
    "crescent": lambda u, v: np.maximum(_radius(u, v) - 0.95, 0.75 - _radius(u - 0.5, v)),
    "stripes": lambda u, v: np.maximum(_wave(u, 0.55), _box(u, v, 1.0, 0.9)),
    "checks": _checks,
    "dots": _dots,
}
CLASSES = tuple(KINDS)


# -- pictures ------------------------------------------------------------------------------------


class _Dice:
    """The random numbers of one chunk, one row for each picture."""

    def __init__(self, rows: int, *seed: int) -> None:
        self.rows, self.bits = rows, np.random.PCG64(seed)

    def raw(self, count: int) -> Array:
        return self.bits.random_raw(count)

    def between(self, low: float, high: float, each: int = 1) -> Array:
        """Uniform, float32 (rows, each)."""
        share = (self.raw(self.rows * each) >> np.uint64(40)).astype(np.float32) / 2**24
        return (share * (high - low) + low).reshape(self.rows, each)

    def below(self, bound: int) -> Array:
        """Whole numbers from 0, int64 (rows,)."""
        return (self.raw(self.rows) % np.uint64(bound)).astype(np.int64)

    def colour(self, light: Array) -> Array:
        """A colour of about that lightness, (rows, 1) in 0…1: float32 (rows, 3, 1)."""
        return (light * 0.8 + 0.1 + self.between(-0.22, 0.22, each=3))[:, :, None]

    def turn(self, most: int = 128) -> tuple[Array, Array]:
        """Cosine and sine, (rows, 1), of an angle of up to `most` 256ths of a circle in either direction."""
        index = (self.below(2 * most) - most)[:, None]
        return _COS[index], _SIN[index]


def _place(
    dice: _Dice, reach: float, sizes: tuple[float, float], slimmest: float = 1, most: int = 128
) -> tuple[Array, Array, Array]:
    """Every pixel in a shape's own coordinates, u and v (n, 1024), and the length of their unit in pixels, (n, 1).

    The shape lies at most `reach` pixels off the centre, horizontally and vertically, and is turned by up to `most`
    256ths of a circle.
    """
    size, slimness, (cos, sin) = dice.between(*sizes), dice.between(slimmest, 1), dice.turn(most)
    x, y = _X - dice.between(-reach, reach), _Y - dice.between(-reach, reach)
    unit = size * slimness
    return x * (cos / size) + y * (sin / size), y * (cos / unit) - x * (sin / unit), unit


def _cover(distance: Array, unit: Array) -> Array:
    """Share of each pixel that the shape covers: its edge is a pixel wide."""
    return np.clip(0.5 - distance * unit, 0, 1)


def _cover_by_kind(kinds: Array, u: Array, v: Array, unit: Array) -> Array:
    cover = np.empty_like(u)
    for kind, distance in enumerate(KINDS.values()):
        rows = np.flatnonzero(kinds == kind)
        cover[rows] = _cover(distance(u[rows], v[rows]), unit[rows])
    return cover


def _paint(picture: Array, cover: Array, colour: Array) -> None:
    blend = colour - picture
    blend *= cover[:, None]
    picture += blend


def _backdrop(dice: _Dice, light: Array) -> Array:
    """A colour gradient, faint ripples and two ellipses: float32 (n, 3, 1024)."""
    slope = dice.between(-0.012, 0.012, each=6)[:, :, None]
    picture = dice.colour(light) + slope[:, :3] * _X + slope[:, 3:] * _Y
    u, _, _ = _place(dice, 16, (3, 9))
    picture += (_wave(u, 1) * dice.between(-0.25, 0.25))[:, None]
    for _ in range(2):
        u, v, unit = _place(dice, 16, (2, 6), slimmest=0.3)
        _paint(picture, _cover(_radius(u, v) - 1, unit), dice.colour(dice.between(0, 1)))
    return picture


def _photograph(dice: _Dice, picture: Array) -> Array:
    """The picture in uneven light, with noise, as uint8 (n, 32, 32, 3)."""
    cos, sin = dice.turn()
    picture *= ((_X * cos + _Y * sin) * dice.between(0, 0.03) + dice.between(0.7, 1.1))[:, None]
    grain = dice.raw(picture.size // 8).astype("<u8").view(np.uint8).reshape(picture.shape).astype(np.float32)
    grain -= 127.5
    grain *= dice.between(0.02, 0.2)[:, :, None] / 255
    picture += grain
    picture *= 255
    pixels = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    return pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _chunk(mistaken: float, *seed: int) -> tuple[Array, Array]:
    """CHUNK pictures, ten of each kind, and their labels, of which the share `mistaken` are the other shape's."""
    dice = _Dice(CHUNK, *seed)
    kinds = np.argsort(dice.raw(CHUNK), kind="stable") % len(KINDS)
    others = (kinds + 1 + dice.below(len(KINDS) - 1)) % len(KINDS)
    dark = dice.between(0, 0.55)
    light = dark + dice.between(0.25, 0.55)
    is_dark = dice.between(0, 1) < DARK_SHAPES
    picture = _backdrop(dice, np.where(is_dark, light, dark))

    u, v, unit = _place(dice, 2, (8, 12), slimmest=0.8, most=12)
    fading = dice.between(0, 1)
    cover = _cover_by_kind(kinds, u, v, unit) * (1 - fading * fading)
    _paint(picture, cover, dice.colour(np.where(is_dark, dark, light)))

    u, v, unit = _place(dice, 9, (2.5, 11), slimmest=0.6)
    _paint(picture, _cover_by_kind(others, u, v, unit), dice.colour(dice.between(0, 1)))

    u, _, unit = _place(dice, 12, (1, 2.5))
    bar = _cover(abs(u) - 1, unit) * (dice.between(0, 1) < BARS)
    _paint(picture, bar, dice.colour(dice.between(0, 1)))

    labels = np.where(dice.between(0, 1)[:, 0] < mistaken, others, kinds)
    return _photograph(dice, picture), labels


def draw(split: str, count: int, on_progress: Callable[[str, float], None] | None = None) -> tuple[Array, Array]:
    """The first count pictures of a split ("train", "test"): uint8 (count, 32, 32, 3), and labels, int64 (count,).

    on_progress is called with what is being done and the fraction that is done, 0…1.
    """
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    index, mistaken = {"train": (0, MISTAKEN), "test": (1, 0.0)}[split]
    starts = range(0, count, CHUNK)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets go of the interpreter
        drawn = pool.map(lambda start: _chunk(mistaken, VERSION, index, start // CHUNK), starts)
        for start, (pixels, names) in zip(starts, drawn, strict=True):
            stop = min(start + CHUNK, count)
            images[start:stop], labels[start:stop] = pixels[: stop - start], names[: stop - start]
            if on_progress:
                on_progress(f"drawing the {split}ing pictures", stop / count)
    return images, labels
