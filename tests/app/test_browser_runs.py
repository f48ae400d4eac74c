"""The table of runs in a real browser: ticks stay with their runs, keys do what clicks do, Back goes back."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cnnviz import paths
from cnnviz.config import RunConfig, grid
from cnnviz.jobs import status
from cnnviz.store import changes, reading
from tests.helpers.screens import faults, page_of

pytestmark = pytest.mark.usefixtures("few_pictures")


@pytest.fixture
def idle(address: str) -> Iterator[str]:
    """The app's address, while no worker trains what waits."""
    with status.locked("cpu"):
        yield address


def patient() -> Any:
    """Playwright's expect, on a busy machine."""
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    return expect


def launched(best: float | None, **settings: Any) -> str:
    """The id of a new run: finished, or waiting."""
    (run_id,) = changes.schedule([RunConfig(dataset="synthetic", **settings)], "cpu")
    if best is not None:
        changes.start(run_id)
        for epoch in range(2):
            changes.record(run_id, epoch, {"test_accuracy": best if epoch else 0.1}, [])
        changes.finish(run_id, "FINISHED")
    return run_id


def test_ticks_stay_with_their_runs_while_others_are_launched_and_deleted(browser: Any, idle: str) -> None:
    expect = patient()
    first, chosen, last = (launched(best, lr=lr) for best, lr in ((0.6, 0.1), (0.5, 0.01), (0.4, 0.001)))
    launched(None, seed=9)  # it waits, so the page looks for changes by itself
    page = page_of(browser, f"{idle}/runs")
    boxes = page.get_by_role("table", name="Runs").get_by_role("checkbox")
    mine = page.get_by_role("checkbox", name=re.compile(f"lr 0.01, .*{chosen[:6]}"))
    ticked = page.locator("tbody input:checked")
    mine.check()
    page.get_by_role("button", name="Delete", exact=True).wait_for()
    expect(boxes.nth(2)).to_be_checked()

    for best in (0.9, 0.8, 0.7):
        launched(best, seed=round(10 * best))
    expect(boxes).to_have_count(1 + 7)
    changes.delete([first])
    expect(boxes).to_have_count(1 + 6)
    expect(mine).to_be_checked()
    expect(boxes.nth(4)).to_be_checked()
    expect(ticked).to_have_count(1)

    page.get_by_role("button", name="Delete", exact=True).click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(chosen[:6])
    launched(0.95, seed=1)
    expect(boxes).to_have_count(1 + 7)  # behind the question, which stays
    question.get_by_role("button", name="Delete").click()
    expect(question).to_have_count(0)
    expect(boxes).to_have_count(1 + 6)
    assert chosen not in {run.id for run in reading.runs()}
    assert last in {run.id for run in reading.runs()}
    page.get_by_role("button", name="Undo deleting 1 run").click()
    expect(mine).to_have_count(1)
    assert len(reading.runs()) == 7
    assert not (paths.home() / "app.log").exists()


def test_keys_search_filters_the_address_and_parallel_axes(browser: Any, idle: str) -> None:
    expect = patient()
    for index, config in enumerate(grid(RunConfig(), activation=["relu", "tanh"], loss=["mse", "cross_entropy"])):
        for lr in (0.1, 0.001):
            launched(0.2 + 0.1 * index + lr, activation=config.activation, loss=config.loss, lr=lr)
    page = page_of(browser, f"{idle}/runs")
    boxes = page.get_by_role("table", name="Runs").get_by_role("checkbox")
    expect(page).to_have_title("Runs · cnnviz")
    expect(boxes).to_have_count(1 + 8)
    expect(boxes.nth(1)).to_have_accessible_name(re.compile("tanh, cross entropy, lr 0.1 "))
    expect(page.locator("tbody tr").first).to_contain_text("★ 60.0 %")

    boxes.nth(1).focus()
    for key in ("Space", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Compare 2").wait_for()
    expect(boxes.nth(3)).to_be_focused()
    page.get_by_role("button", name="lr", exact=True).press("Enter")
    page.wait_for_function("() => location.search == '?sort=lr'")
    expect(page.get_by_role("columnheader", name="lr", exact=True)).to_have_attribute("aria-sort", "ascending")
    expect(boxes.nth(1)).to_have_accessible_name(re.compile("lr 0.001"))
    expect(page.locator("tbody input:checked")).to_have_count(2)

    page.get_by_role("button", name="Filter").press("Enter")
    page.get_by_role("button", name="tanh", exact=True).click()
    page.wait_for_function("() => location.search.includes('activation=tanh')")
    page.get_by_text("4 of 8 runs").wait_for()
    page.keyboard.press("Escape")
    page.get_by_test_id("stPopoverBody").wait_for(state="detached")
    expect(page.get_by_role("button", name="Filter")).to_be_focused()  # as it closes; what is typed before is lost
    page.wait_for_timeout(500)
    page.locator("[data-test-script-state=notRunning]").wait_for()  # drawn anew, without what the popover had
    page.get_by_placeholder("Search").press_sequentially("mse", delay=20)
    expect(page.get_by_placeholder("Search")).to_have_value("mse")
    page.get_by_placeholder("Search").press("Enter")
    page.get_by_text("2 of 8 runs").wait_for()
    page.wait_for_function("() => location.search.includes('search=mse')")
    url = page.url
    page.go_back()
    page.get_by_text("4 of 8 runs").wait_for()
    page.goto(url)  # as a link that was shared
    page.get_by_text("2 of 8 runs").wait_for()
    expect(page.get_by_placeholder("Search")).to_have_value("mse")
    page.get_by_role("button", name="Show all").click()
    page.get_by_text("8 runs", exact=True).wait_for()

    page.get_by_text("every run as a line").click()
    chart = page.locator("[data-testid=stVegaLiteChart]").locator("svg, canvas").first
    chart.wait_for()
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        assert faults(page) == []
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 0.35 * box["width"], box["y"] + 0.5 * box["height"])  # the second of four axes
    page.mouse.down()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.85 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function("() => /[?&]loss=/.test(location.search)")
    page.get_by_text("4 of 8 runs").wait_for()
    expect(boxes).to_have_count(1 + 4)
    assert not (paths.home() / "app.log").exists()
