"""Two networks and many on the same pictures: who is right where, and whether it is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.stats import binomtest
from torch import Tensor

from cnnviz.inspection.mistakes import NO_ANSWER


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks, a and b, on the same pictures. Each field holds indices (n,) in ascending order."""

    both_right: np.ndarray
    only_a: np.ndarray  # a is right, b is wrong
    only_b: np.ndarray
    both_wrong: np.ndarray

    @property
    def p(self) -> float:
        """McNemar's exact p: how probable so unequal numbers are if both err equally often.

        Two-sided and binomial, over the pictures that one of them alone gets right; 1 if there is none.
        """
        one_alone = len(self.only_a) + len(self.only_b)
        return float(binomtest(len(self.only_a), one_alone).pvalue) if one_alone else 1.0

    def counts(self) -> dict[str, int]:
        return {name: len(indices) for name, indices in vars(self).items()}


def pair(a: np.ndarray, b: np.ndarray, labels: Tensor | np.ndarray) -> Pair:
    """a and b: the answers (N,) of two networks to pictures with these labels (N,)."""
    a_right, b_right = a == np.asarray(labels), b == np.asarray(labels)
    quarters = (a_right & b_right, a_right & ~b_right, ~a_right & b_right, ~a_right & ~b_right)
    return Pair(*map(np.flatnonzero, quarters))


def agreement(networks: Sequence[np.ndarray]) -> np.ndarray:
    """(R, R), the share of pictures to which two networks give the same answer, of those that both answer.

    networks: R answers (N,). NaN for a network that has no predictions.
    """
    table = np.full((len(networks), len(networks)), np.nan)
    for row, one in enumerate(networks):
        for column, other in enumerate(networks):
            both = (one != NO_ANSWER) & (other != NO_ANSWER)
            if both.any():
                table[row, column] = (one == other)[both].mean()
    return table


def by_agreement(table: np.ndarray) -> list[int]:
    """Networks in an order that puts those side by side which give the same answers: table (R, R), of agreement().

    As mistakes.by_similarity orders classes. Those without predictions come last.
    """
    asked = np.flatnonzero(~np.isnan(np.diag(table)))
    silent = [int(each) for each in np.flatnonzero(np.isnan(np.diag(table)))]
    if len(asked) < 2:
        return [int(each) for each in asked] + silent
    distances = 1 - np.nan_to_num(table[np.ix_(asked, asked)])[np.triu_indices(len(asked), 1)]
    tree = hierarchy.linkage(distances, "average")
    order = hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, distances))
    return [int(asked[each]) for each in order] + silent


def wrong_by_luck(networks: Sequence[np.ndarray], labels: Tensor | np.ndarray) -> float:
    """How many pictures all of them would get wrong if none of their mistakes had to do with another's."""
    true = np.asarray(labels)
    return float(len(true) * np.prod([(each != true).mean() for each in networks]))


def wrong_by_all(networks: Sequence[np.ndarray], labels: Tensor | np.ndarray) -> list[tuple[int, int, int]]:
    """(picture, the class that most of them take it for, how many do), those they agree upon most first.

    Perhaps such a label is doubtful. networks: answers (N,); those without predictions are left out. Equal votes go to
    the lower class.
    """
    asked = [each for each in networks if (each != NO_ANSWER).any()]
    if not asked:
        return []
    table = np.stack(asked)
    found = []
    for picture in np.flatnonzero((table != np.asarray(labels)).all(0)):
        votes = np.bincount(table[:, picture][table[:, picture] != NO_ANSWER], minlength=1)
        found.append((int(picture), int(votes.argmax()), int(votes.max())))
    return sorted(found, key=lambda each: (-each[2], each[0]))
