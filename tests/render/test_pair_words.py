"""Two networks and many, in sentences."""

import numpy as np
import pytest

from cnnviz.inspection.agreement import Pair, pair
from cnnviz.render import many_words, pair_words


def of(only_a: int, only_b: int) -> Pair:
    return Pair(np.arange(7), np.arange(only_a), np.arange(only_b), np.arange(3))


@pytest.mark.parametrize(
    ("only_a", "only_b", "words"),
    [
        (1204, 880, "Only A is right on 1,204 pictures, only B on 880: A is better, by more than chance"),
        (880, 1204, "Only A is right on 880 pictures, only B on 1,204: B is better, by more than chance"),
        (1, 4, "Only A is right on 1 picture, only B on 4: the difference may be luck (McNemar's exact p = 0.38)."),
        (5, 5, "Only A is right on 5 pictures, only B on as many: neither is better."),
        (0, 0, "A and B get the same pictures right: there is no difference to test."),
    ],
)
def test_who_is_better_and_whether_that_may_be_luck(only_a: int, only_b: int, words: str) -> None:
    assert pair_words.verdict(of(only_a, only_b)).startswith(words)


def test_equal_networks_are_seldom_called_different() -> None:
    random = np.random.default_rng(1)
    labels, called = np.zeros(2000, int), 0
    for _ in range(200):
        a, b = (random.random((2, 2000)) < 0.4).astype(int)
        called += "better, by more than chance" in pair_words.verdict(pair(a, b, labels))
    assert 0 < called <= 18  # of 200: the exact test stays below 5 %, a chance of 1 in 100 above this


def test_what_seeds_alone_explain() -> None:
    assert pair_words.luck([2310, 2350], 2900, "A", False) == (
        "Two seeds of the same network, A, disagree on 2,310 to 2,350 pictures; A and B on 2,900: "
        "550 more than another seed brings."
    )
    assert pair_words.luck([2310], 2300, "B", False).endswith("A and B on 2,300: another seed alone brings as much.")
    assert pair_words.luck([], 12, "A", True) == (
        "A and B differ in the seed alone: the 12 pictures they disagree on are luck."
    )
    assert pair_words.luck([9, 15], 12, "A", True).endswith(" Other seeds: 9 to 15.")


def test_pairs_as_a_table() -> None:
    lines = pair_words.table([("A and B", 2900, of(1204, 880))], 10_000).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[-1].startswith("| A and B | 2,900 (29.0 %) | 1,204 | 880 | 1.3e-12")


def test_what_many_get_wrong() -> None:
    wrong = [(3, 5, 3), (8, 2, 3), (1, 0, 2)]
    assert many_words.headline(3, wrong, 0.4, 1000) == (
        "All 3 networks get 3 of 1,000 pictures wrong; it would be less than 1 if their mistakes had nothing to do "
        "with one another. On 2 of them they say the same class: perhaps some labels are doubtful."
    )
    assert "doubtful" not in many_words.headline(4, wrong, 12.3, 1000)
    assert many_words.headline(2, [(3, 5, 2)], 12.3, 1000).endswith("On 1 of them they say the same class.")
    assert many_words.headline(2, [], 12.3, 1000) == "No picture is wrong by both networks."
    assert many_words.without(["a", "b"]) == "a; b have no predictions, their logits are not finite"
