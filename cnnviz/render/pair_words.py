"""Two networks, A and B, on the same pictures: in plain sentences."""

from collections.abc import Sequence

import numpy as np

from cnnviz.inspection.agreement import Pair
from cnnviz.inspection.mistakes import NO_ANSWER
from cnnviz.render.mistake_tables import LIKELY
from cnnviz.wording import count, listed, p_value


def disagree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Indices of the pictures that two networks, whose answers (N,) these are, answer differently."""
    return np.flatnonzero(a != b)


def verdict(found: Pair) -> str:
    """Who is better, and whether that may be luck."""
    a, b = len(found.only_a), len(found.only_b)
    if not a + b:
        return "A and B get the same pictures right: there is no difference to test."
    if a == b:
        return f"Only A is right on {count(a, 'picture')}, only B on as many: neither is better."
    counts = f"Only A is right on {count(a, 'picture')}, only B on {b:,}"
    test = f"(McNemar's exact p {p_value(found.p)})"
    if found.p >= LIKELY:
        return f"{counts}: the difference may be luck {test}."
    return f"{counts}: {'A' if a > b else 'B'} is better, by more than chance {test}."


def luck(among_seeds: Sequence[int], these: int, whose: str, seeds_alone: bool) -> str:
    """How much of the disagreement of A and B seeds alone would explain.

    among_seeds: on how many pictures a network and each of its other seeds disagree; whose: "A" or "B"; these: A and B;
    seeds_alone: A and B differ in nothing else.
    """
    if seeds_alone:
        first = f"A and B differ in the seed alone: the {count(these, 'picture')} they disagree on are luck."
        return f"{first} Other seeds: {_span(among_seeds)}." if among_seeds else first
    more = these - max(among_seeds)
    judged = f"{more:,} more than another seed brings" if more > 0 else "another seed alone brings as much"
    return (
        f"Two seeds of the same network, {whose}, disagree on {_span(among_seeds)} pictures; A and B on {these:,}: "
        f"{judged}."
    )


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def missing(names: Sequence[str]) -> str:
    """Of networks that have no predictions."""
    verb = "has" if len(names) == 1 else "have"
    return f"{listed(names, ' and ')} {verb} no predictions at this epoch: the logits are not finite"


def has_none(answers: np.ndarray) -> bool:
    return bool((answers == NO_ANSWER).all())


def table(rows: Sequence[tuple[str, int, Pair]], total: int) -> str:
    """Pairs of networks as a Markdown table: name, on how many of all pictures they disagree, who is right."""
    lines = [
        "| | different answers | only the first right | only the second right | McNemar's exact p |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, apart, each in rows:
        share = f"{apart:,} ({100 * apart / total:.1f} %)"
        p = p_value(each.p).removeprefix("= ")
        lines.append(f"| {name} | {share} | {len(each.only_a):,} | {len(each.only_b):,} | {p} |")
    return "\n".join(lines)
