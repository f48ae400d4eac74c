"""Curves in a real browser: what a click chooses, what marks say, what the address brings back."""

import math
import re
from typing import Any

import pytest

from cnnviz.config import RunConfig
from cnnviz.render.curve_charts import MARKS
from cnnviz.store import changes
from cnnviz.store.runs import Segment
from tests.helpers.screens import box_of, faults, page_of

CHART = "[data-testid=stVegaLiteChart]"
PLOT = "svg .role-frame.root > g > .background"
TOOLTIP = "#vg-tooltip-element.visible"


def launched(lines: dict[tuple[str, float], list[float]], continued: int = 0) -> list[str]:
    """Short ids of finished runs: activation and learning rate → test accuracy by epoch."""
    configs = [RunConfig(dataset="synthetic", epochs=9, activation=name, lr=lr) for name, lr in lines]
    run_ids = changes.schedule(configs, "cpu")
    parts = [Segment(start, 0.0, 60.0, "cpu", 1) for start in sorted({0, continued})]
    for run_id, line in zip(run_ids, lines.values(), strict=True):
        changes.start(run_id)
        for epoch, value in enumerate(line):
            figures = {f"{split}_accuracy": value for split in ("train", "test")}
            losses = {f"{split}_loss": 2.5 - 2 * value for split in ("train", "test")}
            changes.record(run_id, epoch, figures | losses, parts)
        changes.finish(run_id, "FINISHED")
    return [run_id[:8] for run_id in run_ids]


def place(page: Any, chart: int, x: float, y: float) -> tuple[float, float]:
    """Where those shares of that chart's plot are on the screen."""
    box = box_of(page.locator(CHART).nth(chart).locator(PLOT).first)
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@pytest.mark.usefixtures("few_pictures")
def test_a_click_chooses_the_nearest_line_and_the_address_brings_it_back(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    low, high, other = launched(
        {
            ("sigmoid", 0.01): [0.1, 0.1, 0.1, 0.1, 0.1],
            ("sigmoid", 0.1): [0.1, 0.3, 0.5, 0.7, 0.9],
            ("tanh", 0.1): [0.1, 0.4, 0.5, 0.6, 0.95],
        }
    )
    runs = "&".join(f"runs={run}" for run in (low, high, other))
    page = page_of(browser, f"{address}/curves?{runs}&splits=test&facets=activation&show=one%20y-axis")
    page.locator(f"{CHART} svg").nth(1).wait_for()
    run, epoch = (
        page.get_by_role("combobox", name="Run", exact=True).first,  # while the page is drawn anew there may be two
        page.get_by_role("spinbutton", name="Epoch", exact=True).first,
    )
    expect(run).to_have_value("tanh, lr 0.1", timeout=30_000)  # the best one's best epoch
    expect(epoch).to_have_value("4")
    first = page.locator(CHART).first
    assert first.bounding_box()["y"] <= 160
    assert str(first.get_attribute("aria-label")).startswith("Error of sigmoid against epochs: 2 lines")

    page.mouse.click(*place(page, 0, 0.5, 0.03))  # error 90 %: the run that learns nothing
    expect(run).to_have_value("sigmoid, lr 0.01", timeout=30_000)
    expect(epoch).to_have_value("2")
    page.wait_for_function(f"() => location.search.includes('at={low}&epoch=2')")
    page.mouse.click(*place(page, 0, 0.75, 0.7))
    expect(run).to_have_value("sigmoid, lr 0.1", timeout=30_000)
    expect(epoch).to_have_value("3")
    page.mouse.click(*place(page, 1, 0.25, 0.4))
    expect(run).to_have_value("tanh, lr 0.1", timeout=30_000)
    expect(epoch).to_have_value("1")
    expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_count(1)
    page.wait_for_function(f"() => location.search.includes('at={other}&epoch=1')")
    page.mouse.click(*place(page, 0, 0.75, 0.7))  # as before, in the panel that knows it
    page.wait_for_function(f"() => location.search.includes('at={high}&epoch=3')")
    expect(run).to_have_value("sigmoid, lr 0.1", timeout=30_000)

    page.go_back()
    expect(run).to_have_value("tanh, lr 0.1", timeout=30_000)
    expect(epoch).to_have_value("1")
    page.reload()
    expect(run).to_have_value("tanh, lr 0.1", timeout=30_000)
    expect(epoch).to_have_value("1")
    epoch.fill("2")  # by keys
    epoch.press("Enter")
    page.wait_for_function(f"() => location.search.includes('at={other}&epoch=2')")
    page.get_by_text("tanh, lr 0.1 at epoch 2. Error: test 50.0 %").first.wait_for()
    expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_count(1)
    page.get_by_role("button", name="Look inside").click()
    page.wait_for_function(
        f"() => location.pathname.endsWith('feature_maps') && location.search.includes('run={other}')"
    )
    assert "epoch=2" in page.url


@pytest.mark.usefixtures("few_pictures")
def test_every_mark_says_what_it_is_and_the_winner_is_in_view(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    stalled = {("sigmoid", 0.001 * at): [0.1] * 10 for at in range(1, 13)}
    launched(stalled | {("sigmoid", 0.5): [0.1, 0.12, math.nan]})
    (won,) = launched({("tanh", 0.01): [0.1, 0.3, 0.5, 0.6, 0.62, 0.63, 0.63, 0.62, 0.61, 0.6]}, continued=4)
    page = page_of(browser, f"{address}/curves?runs={won}")
    page.get_by_role("button", name="1 run", exact=False).and_(page.locator(".st-key-curves_runs button")).click()
    page.get_by_role("combobox", name="Experiment").click()
    page.get_by_role("option", name=re.compile("^(All )?14 runs")).click()  # one launch or two, as the clock has it
    page.get_by_role("button", name="14 runs").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("combobox", name="Experiment").wait_for(state="detached")

    page.get_by_text(" ".join(MARKS["finding"])).wait_for()  # the curves are drawn before they are judged
    winner = page.locator("path[aria-label*='best epoch'][aria-label*='tanh']")
    expect(winner).to_have_count(1)  # the chart of one run fades beside those of 14
    plot, mark = box_of(page.locator(CHART, has=winner).locator(PLOT).first), box_of(winner)
    assert plot["y"] < mark["y"] < plot["y"] + plot["height"] - mark["height"]
    assert plot["x"] < mark["x"] < plot["x"] + plot["width"]
    for sign, words in (MARKS[kind] for kind in ("best", "finding", "death", "segment")):
        page.get_by_text(f"{sign} {words}").wait_for()
        said = "Test accuracy is 10.0 %" if words == "finding" else words
        one = page.locator(f"{CHART} path[aria-label*='{said}']").last
        one.scroll_into_view_if_needed()
        box = box_of(one)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator(TOOLTIP, has_text=said).wait_for()
    page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.locator(f"{CHART} svg").first.wait_for()
        assert faults(page) == []
