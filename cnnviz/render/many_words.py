"""Many networks on the same pictures: in plain sentences."""

from collections import Counter
from collections.abc import Sequence

from cnnviz.inspection.mistakes import NO_ANSWER
from cnnviz.wording import listed


def headline(networks: int, wrong: Sequence[tuple[int, int, int]], by_luck: float, total: int) -> str:
    """What all of so many networks get wrong. wrong: of agreement.wrong_by_all(); by_luck: of wrong_by_luck()."""
    who = "Both networks" if networks == 2 else f"All {networks} networks"
    if not wrong:
        return f"No picture is wrong by {who[0].lower()}{who[1:]}."
    expected = f"{by_luck:,.0f}" if by_luck >= 1 else "less than 1"
    unanimous = sum(votes == networks for _, _, votes in wrong)
    doubts = ": perhaps some labels are doubtful" if networks > 2 else ""  # two may make one mistake by luck
    said = f" On {unanimous:,} of them they say the same class{doubts}." if unanimous else ""
    return (
        f"{who} get {len(wrong):,} of {total:,} pictures wrong; it would be {expected} if their mistakes had nothing "
        f"to do with one another.{said}"
    )


def votes(name: str, number: int, networks: int) -> str:
    """
    >>> votes("dog", 12, 12), votes("dog", 7, 12), votes("dog", 2, 2)
    ('all 12: dog', '7 of 12: dog', 'both: dog')
    """
    if number == networks:
        return f"both: {name}" if networks == 2 else f"all {networks}: {name}"
    return f"{number} of {networks}: {name}"


def all_votes(told: Sequence[int], classes: Sequence[str]) -> str:
    """
    >>> all_votes([1, 1, 0, -1], ["cat", "dog"])
    'The 4 networks say: dog 2, cat 1, no class 1.'
    """
    counted = Counter("no class" if each == NO_ANSWER else classes[each] for each in told).most_common()
    return f"The {len(told)} networks say: {', '.join(f'{name} {number}' for name, number in counted)}."


def without(names: Sequence[str]) -> str:
    """Those that have no predictions."""
    verb = "has no predictions, its" if len(names) == 1 else "have no predictions, their"
    return f"{listed(names, '; ')} {verb} logits are not finite"
