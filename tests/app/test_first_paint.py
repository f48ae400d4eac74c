"""What a browser shows before Streamlit's scripts have run."""

from pathlib import Path
from typing import Any

import pytest
from streamlit import file_util

from cnnviz.app import first_paint
from cnnviz.app.shell import PAGES
from tests.helpers.screens import page_of


def test_the_bar_is_there_before_streamlits_scripts_and_gone_once_the_app_is(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.route("**/*.js", lambda route: route.abort())
    page.goto(f"{address}/curves?scale=log", wait_until="domcontentloaded")
    bar = page.locator("#opening")
    bar.get_by_text("Opening cnnviz").wait_for()
    assert bar.locator(".pages span").all_inner_texts() == [title for title, _ in PAGES.values()]
    assert bar.locator(".asked").all_inner_texts() == ["Curves"]
    assert bar.evaluate("bar => getComputedStyle(bar).backgroundColor") == "rgb(18, 23, 29)"
    place = bar.locator(".asked").bounding_box()
    context.close()

    page = page_of(browser, f"{address}/curves?scale=log")
    page.locator(".st-key-open_form").get_by_role("button").wait_for()
    page.locator("#opening").wait_for(state="detached")
    there = page.get_by_role("link", name="Curves", exact=True).first.bounding_box()
    assert there == pytest.approx(place, abs=6)  # the pages' names stay where they were


def test_a_document_of_another_streamlit_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "class=asked>Mistakes" in first_paint.document("mistakes")
    monkeypatch.setattr(file_util, "get_static_dir", lambda: str(tmp_path))
    (tmp_path / "index.html").write_text("<main id=app></main>")
    assert first_paint.document("mistakes") == "<main id=app></main>"
