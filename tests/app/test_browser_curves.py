"""Curves in a real browser: an epoch clicked leads to its feature maps, and the address brings it all back."""

from typing import Any

import pytest

from tests.helpers.runs import seed
from tests.helpers.screens import page_of

CHART = "[data-testid=stVegaLiteChart]"


@pytest.mark.usefixtures("synthetic_root")
def test_click_an_epoch_share_the_address_and_look_inside(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    line = [0.1, 0.2, 0.3, 0.4, 0.5]
    first, second = seed(line, [value + 0.1 for value in line])
    elsewhere: list[str] = []
    page = page_of(browser, f"{address}/curves?runs={first[:8]}&runs={second[:8]}&measure=Accuracy", elsewhere)
    chart = page.locator(f"{CHART} svg").first
    chart.wait_for()
    epoch = page.get_by_role("spinbutton", name="Epoch (or click one in a chart)")
    expect(epoch).to_have_value("4", timeout=30_000)
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # epochs 0 to 4 from edge to edge
    expect(epoch).to_have_value("2", timeout=30_000)
    page.wait_for_function("() => location.search.includes('epoch=2')")

    page.get_by_text("Loss", exact=True).first.click()
    page.get_by_text("loss (mean over pictures)").first.wait_for(state="attached")
    page.wait_for_function("() => !location.search.includes('measure=Accuracy')")  # written when all is drawn
    url = page.url
    page.close()

    page = page_of(browser, url, elsewhere)
    page.get_by_text("loss (mean over pictures)").first.wait_for(state="attached")
    epoch = page.get_by_role("spinbutton", name="Epoch (or click one in a chart)")
    expect(epoch).to_have_value("2", timeout=30_000)
    page.get_by_role("button", name="Feature maps").click()
    page.get_by_text("predicted").first.wait_for()
    assert "epoch=2" in page.url
    assert f"run={second[:8]}" in page.url or f"run={first[:8]}" in page.url
    assert "other=" in page.url
    page.close()
    assert elsewhere == []
