"""Findings and heat maps in a real browser: unfolded, shown and chosen with keys alone."""

import contextlib
import re
from typing import Any

import pytest

from cnnviz.config import RunConfig
from cnnviz.store import changes, reading
from cnnviz.store.runs import Segment
from tests.helpers.findings import overfit
from tests.helpers.runs import seed
from tests.helpers.screens import page_of


@pytest.mark.usefixtures("few_pictures")
def test_a_trial_is_shown_and_a_setting_chosen_with_keys(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    first, second, learned = seed([0.1] * 10, [0.1] * 10, [0.1, 0.4, *[0.6] * 8])  # lr 0.1, 0.01, 0.001
    page = page_of(browser, f"{address}/curves?why=Findings")
    fold = page.locator("summary", has_text="2 runs never left chance level: lr 0.01 or more.")
    fold.wait_for()
    assert page.get_by_text("What would prove it wrong").count() == 0
    fold.focus()
    page.keyboard.press("Enter")
    page.get_by_text("What would prove it wrong").first.wait_for()
    show = page.get_by_role("button", name="Show: lr 0.1, 10.0 %")
    show.focus()
    page.keyboard.press("Enter")  # a trial that exists: its curve and that of the run whose trial it is
    page.wait_for_function(f"() => !location.search.includes('{learned[:8]}')")
    assert first[:8] in page.url
    assert second[:8] in page.url

    page.goto(f"{address}/curves?why=Which+setting+matters")
    cell = page.get_by_role("button", name="lr 0.001: 60.0 %, one seed, no spread. Show its curve")
    cell.wait_for()
    expect(page.get_by_role("button", name="Show its curve")).to_have_count(3)
    cell.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="lr 0.01: 10.0 %")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => location.search.includes('runs={second[:8]}')")
    page.wait_for_function(f"() => !location.search.includes('{first[:8]}')")


@pytest.mark.usefixtures("few_pictures")
def test_from_overfitting_to_its_remedy_trained_and_drawn_beside_it(browser: Any, address: str) -> None:
    """Two clicks: unfold the finding, try what it offers. What it showed is then said where the button was."""
    from playwright.sync_api import TimeoutError as Late

    config = RunConfig(model="f12", dataset="synthetic", limit_train=200, batch_size=50, epochs=20)
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    figures = overfit(20, 10).pivot(index="epoch", columns="metric", values="value").to_dict("index")
    for epoch, values in figures.items():
        changes.record(run_id, epoch, values, [Segment(0, 0.0, 1.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    page = page_of(browser, f"{address}/curves?runs={run_id[:8]}")
    fold = page.locator("summary", has_text="It overfits since epoch")
    fold.click()
    others = page.get_by_role("button", name="Other remedies").first  # the remedy may come to overfit, too
    others.wait_for()
    page.get_by_role("button", name="Try dropout 0.5").click()
    page.wait_for_function(f"() => /runs={run_id[:8]}(,|%2C|&runs=)/.test(location.search)")  # its curve is beside
    (remedy,) = [run for run in reading.runs() if run.id != run_id]
    assert (remedy.config.dropout, remedy.config.limit_train, remedy.parent) == (0.5, 200, "")
    assert remedy.id[:8] in page.url
    page.get_by_text(re.compile(r" against .* within 20 epochs")).wait_for()  # trained, and compared
    assert reading.run(remedy.id).epoch == 20
    for _ in range(3):  # folded until now; a click while the page is drawn anew is lost
        others.click()
        with contextlib.suppress(Late):
            page.get_by_role("button", name="Try flips and shifts").wait_for(timeout=20_000)
            break
    page.get_by_role("button", name="Try all training pictures").wait_for()
