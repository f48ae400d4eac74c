"""Two networks and many, by counting; McNemar's exact p by adding up binomial coefficients."""

import math

import numpy as np
import pytest
import torch

from cnnviz.inspection.agreement import Pair, agreement, by_agreement, pair, wrong_by_all, wrong_by_luck
from cnnviz.inspection.mistakes import NO_ANSWER


def mcnemar(one: int, other: int) -> float:
    many = one + other
    tail = sum(math.comb(many, few) for few in range(min(one, other) + 1))
    return min(1.0, 2 * tail / 2**many)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (5, 5), (3, 12), (12, 3), (400, 470), (0, 60), (900, 1100)])
def test_mcnemars_exact_p(one: int, other: int) -> None:
    nothing = np.arange(0)
    found = Pair(nothing, np.arange(one), np.arange(other), nothing)
    assert found.p == pytest.approx(mcnemar(one, other), rel=1e-9)


def test_quarters_by_counting() -> None:
    random = np.random.default_rng(4)
    labels, a, b = random.integers(0, 3, 300), random.integers(-1, 3, 300), random.integers(-1, 3, 300)
    found = pair(a, b, torch.from_numpy(labels))
    quarters: dict[tuple[bool, bool], list[int]] = {}
    for picture in range(300):
        quarters.setdefault((a[picture] == labels[picture], b[picture] == labels[picture]), []).append(picture)
    assert found.both_right.tolist() == quarters[True, True]
    assert found.only_a.tolist() == quarters[True, False]
    assert found.only_b.tolist() == quarters[False, True]
    assert found.both_wrong.tolist() == quarters[False, False]
    assert found.counts() == {
        "both_right": len(quarters[True, True]),
        "only_a": len(quarters[True, False]),
        "only_b": len(quarters[False, True]),
        "both_wrong": len(quarters[False, False]),
    }


def test_agreement_of_those_that_answer() -> None:
    one, other = np.array([1, 2, 3, NO_ANSWER]), np.array([1, 2, 4, 4])
    table = agreement([one, other, np.full(4, NO_ANSWER)])
    assert table[0, 1] == table[1, 0] == pytest.approx(2 / 3)
    assert (table[0, 0], table[1, 1]) == (1, 1)
    assert np.isnan(table[2]).all()
    assert np.isnan(table[:, 2]).all()


def test_what_all_get_wrong_with_what_they_say() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    networks = [np.array(each) for each in ([5, 6, 2, 8], [5, 7, 9, 8], [4, 6, 9, 8])]
    diverged = np.full(4, NO_ANSWER)
    assert wrong_by_all([*networks, diverged], labels) == [(3, 8, 3), (0, 5, 2), (1, 6, 2)]
    assert wrong_by_all([diverged], labels) == []


def test_those_that_agree_stand_side_by_side_and_those_without_predictions_last() -> None:
    random = np.random.default_rng(3)
    first, second = random.integers(0, 10, (2, 400))
    networks = [first, second, np.full(400, NO_ANSWER), np.where(np.arange(400) < 300, first, second), second.copy()]
    order = by_agreement(agreement(networks))
    assert order[-1] == 2
    assert abs(order.index(1) - order.index(4)) == 1
    assert abs(order.index(0) - order.index(3)) == 1
    assert by_agreement(agreement(networks[2:4])) == [1, 0]


def test_what_all_would_get_wrong_if_mistakes_had_nothing_to_do_with_one_another() -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 10, 200_000)
    networks = [np.where(random.random(200_000) < share, (labels + 1) % 10, labels) for share in (0.3, 0.5)]
    expected = wrong_by_luck(networks, torch.from_numpy(labels))
    assert expected == pytest.approx(30_000, rel=0.02)
    assert expected == pytest.approx(len(wrong_by_all(networks, labels)), rel=0.02)
