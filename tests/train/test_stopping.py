"""When training stops early."""

import math

from cnnviz.train.stopping import Watched, watched


def stops_after(losses: list[float], patience: int, since: int = 0) -> int | None:
    """As somebody would write it down, loss by loss."""
    best, waited = math.inf, 0
    for epoch, loss in enumerate(losses):
        if loss < best:
            best, waited = loss, 0
        elif epoch > since:
            waited += 1
        if waited == patience:
            return epoch
    return None


def test_patience_is_counted_from_the_lowest_loss() -> None:
    losses = [2.3, 2.0, 1.5, 1.6, 1.4, 1.45, 1.44, 1.43, 1.39]
    found = [epoch for epoch in range(9) if watched(enumerate(losses[: epoch + 1]), 0).has_run_out(epoch, 3)]
    assert found == [stops_after(losses, 3)] == [7]
    assert watched(enumerate(losses[:8]), 0) == Watched(4, 1.4)
    assert not any(watched(enumerate(losses[: epoch + 1]), 0).has_run_out(epoch, 0) for epoch in range(9))


def test_an_equal_loss_is_no_better_and_one_that_is_no_number_never_is() -> None:
    assert watched(enumerate([1.0, 1.0, math.nan, math.inf]), 0) == Watched(0, 1.0)
    assert watched(enumerate([math.nan, math.nan]), 0).has_run_out(1, 1)


def test_a_continued_run_has_its_patience_anew() -> None:
    losses = [2.0, 1.0, 1.1, 1.2]
    assert watched(enumerate(losses), 0).has_run_out(3, 2)
    assert not watched(enumerate(losses), 3).has_run_out(3, 2)
    assert not watched(enumerate([*losses, 1.3]), 3).has_run_out(4, 2)
    assert watched(enumerate([*losses, 1.3, 1.4]), 3).has_run_out(5, 2)


def test_a_fork_begins_to_count_where_it_left_its_parent() -> None:
    assert watched(enumerate([1.0, 1.1], 7), 7) == Watched(7, 1.0, 7)
