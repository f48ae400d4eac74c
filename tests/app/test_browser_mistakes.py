"""The page Mistakes in a real browser: everything that AppTest cannot click."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.helpers.runs import recorded
from tests.helpers.screens import faults, page_of

expect.set_options(timeout=60_000)


def chosen(page: Any) -> Any:
    return page.get_by_role("group", name="Confusion matrix").locator("button[aria-pressed=true]")


def figures(page: Any) -> list[str]:
    found: list[str] = page.get_by_role("group", name="Confusion matrix").locator("button").all_inner_texts()
    return found


@pytest.mark.usefixtures("few_pictures")
def test_slide_click_a_cell_look_inside_compare_and_reload(browser: Any, address: str) -> None:
    run, other = recorded(), recorded(activation="sigmoid", gain=4.0)
    page = page_of(browser, f"{address}/mistakes?run={run}")
    page.get_by_text("right after epoch 2").wait_for()
    matrix = page.get_by_role("group", name="Confusion matrix")
    expect(matrix.get_by_role("button")).to_have_count(100)
    before = figures(page)
    slider = page.get_by_role("slider", name="Epoch")
    expect(slider).to_have_count(1)
    slider.press("ArrowLeft")
    page.get_by_text("right after epoch 1").wait_for()
    page.wait_for_function("() => location.search.includes('epoch=1')")
    for _ in range(100):  # the matrix follows
        if figures(page) != before:
            break
        page.wait_for_timeout(200)
    assert figures(page) != before

    cells = matrix.get_by_role("button")
    most = max(range(100), key=lambda place: int(figures(page)[place].replace(",", "")) if place % 11 else -1)
    cells.nth(most).click()
    chip = page.get_by_role("button", name=re.compile("taken for .* · [1-9]"))
    chip.wait_for()
    expect(chosen(page)).to_have_count(1)
    chip.click()
    chip.wait_for(state="detached")
    expect(chosen(page)).to_have_count(0)

    cells.nth(most).focus()  # by keys: one cell on and back again
    page.keyboard.press("ArrowRight" if most % 10 < 9 else "ArrowLeft")
    page.keyboard.press("ArrowLeft" if most % 10 < 9 else "ArrowRight")
    page.keyboard.press("Enter")
    chip.wait_for()
    expect(chosen(page)).to_be_focused()
    said = chip.inner_text().split("\n")[0]  # without its sign

    pictures = page.get_by_role("group", name=re.compile(" taken for "))
    first = pictures.get_by_role("button").first
    title = str(first.get_attribute("title"))
    first.click()
    page.get_by_role("button", name="Look inside").wait_for()
    for part in (f"cell={most // 10}.{most % 10}", "picture=", "epoch=1"):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(1000)
        assert faults(page) == []
    url = page.url

    page = page_of(browser, url)  # the address brings all of it back
    page.get_by_role("button", name=said).wait_for()
    page.get_by_role("button", name="Look inside").wait_for()
    page.get_by_role("button", name=title).first.wait_for()
    page.get_by_role("button", name="Look inside").click()
    page.wait_for_url("**/feature_maps**")
    number = re.search(r"test picture (\d+)", title)
    assert number is not None
    page.get_by_role("img", name=f"test picture {number[1]}, as").first.wait_for()
    for part in (f"run={run}", "epoch=1"):
        page.wait_for_function("part => location.search.includes(part)", arg=part)

    page.goto(f"{address}/mistakes?run={run}&other={other}&matrix=difference&epoch=1")
    page.get_by_text("B − A", exact=True).wait_for()
    expect(page.get_by_role("group", name="Confusion matrix").get_by_role("button")).to_have_count(100)
    page.get_by_role("radio", name="Side by side").click()
    expect(page.get_by_role("group", name="Confusion matrix").get_by_role("button")).to_have_count(200)


@pytest.mark.usefixtures("few_pictures")
def test_figures_by_class_and_calibration_are_drawn_and_have_no_faults(browser: Any, address: str) -> None:
    run, other = recorded(), recorded(activation="sigmoid", gain=4.0)
    page = page_of(browser, f"{address}/mistakes?run={run}&view=classes")
    charts = page.locator("[data-testid=stVegaLiteChart] svg, [data-testid=stVegaLiteChart] canvas")
    expect(charts).to_have_count(2)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(1000)
    assert faults(page) == []
    page.goto(f"{address}/mistakes?run={run}&other={other}&view=calibration")
    expect(charts).to_have_count(6)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(1000)
        assert faults(page) == []
