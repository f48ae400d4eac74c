"""Looking inside a network in a real browser: everything that AppTest cannot click."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from cnnviz.store import artifacts, reading
from tests.helpers.runs import recorded
from tests.helpers.screens import page_of

TEXT = "[data-testid=stMarkdown], [data-testid=stCaptionContainer], [data-testid=stCode]"


def shown(page: Any, grids: int) -> tuple[list[str], list[str]]:
    """All that is written on the page, and the pixels of its maps and thumbnails, once so many grids are at rest."""
    seen: list[tuple[list[str], list[str]]] = []
    while len(seen) < 2 or seen[-1] != seen[-2] or len(seen[-1][1]) != grids:
        assert len(seen) < 60
        page.wait_for_timeout(700)
        atlases = page.get_by_role("group").evaluate_all("all => all.map(x => x.style.getPropertyValue('--atlas'))")
        seen.append((page.locator(TEXT).all_inner_texts(), [atlas for atlas in atlases if atlas]))
    return seen[-1]


@pytest.mark.usefixtures("few_pictures")
def test_pick_slide_click_switch_off_and_reload(browser: Any, address: str) -> None:
    run, other = recorded(), recorded(activation="sigmoid")
    page = page_of(browser, f"{address}/feature_maps?run={run}&other={other}")
    page.get_by_role("button", name="test picture 7,").click()  # a thumbnail
    page.get_by_role("img", name="test picture 7, as").first.wait_for()

    slider = page.get_by_role("slider", name="Epoch")
    expect(slider).to_have_count(1)  # while the page is drawn anew there may be two
    slider.press("ArrowLeft")
    page.get_by_text("tanh · epoch 1").wait_for()
    page.get_by_text("sigmoid · epoch 1").wait_for()

    maps = page.get_by_label("tanh · epoch 1").get_by_label("c3: convolution")
    maps.get_by_role("button", name="c3 channel 4:").click()
    page.get_by_text("c3, activation · channel 4").wait_for()
    assert maps.get_by_role("button", name="c3 channel 4:").get_attribute("aria-pressed") == "true"
    page.get_by_role("application", name="Channel 4 of c3_activation").click(position={"x": 50, "y": 10})
    page.get_by_text("c3[4] at row 0, column 2:").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_text("c3[4] at row 1, column 2:").wait_for()

    page.get_by_role("button", name="Switch off").click()
    page.get_by_text("With c3 · 4 off (zero): accuracy on 1,000 test images").wait_for()
    for part in ("epoch=1", "picture=7", "layer=c3_activation", "channel=4", "cell=1.2", "change=c3.4%3Aoff"):
        page.wait_for_function("part => location.search.includes(part)", arg=part)
    grids = 2 * 7 + 2  # columns of both networks, the gallery and the top pictures
    before, url = shown(page, grids), page.url

    page = page_of(browser, url)
    page.get_by_text("With c3 · 4 off (zero): accuracy on 1,000 test images").wait_for()
    again = shown(page, grids)
    assert again[0] == before[0]
    assert again[1] == before[1]
    page.get_by_role("button", name="Restore").click()
    page.get_by_text("accuracy on 1,000").wait_for(state="detached")


@pytest.mark.usefixtures("few_pictures")
def test_upload_several_and_choose_one_by_keyboard(browser: Any, address: str, tmp_path: Path) -> None:
    page = page_of(browser, f"{address}/feature_maps?run={recorded()}&source=upload")
    for name, colour in (("sky.png", "skyblue"), ("sun.png", "orange")):
        Image.new("RGB", (64, 48), colour).save(tmp_path / name)
    page.locator("input[type=file]").set_input_files([str(tmp_path / "sky.png"), str(tmp_path / "sun.png")])
    page.get_by_text("sky.png: 64×48 PNG").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("sky.png: 64×48 PNG").wait_for(state="detached")
    strip = page.get_by_role("group", name="Uploaded pictures")
    strip.locator("button[aria-pressed=true][title='sky.png']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    strip.locator("button[aria-pressed=true][title='sun.png']").wait_for()


LIGHT = """async image => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const pixels = canvas.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data;
  return pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
}"""


@pytest.mark.usefixtures("few_pictures")
def test_the_square_of_an_upload_is_dragged_and_moved_by_keys(browser: Any, address: str, tmp_path: Path) -> None:
    halves = Image.new("RGB", (128, 64), "black")
    halves.paste("white", (64, 0, 128, 64))
    halves.save(tmp_path / "halves.png")
    page = page_of(browser, f"{address}/feature_maps?run={recorded(epochs=1)}&source=upload")
    page.locator("input[type=file]").set_input_files(str(tmp_path / "halves.png"))
    page.get_by_text("128×64 PNG, centre square of 64").wait_for()
    seen = page.get_by_alt_text("halves.png in 32×32 pixels")
    assert 155 < seen.evaluate(LIGHT) < 163  # alpha is white everywhere

    frame = page.get_by_role("application", name="Square of halves.png")
    box = frame.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * box["width"], box["y"], steps=4)
    page.get_by_text("64×64 pixels at 64, 0 of 128×64").wait_for()
    assert page.get_by_text("centre square of 64").count() == 1  # nothing is sent before it rests
    page.mouse.up()
    page.get_by_text("128×64 PNG, square of 64 at 64, 0").wait_for()
    assert seen.evaluate(LIGHT) == 255

    for _ in range(7):
        frame.press("Shift+ArrowLeft")
    page.get_by_text("128×64 PNG, square of 64 at 0, 0").wait_for()
    assert seen.evaluate(LIGHT) == pytest.approx(255 / 4)
    frame.press("-")
    page.get_by_text("128×64 PNG, square of 62 at 1, 1").wait_for()
    page.get_by_role("button", name="Centre").click()
    page.get_by_text("64×64 pixels at 32, 0 of 128×64").wait_for()
    page.get_by_text("Whole picture on grey").click()
    page.get_by_text("on a grey square of 128").wait_for()


@pytest.mark.usefixtures("few_pictures")
def test_playing_runs_to_the_last_epoch(browser: Any, address: str) -> None:
    page = page_of(browser, f"{address}/feature_maps?run={recorded()}&epoch=0")
    page.get_by_text("· epoch 0").first.wait_for()
    page.get_by_role("button", name="Play").click()
    page.get_by_text("· epoch 1").first.wait_for()
    page.get_by_text("· epoch 2").first.wait_for()
    page.get_by_role("button", name="Play").wait_for()


@pytest.mark.usefixtures("few_pictures")
def test_what_is_on_show_can_be_saved(browser: Any, address: str, tmp_path: Path) -> None:
    run = recorded("lenet3x3", activation="relu")
    page = page_of(browser, f"{address}/feature_maps?run={run}&picture=3&layer=c1_activation&channel=1")
    page.get_by_text("Its values over").wait_for()
    for name in ("Save as PNG", "All layers (PNG)", "All maps (NPZ)"):
        if name == "All layers (PNG)":
            page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        download.value.save_as(tmp_path / name)
    for name in ("All layers (PNG)", "Save as PNG"):
        drawn = Image.open(tmp_path / name)
        drawn.load()
        assert min(drawn.size) > 200
    with np.load(tmp_path / "All maps (NPZ)") as arrays:
        x = arrays["picture"].astype(np.float32) / 127.5 - 1
        weights = artifacts.load_checkpoint(reading.run(run), 2)
        first = torch.nn.functional.conv2d(
            torch.from_numpy(x).permute(2, 0, 1)[None], weights["c1.weight"], weights["c1.bias"]
        )
        np.testing.assert_allclose(arrays["c1"], first[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(arrays["c1_activation"], first[0].clamp(min=0).numpy(), atol=1e-5)
        assert arrays["fc7"].shape == (10,)
