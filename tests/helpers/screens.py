"""What a test does with a page."""

import json
import shutil
from typing import Any

from streamlit.testing.v1 import AppTest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def said(opened: AppTest) -> str:
    everything = [*opened.markdown, *opened.caption, *opened.info, *opened.warning, *opened.error]
    return "\n".join(str(each.value) for each in everything)


def with_open(opened: AppTest, *popovers: str) -> AppTest:
    """The page with these popovers open, as clicks on their buttons would have it; what is in them is drawn then."""
    for key in popovers:
        opened.session_state[key] = True
    return opened.run()


def diagram(opened: AppTest) -> dict[str, Any]:
    """What the diagram of Feature maps shows."""
    (its,) = (each for each in opened.get("bidi_component") if each.proto.component_name == "cnnviz_diagram")
    data: dict[str, Any] = json.loads(its.proto.json)
    return data


def page_of(browser: Any, url: str) -> Any:
    """The page at this address, in the one tab of all tests, as if the tab were new: it need not compile Streamlit's
    scripts again, which is half of a load."""
    page = browser.contexts[0].pages[0]
    leave(page)
    page.set_viewport_size({"width": 1400, "height": 1100})
    page.set_default_timeout(180_000)  # a busy machine takes a minute to start
    page.emulate_media(color_scheme="light")
    page.goto(url)
    return page


def leave(page: Any) -> None:
    """As whoever closes its tab does."""
    if page.url.startswith("http"):
        page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    page.mouse.move(0, 0)


def box_of(locator: Any) -> dict[str, float]:
    """Where it is on the screen, once it is there: a chart that is drawn anew is nowhere for a moment."""
    for _ in range(100):
        box: dict[str, float] | None = locator.bounding_box()
        if box:
            return box
        locator.page.wait_for_timeout(200)
    raise AssertionError(f"{locator} is nowhere on the screen")


def faults(page: Any) -> list[str]:
    """What axe-core finds serious on it, and still finds a second later: not what fades in or out."""
    from axe_playwright_python.sync_playwright import Axe

    page.locator(".stToast").first.wait_for(state="detached")  # Streamlit's own have no name
    for _ in range(3):
        found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
        if not found:
            break
        page.wait_for_timeout(1000)
    return [f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['html'][:200]}" for each in found]
