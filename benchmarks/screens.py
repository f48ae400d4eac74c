"""Where the answers of Curves and Feature maps stand, and how long clicks take: python -m benchmarks.screens RUN RUN …

A server on a free port with the runs of CNNVIZ_HOME, whose ids are given: the first two are compared on Feature maps.
Chromium 1400×900. Prints Markdown; needs the packages of requirements-dev.txt.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from playwright.sync_api import Page

from benchmarks.start import served

TIMES = 5  # clicks of a kind; their median counts
HEIGHT = "() => document.querySelector('[data-testid=stMain]').scrollHeight"
# What can be pressed on the first screen; a chart's own buttons are seen under the pointer alone.
CONTROLS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [role=slider]")]
  .filter((each) => {
    const box = each.getBoundingClientRect();
    const style = getComputedStyle(each);
    return box.width > 1 && box.bottom > 0 && box.top < innerHeight && style.visibility != "hidden"
      && !each.closest("[data-testid=stElementToolbar]") && each.getAttribute("aria-label") != "Open";
  }).length"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    runs = parser.parse_args().runs
    with served() as (page, address):
        print("| page | what | |\n|---|---|---|")
        curves(page, address, runs)
        feature_maps(page, address, runs)


def curves(page: Page, address: str, runs: list[str]) -> None:
    page.goto(f"{address}/curves?" + "&".join(f"runs={run}" for run in runs))
    page.get_by_text("best test epoch").first.wait_for()
    page.get_by_role("button", name="Copy Vega-Lite spec").first.wait_for(state="attached")
    page.wait_for_timeout(8000)
    top = page.get_by_test_id("stVegaLiteChart").first.bounding_box()
    print(f"| Curves, {len(runs)} runs | y of the first chart | {top['y'] if top else -1:.0f} px |")
    print(f"| Curves, {len(runs)} runs | controls on the first screen | {page.evaluate(CONTROLS)} |")
    print(f"| Curves, {len(runs)} runs | height of the page | {page.evaluate(HEIGHT)} px |")


def feature_maps(page: Page, address: str, runs: list[str]) -> None:
    for shown, address_of in (("one network", f"run={runs[0]}"), ("two networks", f"run={runs[0]}&other={runs[1]}")):
        page.goto(f"{address}/feature_maps?{address_of}")
        page.get_by_label("Class probabilities").last.wait_for()
        page.wait_for_timeout(5000)
        top = page.get_by_role("button", name="c1 channel 0:").first.bounding_box()
        print(f"| Feature maps, {shown} | y of the first map | {top['y'] if top else -1:.0f} px |")
        print(f"| Feature maps, {shown} | height of the page | {page.evaluate(HEIGHT)} px |")
        print(f"| Feature maps, {shown} | a click on a picture → its maps | {median(page, another_picture):.2f} s |")
        print(
            f"| Feature maps, {shown} | a click on a map → its channel | {median(page, a_channel):.2f} s |", flush=True
        )


def another_picture(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"test picture {number + 1},").click()
    page.get_by_role("img", name=f"test picture {number + 1}, as").first.wait_for()


def a_channel(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"c1 channel {number}:").first.click()
    page.get_by_text(f"c1, activation · channel {number}").wait_for()


def median(page: Page, click: Callable[[Page, int], None]) -> float:
    """Seconds from a click to what it shows."""
    taken = []
    for number in range(TIMES):
        begun = time.monotonic()
        click(page, number)
        taken.append(time.monotonic() - begun)
        page.wait_for_timeout(1500)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
