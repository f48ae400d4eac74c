"""The same pixels that a browser shows: every kind of file decoded here and by Chromium, over white."""

import base64
from typing import Any

import numpy as np
import pytest

from cnnviz.data.pictures import open_picture
from tests.helpers.picture_kinds import every
from tests.helpers.screens import CHROMIUM, FLAGS

DRAW = """async data => {
    const image = new Image();
    image.src = "data:image/png;base64," + data;  // Chromium looks at the content, not at the type
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, btoa(String.fromCharCode(...pixels))];
}"""


def drawn(page: Any, data: bytes) -> np.ndarray:
    """The picture as Chromium draws it: (height, width, 3)."""
    height, width, pixels = page.evaluate(DRAW, base64.b64encode(data).decode())
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[..., :3].astype(int)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_every_kind_of_file_is_decoded_as_chromium_does() -> None:
    """Where Chromium itself leaves something out, helpers/picture_kinds.py says what and why."""
    from playwright.sync_api import sync_playwright

    wrong, kinds = [], every()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--force-color-profile=srgb"])
        page = browser.new_page()
        for name, kind in kinds.items():
            theirs = drawn(page, kind.data)
            ours = np.asarray(open_picture(kind.data, name).image).astype(int)
            if kind.not_turned:
                theirs = np.rot90(theirs, -1)
            if kind.painted:
                ours, theirs = ours[: kind.painted], theirs[: kind.painted]
            if ours.shape != theirs.shape:
                wrong.append(f"{name}: {ours.shape}, Chromium {theirs.shape}")
            elif (most := np.abs(ours - theirs).max()) > kind.tolerance:
                wrong.append(f"{name}: {most} levels, at most {kind.tolerance}")
        browser.close()
    assert len(kinds) > 150
    assert wrong == []
