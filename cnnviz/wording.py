"""Figures and lists as people say them."""

import math
from collections.abc import Sequence

SMALLEST_P = 1e-300  # a smaller one is not told from 0


def duration(seconds: float) -> str:
    """
    >>> duration(40), duration(540), duration(7500)
    ('40 s', '9 min', '2 h 5 min')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def elapsed(seconds: float) -> str:
    """
    >>> elapsed(40), elapsed(160), elapsed(7500)
    ('40 s', '2 min 40 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest and 0 < minutes < 60 else duration(seconds)


def duration_range(low: float, high: float) -> str:
    """
    >>> duration_range(120, 360), duration_range(40, 160), duration_range(60, 62)
    ('2 to 6 min', '40 s to 3 min', 'about 1 min')
    """
    first, last = duration(low), duration(high)
    if first == last:
        return f"about {first}"
    (number, unit, *more), (_, other, *rest) = first.split(), last.split()
    return f"{number} to {last}" if unit == other and not more and not rest else f"{first} to {last}"


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "run"), count(12, "run")
    ('1 run', '12 runs')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float, digits: int = 1) -> str:
    """
    >>> percent(0.6257), percent(0.6257, 0), percent(float("nan"))
    ('62.6 %', '63 %', '–')
    """
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def listed(names: Sequence[str], separator: str = ", ", most: int = 6) -> str:
    """
    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def p_value(p: float) -> str:
    """
    >>> p_value(0.3123), p_value(2e-12), p_value(0.0), p_value(1.0)
    ('= 0.31', '= 2e-12', '< 1e-300', '= 1')
    """
    return f"= {p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P:.0e}"
