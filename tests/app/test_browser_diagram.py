"""The diagram of a network in a real browser: what fits, what lights up, and that keys do what clicks do."""

from typing import Any

import pytest

from tests.app.test_browser_home import faults
from tests.helpers.runs import recorded
from tests.helpers.screens import box_of, page_of

pytestmark = pytest.mark.usefixtures("few_pictures")

ROOM = """() => {
  const hosts = [...document.querySelectorAll("*")];
  const root = hosts.find((each) => each.shadowRoot?.querySelector(".diagram")).shadowRoot;
  const scroll = root.querySelector(".scroll");
  const maps = [...root.querySelectorAll(".map, .class")].map((each) => each.getBoundingClientRect());
  return {
    first: maps[0].top,
    bottom: Math.max(root.querySelector(".diagram").getBoundingClientRect().bottom, ...maps.map((box) => box.bottom)),
    side: Math.min(...maps.map((box) => box.width)),
    hidden: scroll.scrollWidth - scroll.clientWidth,
    tall: [...root.querySelectorAll(".maps")].filter((each) => each.scrollHeight > each.clientHeight + 4).length,
    page: document.querySelector("[data-testid=stMainBlockContainer]").scrollHeight,
    beside: document.querySelector("[data-testid=stMain]").scrollWidth - innerWidth,
  };
}"""


def lit(page: Any) -> list[str]:
    """The names of the maps that are lit, without their values."""
    names = page.locator(".map.lit, .class.lit").evaluate_all("all => all.map((each) => each.ariaLabel.split(':')[0])")
    return [str(name) for name in names]


def test_a_network_is_on_one_screen_and_keys_reach_a_channel(browser: Any, address: str) -> None:
    run, other = recorded(activation="sigmoid"), recorded()
    page = page_of(browser, f"{address}/feature_maps?run={run}")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.get_by_text("sigmoid · epoch 2").wait_for()
    page.get_by_role("button", name="Export").wait_for()
    whole = page.evaluate(ROOM)
    assert whole["hidden"] == whole["tall"] == 0
    assert whole["side"] >= 8

    maps = page.get_by_label("c3: convolution")
    maps.get_by_role("button", name="c3 channel 4:").hover()
    assert lit(page) == [*(f"s2 channel {channel}" for channel in range(6)), "c3 channel 4"]
    assert page.locator(".map .kernel").count() == 6
    page.get_by_label("s4: ").get_by_role("button", name="s4 channel 3:").hover()
    assert lit(page) == ["c3 channel 3", "s4 channel 3"]
    page.get_by_label("fc6: ").get_by_role("button", name="fc6 unit 5:").hover()
    assert len(lit(page)) == 9
    page.get_by_text("Largest parts of its sum").wait_for()
    page.mouse.move(5, 5)

    page.get_by_role("button", name="c1 channel 0:").focus()
    page.keyboard.press("End")
    assert lit(page)[-1] == "c1 channel 5"
    for _ in range(6):  # maps of a column may stand beside one another
        page.keyboard.press("ArrowRight")
        if lit(page)[-1].startswith("c3"):
            break
    page.keyboard.press("Home")
    assert lit(page)[-1] == "c3 channel 0"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert lit(page)[-1] == "c3 channel 0"
    page.keyboard.press("Enter")
    page.get_by_text("c3, activation · channel 0").wait_for()
    page.wait_for_function("location.search.includes('layer=c3_activation')")
    page.keyboard.press("Escape")
    page.get_by_text("c3, activation · channel 0").wait_for(state="detached")
    page.go_back()
    page.get_by_text("c3, activation · channel 0").wait_for()
    page.get_by_role("button", name="Switch off").click()
    page.get_by_text("With c3 · 0 off (zero): accuracy").wait_for()
    box, detail = page.evaluate(ROOM), page.locator(".st-key-maps_detail").bounding_box()
    assert box["hidden"] == 0
    assert detail["x"] > 900
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert faults(page) == []

    page.get_by_role("combobox", name="Compare with").click()  # good against stalled: two clicks
    page.get_by_role("option", name="tanh").click()
    page.get_by_text("tanh · epoch 2").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("c3, activation · channel 0").wait_for(state="detached")
    page.wait_for_timeout(1500)
    both = page.evaluate(ROOM)
    assert both["hidden"] == both["tall"] == 0
    assert other in page.url
    for seen in (whole, both):
        assert seen["bottom"] < 900
        assert seen["page"] < 1400
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_timeout(1500)
    narrow = page.evaluate(ROOM)
    assert narrow["beside"] <= 0
    assert narrow["bottom"] < 900


def test_a_deep_network_scrolls_in_its_own_room(browser: Any, address: str) -> None:
    run = recorded("conv5", 1, activation="relu")
    page = page_of(browser, f"{address}/feature_maps?run={run}&layer=c9_activation&channel=95")
    page.set_viewport_size({"width": 1000, "height": 800})
    page.get_by_text("c9, activation · channel 95").wait_for()
    page.get_by_role("button", name="c9 channel 95:").scroll_into_view_if_needed()
    page.get_by_role("button", name="c9 channel 95:").hover()
    assert len(lit(page)) == 49
    seen = page.evaluate(ROOM)
    assert seen["side"] >= 8
    assert seen["beside"] <= 0
    assert seen["hidden"] > 0
    page.locator(".scroll.before").wait_for()  # there is more on the left: what was opened by the address is in sight
    channel, classes = page.get_by_role("button", name="c9 channel 95:"), page.get_by_label("Class probabilities")
    assert channel.bounding_box()["x"] + 24 < classes.bounding_box()["x"]

    page.set_viewport_size({"width": 1400, "height": 900})
    page.keyboard.press("Escape")
    page.get_by_text("c9, activation · channel 95").wait_for(state="detached")
    page.locator(".scroll:not(.before):not(.after)").wait_for()
    assert page.evaluate(ROOM)["hidden"] == 0  # all twelve layers beside one another
    page.locator(".maps.after, .maps.before").first.wait_for()  # long columns show that they go on

    residual = recorded("residual-8", 1, activation="relu")
    page.goto(f"{address}/feature_maps?run={residual}")
    page.get_by_label("a7: sum of the block's maps and those of a4").wait_for()
    page.get_by_text("a7 · + a4").wait_for()
    page.get_by_role("button", name="a7 channel 3:").hover()
    assert lit(page) == ["a4 channel 3", "c6 channel 3", "a7 channel 3"]
    page.get_by_text("Map 3 of c6, plus map 3 of a4.").wait_for()
    page.get_by_role("button", name="a7 channel 12:").hover()
    assert lit(page) == ["c6 channel 12", "a7 channel 12"]
    page.get_by_text("plus nothing: the block's input has no such map").wait_for()
    page.locator(".scroll:not(.after)").wait_for()  # closer together all its columns are in sight

    page.goto(f"{address}/feature_maps?run={residual}&other={run}")
    page.get_by_text("residual-8 · epoch 0", exact=True).wait_for()  # only what tells the two apart
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator(".scroll.after").wait_for()
    last, below = page.get_by_label("Class probabilities").first.get_by_role("button").last, page.locator(".name").last
    page.wait_for_timeout(1500)
    assert box_of(last)["y"] + box_of(last)["height"] <= box_of(below)["y"]  # its classes do not reach into the other
    assert box_of(below)["width"] < 390
