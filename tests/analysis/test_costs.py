import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cnnviz.analysis import costs
from cnnviz.architectures import ARCHITECTURES, architecture, build
from cnnviz.config import RunConfig
from cnnviz.store.runs import Run, Segment
from cnnviz.train import loop
from tests.helpers.architectures import BLOCKS

PEAK = costs.Peak(100e9)


def run(
    seconds: float, epochs: int = 20, model: str = "lenet5x5", stack: int = 1, threads: int = 1, method: str = ""
) -> Run:
    segment = Segment(0, 0.0, seconds, "cpu", threads, stack, method=method)
    config = RunConfig(model=model)
    return Run(
        f"{model}{stack}",
        config.name,
        "FINISHED",
        config,
        epochs,
        "cpu",
        datetime(2026, 1, 1),
        0.0,
        segments=(segment,),
    )


@pytest.mark.parametrize("name", [*ARCHITECTURES, BLOCKS])
def test_a_steps_operations_are_those_that_pytorch_counts(name: str) -> None:
    arch = architecture(name)
    module = build(arch, "relu", "max")
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert costs.step_flops(arch) == counter.get_total_flops() / 2


def test_rates_and_shares() -> None:
    (cost,) = costs.costs([run(200.0, stack=6)], peak=PEAK)
    rate = 20 * 50_000 / 200
    assert cost.images_per_second == rate
    assert cost.arithmetic == pytest.approx(6 * rate * costs.step_flops(ARCHITECTURES["lenet5x5"]) / PEAK.flops)
    assert cost.weight_traffic == pytest.approx(6 * rate / 10 * 3 * 4 * 62_006)
    assert cost.picture_seconds == pytest.approx(1 / (6 * rate))
    assert (cost.seconds, cost.own_seconds) == (200.0, pytest.approx(200 / 6))
    (twice,) = costs.costs([run(200.0, stack=6, threads=2)], peak=PEAK)
    assert twice.arithmetic == pytest.approx(cost.arithmetic / 2)


def test_the_rate_of_the_steps_is_used_where_it_is_recorded() -> None:
    one = run(200.0)
    rows = [
        (one.id, "images_per_second", epoch, rate) for epoch, rate in enumerate([0.0, 10.0, *[7000.0] * 18, 8000.0])
    ]
    rates = pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])
    assert costs.costs([one], rates)[0].images_per_second == 7000
    assert costs.costs([one], rates.iloc[:0])[0].images_per_second == 5000


def test_a_continued_run_has_its_own_share_of_each_segment() -> None:
    segments = (Segment(0, 0.0, 240.0, "cpu", 1, 6), Segment(20, 9e9, 90.0, "cpu", 1, 1))
    (cost,) = costs.costs([replace(run(1.0, epochs=50), segments=segments)])
    assert (cost.seconds, cost.own_seconds) == (330.0, pytest.approx(240 / 6 + 90))
    assert (cost.stack, cost.images_per_second) == (1, pytest.approx(30 * 50_000 / 90))  # the longer segment's


def test_runs_that_have_not_trained_cost_nothing_yet() -> None:
    waiting = replace(run(1.0), epoch=-1, segments=())
    assert costs.costs([waiting, replace(waiting, epoch=0, segments=(Segment(0, 0.0, 0.0, "cpu", 1, 1),))]) == []
    assert costs.explain([]) == "No run has trained yet."
    assert costs.table([]).empty


def test_a_share_cannot_exceed_the_whole_and_an_unknown_peak_has_none() -> None:
    assert costs.costs([run(0.1)], peak=PEAK)[0].arithmetic == 1
    (cost,) = costs.costs([run(100.0)])
    assert math.isnan(cost.arithmetic)
    assert "nan" not in costs.explain([cost])


def test_a_larger_network_that_takes_no_longer_is_explained() -> None:
    found = costs.costs([run(1000.0), run(1000.0, model="conv5")], peak=PEAK)
    text = costs.explain(found)
    work = costs.step_flops(ARCHITECTURES["conv5"]) / costs.step_flops(ARCHITECTURES["lenet5x5"])
    assert f"conv5 does {work:.0f} times the arithmetic of lenet5x5 and takes no longer" in text
    assert "launching a step's operations costs the same" in text
    assert f"{100 * found[0].arithmetic:.0f} % of lenet5x5's step" in text
    assert "8,528,000" in text or f"{ARCHITECTURES['conv5'].parameters:,}" in text


def test_a_network_that_takes_longer_than_its_arithmetic_is_bound_by_memory() -> None:
    text = costs.explain(costs.costs([run(100.0), run(30_000.0, model="conv5")], peak=PEAK))
    assert "3e+02 times as long" in text or "300 times as long" in text
    assert "moving feature maps and weights" in text


