"""Learning rates against PyTorch's schedulers."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from cnnviz.config import RunConfig
from cnnviz.train.schedules import rate

BASE = RunConfig(lr=0.2, limit_train=95, epochs=4)  # 10 steps an epoch
TOTAL = 40


def of_torch(make: partial[lr_scheduler.LRScheduler], steps: int = TOTAL) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], BASE.lr)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("name", "make", "steps"),
    [
        ("step", partial(lr_scheduler.MultiStepLR, milestones=[20, 30]), TOTAL),
        ("cosine", partial(lr_scheduler.CosineAnnealingLR, T_max=TOTAL), TOTAL),
        (
            "one-cycle",  # whose scheduler refuses a step behind its last
            partial(lr_scheduler.OneCycleLR, max_lr=BASE.lr, total_steps=TOTAL, cycle_momentum=False),
            TOTAL - 1,
        ),
    ],
)
def test_schedules_are_pytorchs(name: str, make: "partial[lr_scheduler.LRScheduler]", steps: int) -> None:
    config = replace(BASE, schedule=name)
    assert [rate(config, step) for step in range(steps)] == pytest.approx(of_torch(make, steps), rel=1e-9)


def test_a_warm_up_rises_to_the_rate_and_hands_over() -> None:
    config = replace(BASE, schedule="cosine", warmup=1)
    rates = [rate(config, step) for step in range(TOTAL)]
    assert rates[:10] == pytest.approx([0.02 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.2)
    assert rates[25] == pytest.approx(0.1)
    assert all(one > other for one, other in itertools.pairwise(rates[10:]))


def test_a_constant_rate_may_have_a_warm_up() -> None:
    config = replace(BASE, warmup=2)
    assert [rate(config, step) for step in (0, 9, 19, 20, 39)] == pytest.approx([0.01, 0.1, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("name", ["step", "cosine", "one-cycle"])
def test_more_epochs_go_on_at_the_last_rate(name: str) -> None:
    longer = replace(replace(BASE, schedule=name), epochs=8)
    assert longer.schedule_epochs == 4
    last = rate(longer, TOTAL - 1)
    assert {rate(longer, step) for step in range(TOTAL, 2 * TOTAL)} == {last}
