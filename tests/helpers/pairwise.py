"""Few combinations of many settings in which every pair of values of two settings occurs."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any


def _new(open_pairs: set[frozenset[tuple[str, Any]]], row: Mapping[str, Any], name: str, value: Any) -> int:
    return sum(frozenset([(name, value), other]) in open_pairs for other in row.items())


def pairwise(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Greedy: each combination takes, setting by setting, the value that makes the most pairs not seen yet."""
    names = list(choices)
    open_pairs = {
        frozenset([(a, x), (b, y)])
        for a, b in itertools.combinations(names, 2)
        for x, y in itertools.product(choices[a], choices[b])
    }
    found = []
    while open_pairs:
        row = dict(sorted(min(open_pairs, key=sorted)))
        for name in names:
            if name not in row:
                row[name] = max(choices[name], key=partial(_new, open_pairs, row, name))
        open_pairs -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        found.append(row)
    return found
