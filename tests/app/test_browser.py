"""The main job in a real browser: launch, watch, close, come back, look inside."""

import re
from pathlib import Path
from typing import Any

from PIL import Image

from cnnviz.store import reading
from tests.helpers.screens import box_of, page_of


def test_launch_watch_close_come_back_and_look_inside(browser: Any, address: str, tmp_path: Path) -> None:
    page = page_of(browser, address)
    page.get_by_text("See what a convolutional network learns").wait_for()
    form = page.get_by_test_id("stSidebar")
    assert not form.is_visible()  # its fields are not in the tab order
    page.locator(".st-key-open_form").get_by_role("button").click()
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name="2a · LeNet 3×3, ReLU").click()
    form.get_by_text(re.compile("^1 run, ")).wait_for()
    form.get_by_text("More", exact=True).click()
    for role, name, value in (("combobox", "Training images", "5000"), ("spinbutton", "Epochs", "40")):
        form.get_by_role(role, name=name).fill(value)  # cheap, and seen at it on a fast machine
        form.get_by_role(role, name=name).press("Enter")
    form.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    page.locator(".watching-steps .now").wait_for()
    page.locator("[data-testid=stVegaLiteChart] svg, [data-testid=stVegaLiteChart] canvas").first.wait_for()
    page.locator(".watching-board td", has_text=" %").wait_for()  # the first point, without a reload
    assert "None" not in page.locator(".watching-board").inner_text()
    (run,) = reading.runs()
    assert run.active

    page = page_of(browser, f"{address}/curves")
    for width in (800, 1400):  # it covers no control
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            """() => {
                const [pill, head] = ["pill", "curves_head"].map((key) =>
                    document.querySelector(`.st-key-${key}`)?.getBoundingClientRect());
                return pill && head && (pill.bottom <= head.top + 1 || pill.top >= head.bottom - 1);
            }"""
        )
    page.locator(".st-key-pill").get_by_role("link", name="1 network").click()
    page.locator(".watching-steps .training.now", has_text="of 40").wait_for()
    page.get_by_text("1 network finished in").wait_for(timeout=300_000)
    page.locator(".watching-film figure", has_text="epoch 40").wait_for()
    assert page.get_by_text("has not moved").count() == 0
    page.get_by_role("link", name="Why? Look at the curves").wait_for()
    assert reading.run(run.id).status == "FINISHED"
    assert (reading.run(run.id).epoch, run.config.limit_train) == (40, 5000)

    page = page_of(browser, f"{address}/feature_maps?run={run.id[:8]}&epoch=1")
    page.get_by_label("Class probabilities").wait_for()
    assert "epoch=1" in page.url
    page.get_by_role("button", name="test picture 7,").click()
    page.get_by_role("img", name="test picture 7, as").wait_for()
    page.get_by_role("radio", name="Layers").or_(page.get_by_role("button", name="Layers")).first.click()
    page.get_by_text("81,302 parameters").wait_for()

    picture = tmp_path / "mine.png"
    Image.new("RGB", (64, 48), "orange").save(picture)
    page.get_by_role("button", name="More").click()
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload")).first.click()
    page.locator("input[type=file]").set_input_files(str(picture))
    page.get_by_text("64×48 PNG").wait_for()
    page.get_by_label("Class probabilities").wait_for()

    page.goto(f"{address}/curves?runs={run.id[:8]}")
    page.locator("[data-testid=stVegaLiteChart] svg, [data-testid=stVegaLiteChart] canvas").first.wait_for()
    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="CSV", exact=True).wait_for()


def test_a_cold_deep_link_opens_the_app_around_the_page(browser: Any, cold_address: str) -> None:
    page = page_of(browser, f"{cold_address}/curves?runs=nothing")
    page.get_by_text("No runs yet").first.wait_for()
    page.get_by_role("link", name="Feature maps").wait_for()


def test_on_a_narrow_screen_a_form_that_was_closed_opens_with_one_press(browser: Any, address: str) -> None:
    page = page_of(browser, address)
    page.set_viewport_size({"width": 390, "height": 900})
    page.get_by_text("See what a convolutional network learns").wait_for()
    form, ours = page.get_by_test_id("stSidebar"), page.locator(".st-key-open_form").get_by_role("button")
    ours.click()
    page.locator(".st-key-form_is_open").wait_for(state="attached")
    form.get_by_role("combobox").first.wait_for()
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    form.wait_for(state="hidden")
    ours.click()
    form.get_by_role("combobox").first.wait_for()


def test_no_page_of_the_bar_lies_under_the_forms_button(browser: Any, address: str) -> None:
    """What does not fit beside it is in the bar's "more"."""
    page = page_of(browser, address)
    button = page.locator(".st-key-open_form").get_by_role("button")
    shown = page.locator(".rc-overflow-item").filter(visible=True)
    for is_open in (False, True):
        if is_open:
            button.click()
            page.get_by_test_id("stSidebar").get_by_role("button", name="Train", exact=True).wait_for()
        for width in (800, 900, 1060, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(1000)  # the bar counts its pages anew
            ends = shown.evaluate_all("""all => all.filter(each => getComputedStyle(each).opacity !== "0")
                .map(each => each.getBoundingClientRect().right)""")
            assert len(ends) > 1
            assert max(ends) <= box_of(button)["x"], (is_open, width)
