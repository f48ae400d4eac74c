"""Findings and heat maps in a real browser: unfolded, shown and chosen with keys alone."""

from typing import Any

import pytest

from tests.helpers.runs import seed
from tests.helpers.screens import page_of


@pytest.mark.usefixtures("synthetic_root")
def test_a_trial_is_shown_and_a_setting_chosen_with_keys(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    first, second, learned = seed([0.1] * 10, [0.1] * 10, [0.1, 0.4, *[0.6] * 8])  # lr 0.1, 0.01, 0.001
    elsewhere: list[str] = []
    page = page_of(browser, f"{address}/curves?why=Findings", elsewhere)
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
    assert elsewhere == []
    page.close()
