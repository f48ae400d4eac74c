"""The report in a real browser: the page that makes it, and the file, opened without a network."""

from pathlib import Path
from typing import Any

import pytest

from cnnviz.config import RunConfig
from cnnviz.store import reports
from tests.helpers.runs import trained
from tests.helpers.screens import page_of

TEXT = "**Mine** <script>alert(1)</script> ![x](https://evil.example/x.png)"


@pytest.mark.usefixtures("few_pictures")
def test_what_is_written_stays_and_the_file_does_what_is_clicked(browser: Any, address: str, tmp_path: Path) -> None:
    ids = [trained(RunConfig(dataset="synthetic", activation=each)) for each in ("tanh", "sigmoid")]
    url = f"{address}/report?of=runs&runs={ids[0][:8]}&runs={ids[1][:8]}"
    page = page_of(browser, url)
    fold = page.locator("[data-testid=stExpander] summary", has_text="Curves")
    fold.click()
    page.get_by_label("Your own words").fill(TEXT)
    page.get_by_text("Kept", exact=True).wait_for()
    assert reports.load(ids).words == {"curves": TEXT}
    page.reload()
    fold.click()
    assert page.get_by_label("Your own words").input_value() == TEXT
    page.get_by_role("button", name="Up").click()
    page.get_by_role("button", name="Make the report").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML").click()
    assert reports.load(ids).order[:3] == ("setup", "predictions", "curves")
    shown = page.frame_locator("iframe").first
    shown.locator("html[data-drawn=true]").wait_for(state="attached")
    shown.get_by_role("link", name="The first kernels").click()
    assert shown.locator("section").count() == 13  # within the frame the link leads to the file's own section
    download.value.save_as(tmp_path / "report.html")
    _opened_offline(browser, tmp_path / "report.html")


def _opened_offline(browser: Any, file: Path) -> None:
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    page.locator("html[data-drawn=true]").wait_for(state="attached")
    assert [each for each in requests if not each.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    assert page.locator(".own strong").inner_text() == "Mine"
    assert page.locator(".own script, .own img").count() == 0

    lines = page.locator("#curves .chart").first.locator("path[stroke-width='1.8']")
    assert {each.get_attribute("opacity") for each in lines.all()} == {"1"}
    page.locator("#curves .legend input").first.uncheck()
    page.locator("#curves .chart").first.locator("path[stroke-width='1.8'][opacity='0']").first.wait_for(
        state="attached"
    )

    slider = page.locator("#pictures input[type=range]")
    slider.focus()
    slider.press("Home")
    assert page.locator("#pictures output").inner_text() == "epoch 0"
    first = page.locator("#pictures figure").first
    assert first.locator("img:visible").count() == 2  # the picture, and its maps of one epoch
    assert first.locator("figcaption:visible").count() == 1

    cell = page.locator("#mistakes .matrix button").first
    cell.focus()
    cell.press("Enter")
    assert cell.get_attribute("aria-pressed") == "true"
    assert page.locator("#mistakes .opened i").count() > 0

    for width in (390, 800):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("#runs table").first.is_visible()
    context.close()