def test_one_network_in_stacks_and_alone() -> None:
    text = costs.explain(costs.costs([run(240.0, stack=6), run(80.0)], peak=PEAK))
    assert "They are one network: 62,006 parameters" in text
    assert "6 networks trained as one share a wall time: 240 s for all of them" in text
    assert "2 times as many pictures a second as one alone" in text
    text = costs.explain(costs.costs([run(480.0, stack=6), run(80.0)], peak=PEAK))
    assert "one alone processes as many pictures a second as they do together" in text


def test_runs_whose_steps_were_run_in_different_ways_are_not_compared_by_arithmetic_alone() -> None:
    runs = [run(1000.0, method="kernel"), run(1000.0, model="conv5", method="compiled", threads=2)]
    text = costs.explain(costs.costs(runs, peak=PEAK))
    assert "lenet5x5 by the C++ kernel for LeNets on 1 thread; conv5 compiled by PyTorch on 2 threads." in text
    assert "launching a step's operations" not in text, "the kernel launches none"
    slower = [run(100.0, method="kernel"), run(30_000.0, model="conv5", method="eager")]
    text = costs.explain(costs.costs(slower, peak=PEAK))
    assert "more than its arithmetic explains" not in text
    assert text.count("different ways") == 1


def test_runs_of_one_network_in_different_ways() -> None:
    runs = [run(240.0, stack=6, method="kernel"), run(80.0, method="eager"), run(90.0, method="eager")]
    text = costs.explain(costs.costs(runs, peak=PEAK))
    assert "as well: 1 by the C++ kernel for LeNets; 2 operation by operation." in text
    assert "one alone" not in text, "none was alone and by the kernel"
    assert "2 times as many pictures a second as one alone" in costs.explain(
        costs.costs([*runs[1:], run(240.0, stack=6, method="eager")])
    )


@pytest.mark.parametrize("method", ["", *loop.METHODS])
def test_no_way_is_named_if_it_is_the_same(method: str) -> None:
    text = costs.explain(costs.costs([run(1000.0, method=method), run(1000.0, model="conv5", method=method)]))
    assert "different ways" not in text
    assert not method or method in costs.WAYS


def test_the_table_has_a_row_a_run() -> None:
    table = costs.table(costs.costs([run(240.0, stack=6), run(900.0, model="conv5")], peak=PEAK))
    assert table["parameters"].tolist() == [62_006, ARCHITECTURES["conv5"].parameters]
    assert table["wall time (s)"].tolist() == [240, 900]
    assert table["own share (s)"].tolist() == [40, 900]
    assert table[["waited (s)", "set-up (s)"]].isna().to_numpy().all(), "recorded before they were noted"
    old = run(240.0)
    segment = replace(old.segments[0], waited=3.0, setup=2.0, method="kernel")
    table = costs.table(costs.costs([replace(old, segments=(segment, segment))]))
    assert table[["waited (s)", "set-up (s)"]].iloc[0].tolist() == [6, 4]


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_measured", None)


@pytest.fixture
def other_work() -> Iterator[None]:
    """A process on every core."""
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    spinning = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    try:
        for process in spinning:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in spinning:
            process.kill()
            process.communicate()


@pytest.mark.usefixtures("unmeasured")
def test_an_idle_machines_peak_is_measured_once_and_leaves_the_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "BUSY", 1.0)  # whatever else this machine does
    before = torch.get_num_threads()
    first = costs.machine_peak()
    assert first.flops > 1e8
    assert first.idle
    monkeypatch.setattr(costs, "MEASURE_AGAIN", 0.0)
    assert costs.machine_peak() is first
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("unmeasured", "other_work")
def test_a_peak_measured_beside_other_work_is_a_lower_bound_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = costs.machine_peak()
    assert not first.idle
    assert costs.machine_peak() is first  # a page that redraws every two seconds does not measure as often
    monkeypatch.setattr(costs, "MEASURE_AGAIN", 0.0)
    assert costs.machine_peak() is not first
    monkeypatch.setattr(costs, "BUSY", 1.0)  # now it counts as idle
    last = costs.machine_peak()
    assert last.idle
    assert last.flops >= first.flops
    assert costs.machine_peak() is last


def test_a_share_of_a_lower_bound_is_said_to_be_at_most_that() -> None:
    busy = costs.Peak(PEAK.flops, idle=False)
    runs = [run(1000.0), run(1000.0, model="conv5")]
    for chosen in (runs, runs[:1]):
        text = costs.explain(costs.costs(chosen, peak=busy))
        assert "would take at most" in text
        assert "measured beside other work" in text
        sure = costs.explain(costs.costs(chosen, peak=PEAK))
        assert "at most" not in sure
        assert "beside" not in sure
