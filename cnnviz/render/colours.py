"""What colours mean: one scale for all maps that are compared, themes, and hues for lines and bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor

from cnnviz.inspection.network import LayerMaps

# Of lines and bars: blue and orange after Okabe and Ito (2008), then whichever differs most from those before it, as
# seen with normal, deuteranopic and protanopic eyes (Machado et al. 2009): the first four by a CIEDE2000 of 19 or more,
# all by 8. Each has a contrast of 3:1 on the paper of both themes.
PALETTE = ("#0072b2", "#c58700", "#3d9982", "#99543d", "#b266ff", "#e65c7e", "#cc0099", "#e60000")
NAMES = ("blue", "ochre", "green", "brown", "purple", "pink", "magenta", "red")  # of these, for texts
NEUTRAL = "#808080"  # of what stands for nothing in particular
# viridis (Smith, van der Walt, 2015; CC0): perceptually uniform, safe for the colour-blind, sampled at 17 places.
_VIRIDIS = (
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
    "1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725"
)
# RdBu (Brewer, Harrower, 2003), reversed: blue below zero, white at zero, red above; safe for the colour-blind.
_BLUE_WHITE_RED = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"
NOT_FINITE = (255, 0, 255)  # in neither table
_STEPS = 256


@dataclass(frozen=True)
class Scale:
    """What the colours mean. Signed: blue to red with white at zero; otherwise from low to high."""

    low: float
    high: float
    signed: bool
    finite: bool = True  # False: some values are NaN or infinite and drawn in magenta

    @classmethod
    def of(cls, maps: Iterable[LayerMaps]) -> "Scale":
        """One scale for all these maps: those of one layer, or of two networks that are compared."""
        every = list(maps)
        finite = all(bool(x.values.isfinite().all()) for x in every)
        return cls.spanning(((x.low, x.high) for x in every), finite)

    @classmethod
    def spanning(cls, ranges: Iterable[tuple[float, float]], finite: bool = True) -> "Scale":
        """One scale that covers all these (low, high) ranges, such as those of other networks and epochs."""
        lows, highs = zip(*ranges, strict=True)
        low, high = min(lows), max(highs)
        if low >= 0:
            return cls(low, high, False, finite)
        limit = max(-low, high)
        return cls(-limit, limit, True, finite)

    @classmethod
    def around_zero(cls, values: Tensor) -> "Scale":
        """A signed scale for these values, such as weights."""
        finite = values[values.isfinite()]
        limit = float(finite.abs().max()) if len(finite) else 0.0
        return cls(-limit, limit, True, finite.numel() == values.numel())


@dataclass(frozen=True)
class Theme:
    """Colours of a picture's background and of what is written on it."""

    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    faint: tuple[int, int, int]
    frame: tuple[int, int, int]  # around each map, which may be as white as the background
    right: tuple[int, int, int]  # blue and orange after Okabe and Ito: safe for the colour-blind
    wrong: tuple[int, int, int]


LIGHT = Theme((255, 255, 255), (26, 26, 26), (110, 110, 110), (215, 215, 215), (0, 114, 178), (178, 72, 0))


DARK = Theme((14, 17, 23), (250, 250, 250), (150, 150, 150), (60, 64, 72), (86, 180, 233), (230, 159, 0))


def colour(values: Tensor, scale: Scale) -> np.ndarray:
    """The values (…) as colours, uint8 (…, 3); values that are not finite are magenta."""
    x = values.detach().cpu().double().numpy()
    finite = np.isfinite(x)
    # Never so narrow that a rounding error of float32 shows as a step of colour.
    span = max(scale.high - scale.low, 1e-4 * max(abs(scale.low), abs(scale.high)), 1e-30)
    start, its_share = ((scale.low + scale.high) / 2, 0.5) if scale.signed else (scale.low, 0.0)
    share = (np.where(finite, x, start) - start) / span + its_share
    steps = np.rint(share.clip(0, 1) * (_STEPS - 1)).astype(np.intp)
    return _table(scale.signed)[np.where(finite, steps, _STEPS)]


def by_channel(values: Tensor) -> list[Scale]:
    """A scale for each channel of (channels, height, width), or one for all of (units,); all signed or none."""
    parts = values.flatten(1) if values.ndim == 3 else values[None]
    finite = [part[part.isfinite()] for part in parts]
    ranges = [(float(x.min()), float(x.max())) if len(x) else (0.0, 0.0) for x in finite]
    signed = min(low for low, _ in ranges) < 0
    scales = []
    for (low, high), some, every in zip(ranges, finite, parts, strict=True):
        limit = max(-low, high)
        scales.append(Scale(-limit if signed else low, limit if signed else high, signed, len(some) == len(every)))
    return scales


@cache
def _table(signed: bool) -> np.ndarray:
    """uint8 (257, 3): the colours from low to high, and last the one for what is not finite."""
    anchors = (_BLUE_WHITE_RED if signed else _VIRIDIS).split()
    points = np.array([list(bytes.fromhex(anchor)) for anchor in anchors], float)
    places = np.linspace(0, len(points) - 1, _STEPS)
    ramp = [np.interp(places, np.arange(len(points)), points[:, channel]) for channel in range(3)]
    return np.vstack([np.stack(ramp, 1).round(), NOT_FINITE]).astype(np.uint8)
