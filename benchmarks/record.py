"""README's moving picture, of the real app: python -m benchmarks.record

From an empty store: the demonstration, the click on *Try it*, the training, what came of it.
"""

import io
import time

from PIL import Image
from playwright.sync_api import Page

from benchmarks.start import first_visit
from cnnviz import paths

TARGET = paths.PROJECT / ".github" / "first-minute.webp"
SIZE = (1400, 910)
SHOWN = (900, 585)
SECONDS = 0.7  # each frame is shown
FASTER = 2  # than it was


def main() -> None:
    frames: list[Image.Image] = []
    with first_visit(*SIZE) as (page, address):
        page.goto(address)
        page.get_by_role("button", name="Train three networks").wait_for()
        page.get_by_text("Epoch 1 of 15").wait_for()
        take(page, frames, 8)
        page.get_by_role("button", name="Train three networks").click()
        page.get_by_text("Which will be best?").wait_for()
        take(page, frames, 2)
        page.get_by_role("dialog").get_by_role("button", name="Skip").click()
        page.locator(".watching-steps .now").wait_for()
        done = page.get_by_text("3 networks finished in")
        while not done.count():
            take(page, frames, 1)
        page.locator(".watching-film figure", has_text="epoch 6").wait_for()
        take(page, frames, 4)
    frames[0].save(
        TARGET, save_all=True, append_images=frames[1:], duration=1000 * SECONDS, loop=0, quality=70, method=6
    )
    print(f"{len(frames)} frames, {TARGET.stat().st_size / 1e6:.1f} MB")


def take(page: Page, frames: list[Image.Image], count: int) -> None:
    for _ in range(count):
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        frames.append(picture.resize(SHOWN, Image.Resampling.LANCZOS))
        time.sleep(SECONDS * FASTER)


if __name__ == "__main__":
    main()
