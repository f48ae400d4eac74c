"""The browser's own buttons: back, forward and reload show what the address says."""

from typing import Any

import pytest

from cnnviz import paths
from tests.helpers.runs import seed
from tests.helpers.screens import page_of


@pytest.mark.usefixtures("few_pictures")
def test_back_forward_and_reload_on_the_curves(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    (run_id,) = seed([0.1, 0.2, 0.3])
    page = page_of(browser, f"{address}/curves?runs={run_id[:8]}&measure=Error&epoch=1")
    epoch = page.get_by_role("spinbutton", name="Epoch", exact=True)
    expect(epoch).to_have_value("1", timeout=30_000)
    measure = page.get_by_role("combobox", name="Measure")
    for name in ("Accuracy", "Loss"):
        measure.click()
        page.get_by_role("option", name=name).click()
        page.wait_for_function("name => location.search.includes(`measure=${name}`)", arg=name)

    page.go_back()
    expect(measure).to_have_value("Accuracy", timeout=30_000)
    page.go_back()
    expect(measure).to_have_value("Error", timeout=30_000)
    page.go_forward()
    expect(measure).to_have_value("Accuracy", timeout=30_000)
    page.wait_for_function("location.search.includes('measure=Accuracy')")  # written when the page is drawn to its end
    page.reload()
    expect(measure).to_have_value("Accuracy", timeout=30_000)
    expect(epoch).to_have_value("1", timeout=30_000)
    assert not (paths.home() / "app.log").exists()


@pytest.mark.usefixtures("few_pictures")
def test_back_and_forward_between_and_on_pages(browser: Any, address: str) -> None:
    run = seed([0.1, 0.2, 0.3])[0][:8]
    page = page_of(browser, f"{address}/feature_maps?run={run}&epoch=1&picture=3")
    page.get_by_role("img", name="test picture 3, as").wait_for()
    page.get_by_role("button", name="test picture 7,").click()
    page.get_by_role("img", name="test picture 7, as").wait_for()
    page.wait_for_function("() => location.search.includes('picture=7')")
    page.go_back()
    page.get_by_role("img", name="test picture 3, as").wait_for()
    page.go_forward()
    page.get_by_role("img", name="test picture 7, as").wait_for()
    page.get_by_role("link", name="Curves").click()
    page.get_by_role("button", name="Export").wait_for()
    page.wait_for_function("() => location.search.includes('runs=')")
    page.get_by_role("link", name="Feature maps").click()  # shows what it showed
    page.get_by_role("img", name="test picture 7, as").wait_for()
    page.wait_for_function("() => location.search.includes('picture=7')")
    page.go_back()  # each page is one entry, however its address was completed
    page.get_by_role("heading", name="Curves").wait_for()
    page.go_back()
    page.get_by_role("img", name="test picture 7, as").wait_for()
    page.get_by_text("· epoch 1").wait_for()
    assert f"run={run}" in page.url
    assert not (paths.home() / "app.log").exists()


@pytest.mark.usefixtures("few_pictures")
def test_what_a_page_reports_while_the_browser_goes_back_does_not_hold_it(browser: Any, address: str) -> None:
    seed([0.1, 0.2, 0.3])
    page = page_of(browser, f"{address}/runs")
    page.get_by_role("heading", name="Runs").wait_for()
    page.get_by_role("link", name="Curves").click()
    page.get_by_role("button", name="Export").wait_for()
    page.wait_for_function("() => location.search.includes('runs=')")
    for wait in (0, 20, 60, 150, 400):  # ms, until a button reports something without having been touched
        page.evaluate(
            """wait => {
                const buttons = [...document.querySelectorAll('button')];
                const button = buttons.find(each => each.innerText.includes('New experiment'));
                history.back();
                setTimeout(() => button.click(), wait);
            }""",
            wait,
        )
        page.get_by_role("heading", name="Runs").wait_for()
        page.wait_for_timeout(2000)
        assert "/runs" in page.url
        assert page.get_by_role("heading", name="Runs").is_visible()
        page.go_forward()
        page.get_by_role("button", name="Export").wait_for()
