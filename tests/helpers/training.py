"""What training yields, for tests that look at whole epochs."""

from collections.abc import Iterable
from dataclasses import replace

from cnnviz.train.loop import EpochResult, LateFigures


def together(results: Iterable[EpochResult | LateFigures]) -> list[EpochResult]:
    """All of train_stack's results, late figures among those of their epoch."""
    found: dict[tuple[int, int], EpochResult] = {}
    for each in results:
        key = each.member, each.epoch
        found[key] = replace(found[key], metrics=found[key].metrics | each.metrics) if key in found else _first(each)
    return list(found.values())


def _first(result: EpochResult | LateFigures) -> EpochResult:
    assert isinstance(result, EpochResult), "late figures of an epoch that has not come"
    return result
