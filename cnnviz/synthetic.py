"""A stand-in for CIFAR-10 that is drawn, not fetched: ten kinds of shapes, 32×32 RGB, the same bytes on every platform.

Each picture shows one shape in any place, size, turn and colour, before clutter and a smaller shape of another kind,
behind a bar now and then, badly lit and noisy. Colours, sizes and surroundings are the same for all kinds, so that a
network has to look at the form.

Shapes are signed distance functions (as in Inigo Quilez' "2D distance functions"). Random numbers are raw PCG64 draws,
arithmetic is IEEE's + - × ÷ √ on float32 one operation at a time: nothing that may differ between machines.
"""

from collections.abc import Callable, Iterator

import numpy as np

from cnnviz.models import IMAGE_SIZE

VERSION = 1  # of the recipe; whatever changes a byte must raise it
CHUNK = 100  # pictures drawn at a time, 20 of each kind; their arrays then fit the cache

Array = np.ndarray
Progress = Callable[[str, float], None]

_TURNS = np.linspace(0, 2 * np.pi, 256, endpoint=False)
_COS, _SIN = (np.round(wave(_TURNS), 6).astype(np.float32) for wave in (np.cos, np.sin))
_Y, _X = (axis.reshape(-1).astype(np.float32) for axis in np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] - (IMAGE_SIZE - 1) / 2)


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
    """Random numbers of one chunk, (n, 1) at a time unless told otherwise."""

    def __init__(self, n: int, *seed: int) -> None:
        self.n, self.bits = n, np.random.PCG64(seed)

    def raw(self, count: int) -> Array:
        return self.bits.random_raw(count)

    def between(self, low: float, high: float, each: int = 1) -> Array:
        """float32 (n, each), uniform."""
        share = (self.raw(self.n * each) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        return (share * np.float32(high - low) + np.float32(low)).reshape(self.n, each)

    def order(self) -> Array:
        return np.argsort(self.raw(self.n), kind="stable")

    def turn(self, most: int = 128) -> tuple[Array, Array]:
        """Cosine and sine of an angle, at most that many 256ths of a circle either way."""
        index = ((self.raw(self.n) % np.uint64(2 * most)).astype(np.int64) - most)[:, None]
        return _COS[index], _SIN[index]


def _place(
    dice: _Dice, reach: float, small: float, large: float, slim: float, most: int = 128
) -> tuple[Array, Array, Array]:
    """The pixels as a shape's own (u, v), each (n, 1024), and the size of its unit in pixels, (n, 1)."""
    size, slimness, (cos, sin) = dice.between(small, large), dice.between(slim, 1), dice.turn(most)
    x, y = _X - dice.between(-reach, reach), _Y - dice.between(-reach, reach)
    return (x * cos + y * sin) / size, (y * cos - x * sin) / (size * slimness), size * slimness


def _cover(distance: Array, unit: Array) -> Array:
    """Share of each pixel that the shape covers: an edge is one pixel wide."""
    return np.clip(0.5 - distance * unit, 0, 1)


def _cover_by_kind(kinds: Array, u: Array, v: Array, unit: Array) -> Array:
    cover = np.empty_like(u)
    for index, distance in enumerate(KINDS.values()):
        these = np.flatnonzero(kinds == index)
        cover[these] = _cover(distance(u[these], v[these]), unit[these])
    return cover


def _colour(dice: _Dice, light: Array) -> Array:
    """(n, 3, 1): a colour about as light as that."""
    return (light * 0.8 + 0.1 + dice.between(-0.22, 0.22, each=3))[:, :, None]


def _paint(picture: Array, cover: Array, colour: Array) -> None:
    blend = colour - picture
    blend *= cover[:, None]
    picture += blend


def _chunk(*seed: int) -> tuple[Array, Array]:
    """CHUNK pictures, uint8 (n, 32, 32, 3), and their labels, int64 (n,): as many of each kind."""
    dice = _Dice(CHUNK, *seed)
    labels = dice.order() % len(KINDS)
    light = dice.between(0, 1)
    # Half a turn of the scale at most, either way: dark on light and light on dark are equally common.
    shape_light = np.mod(light + dice.between(0.25, 0.75), np.float32(1))

    slope = dice.between(-0.012, 0.012, each=6).reshape(-1, 6, 1)
    picture = _colour(dice, light) + slope[:, :3] * _X + slope[:, 3:] * _Y
    u, _, unit = _place(dice, 16, 3, 9, 1)
    picture += (_wave(u, 1.0) * dice.between(-0.4, 0.4))[:, None]
    for _ in range(2):
        u, v, unit = _place(dice, 16, 2, 6, 0.3)
        _paint(picture, _cover(_radius(u, v) - 1, unit), _colour(dice, dice.between(0, 1)))
    others = (labels + 1 + (dice.raw(CHUNK) % np.uint64(len(KINDS) - 1)).astype(np.int64)) % len(KINDS)
    u, v, unit = _place(dice, 14, 2.5, 5, 0.6)
    _paint(picture, _cover_by_kind(others, u, v, unit), _colour(dice, dice.between(0, 1)))

    u, v, unit = _place(dice, 4, 7, 12, 0.75, 24)
    _paint(picture, _cover_by_kind(labels, u, v, unit) * dice.between(0.7, 1), _colour(dice, shape_light))

    u, v, unit = _place(dice, 12, 1, 2.5, 1)
    bar = _cover(abs(u) - 1, unit) * (dice.between(0, 1) < 0.5)
    _paint(picture, bar, _colour(dice, dice.between(0, 1)))

    cos, sin = dice.turn()
    shade = (_X * cos + _Y * sin) * dice.between(0, 0.03) + dice.between(0.7, 1.1)
    picture *= shade[:, None]
    grain = dice.raw(picture.size // 8).astype("<u8").view(np.uint8).reshape(picture.shape).astype(np.float32)
    grain -= 127.5
    grain *= dice.between(0.02, 0.2)[:, :, None] / 255
    picture += grain

    picture *= 255
    pixels = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    return pixels.reshape(CHUNK, 3, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 2, 3, 1), labels


def draw(split: str, count: int, on_progress: Progress | None = None) -> tuple[Array, Array]:
    """The first count pictures of a split ("train", "test"): uint8 (count, 32, 32, 3), and labels, int64 (count,)."""
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        pixels, kinds = _chunk(VERSION, ("train", "test").index(split), start // CHUNK)
        images[start:stop], labels[start:stop] = pixels[: stop - start], kinds[: stop - start]
        if on_progress:
            on_progress(f"drawing the synthetic {split}ing pictures", stop / count)
    return images, labels
