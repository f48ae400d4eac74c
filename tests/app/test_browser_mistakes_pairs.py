"""Two networks and many in a real browser: what AppTest cannot click."""

from typing import Any

import pytest

from tests.helpers.runs import recorded
from tests.helpers.screens import faults, page_of

# Nothing is dimmed, waiting to be drawn anew.
AT_REST = """() => !document.querySelector('[data-stale=true]')
  && !document.querySelector('.stApp[data-test-script-state=running]')"""


@pytest.mark.usefixtures("few_pictures")
def test_a_fate_a_quarter_a_pair_of_many_and_a_reload(browser: Any, address: str) -> None:
    a, b, c = (recorded(activation=each) for each in ("tanh", "sigmoid", "relu"))
    page = page_of(browser, f"{address}/mistakes?view=epochs&run={a}")
    page.get_by_role("button", name="Never right:").click()
    page.get_by_text("Never right: wrong after every epoch").wait_for()
    tiles = page.get_by_role("group", name="Never right").get_by_role("button")
    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_label("What it is taken for after each epoch").wait_for()
    for part in ("fate=never", "picture="):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
    strip = page.get_by_label("What it is taken for after each epoch").inner_text()
    page.reload()
    page.get_by_text("Never right: wrong after every epoch").wait_for()
    assert page.get_by_label("What it is taken for after each epoch").inner_text() == strip
    page.get_by_role("button", name="Learned early:").press("Enter")
    page.get_by_text("Learned early: right from an epoch").wait_for()

    page.goto(f"{address}/mistakes?view=many&run={a}&networks={a}&networks={b}&networks={c}")
    page.get_by_text("All 3 networks get").wait_for()
    page.wait_for_function(AT_REST)
    assert faults(page) == []
    cell = page.get_by_role("button", name="tanh and relu: the same answer")
    cell.focus()
    page.keyboard.press("Enter")
    page.get_by_role("group", name="A and B on the same pictures").wait_for()
    for part in (f"run={a}", f"other={c}", "view=pair"):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
    page.get_by_role("button", name="Both wrong:").click()
    page.get_by_text("Both wrong: the most confident first").wait_for()
    page.wait_for_function("part => location.search.includes(part)", arg="part=both_wrong")
    page.emulate_media(color_scheme="dark")
    page.get_by_text("Both wrong: the most confident first").wait_for()
    page.wait_for_function(AT_REST)
    assert faults(page) == []
    page.get_by_role("group", name="Both wrong").get_by_role("button").first.click()
    page.get_by_role("button", name="Look inside").click()
    page.wait_for_function("location.pathname.endsWith('/feature_maps')")
    for part in (f"run={a}", f"other={c}", "picture="):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
