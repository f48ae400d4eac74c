"""Pictures from outside, as the page keeps them."""

import io
import os

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cnnviz import paths
from cnnviz.app.maps import uploads
from cnnviz.data import pictures
from cnnviz.errors import ImageError
from tests.helpers.runs import recorded
from tests.helpers.screens import said


def png(size: tuple[int, int] = (60, 40)) -> bytes:
    """A picture that no other test has."""
    file = io.BytesIO()
    Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1])).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that Pillow decodes, in their order."""
    names: list[str] = []
    decode = pictures._decode

    def noted(content: bytes, name: str) -> pictures.Picture:
        names.append(name)
        return decode(content, name)

    monkeypatch.setattr(pictures, "_decode", noted)
    return names


@pytest.mark.usefixtures("few_pictures", "no_worker")
def test_an_upload_is_decoded_once_whatever_is_done_on_the_page(decoded: list[str]) -> None:
    run = recorded(epochs=2)
    app = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/feature_maps.py")
    app.query_params.update({"run": run, "source": "upload"})
    app.run()
    app.file_uploader[0].upload("mine.png", png(), "image/png").run()
    assert decoded == ["mine.png"]
    app.select_slider(key="epoch").set_value(0).run()
    next(each for each in app.toggle if each.label == "Whole picture on grey").set_value(True).run()
    assert "on a grey square of 60" in said(app)
    app.segmented_control(key="view").set_value("sheet").run()
    assert not app.error
    assert decoded == ["mine.png"]


@pytest.mark.usefixtures("few_pictures", "no_worker")
def test_uploads_come_newest_first_and_the_one_that_arrives_is_chosen(decoded: list[str]) -> None:
    run = recorded(epochs=1)
    app = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/feature_maps.py")
    app.query_params.update({"run": run, "source": "upload"})
    app.run()
    first, second = png(), png()
    for name, content, names in (
        ("a.png", first, ["a.png"]),
        ("b.png", second, ["b.png", "a.png"]),
        ("a.png", first, ["a.png", "b.png"]),  # once more: it is the newest, and there is one of it
    ):
        app.session_state[uploads.MORE.name] = True  # it closes when a picture has arrived
        app.run()
        app.file_uploader[0].upload(name, content, "image/png").run()
        assert not app.file_uploader
        kept = app.session_state[uploads.KEPT.name]
        assert [each.upload.name for each in kept] == names
        assert f"{name}: 60×40 PNG, centre square of 40" in said(app).replace("\\", "")
    app.button(key="remove upload").click().run()
    assert "b.png: 60×40 PNG" in said(app).replace("\\", "")
    app.button(key="remove upload").click().run()
    assert app.file_uploader
    assert decoded == ["a.png", "b.png"]


def test_a_square_that_was_moved_is_what_prepare_makes_of_the_file(decoded: list[str]) -> None:
    content = png()
    kept = uploads.Kept("its digest", content, uploads.opened_once(content, "mine.png"))
    picture = pictures.open_picture(content, "mine.png")
    for square in (pictures.Square(3, 2, 32), pictures.Square(20, 0, 40)):
        assert uploads._cropped("its digest", square, kept).pixels.equal(
            pictures.prepare(picture, square=square).pixels
        )
    assert decoded == ["mine.png"] * 3  # as it came, here, and once for all squares


def test_a_file_is_known_by_its_content_and_its_name(decoded: list[str]) -> None:
    content = png()
    first = uploads.opened_once(content, "a.png")
    assert uploads.opened_once(bytes(bytearray(content)), "a.png") is first
    assert uploads.opened_once(content, "b.png").name == "b.png"
    uploads.opened_once(png(), "a.png")
    assert decoded == ["a.png", "b.png", "a.png"]


def test_a_file_that_cannot_be_opened_is_refused_again_without_being_decoded(decoded: list[str]) -> None:
    content = png()[:500]
    for _ in range(3):
        with pytest.raises(ImageError, match=r"half\.png is damaged"):
            uploads.opened_once(content, "half.png")
    assert decoded == ["half.png"]


def test_what_is_kept_of_a_large_file_is_small() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000), "orange").save(file, "PNG", comment=os.urandom(4))
    upload = uploads.opened_once(file.getvalue(), "large.png")
    assert 3 * upload.original.width * upload.original.height < 300_000
    assert uploads.MOST_KEPT * 300_000 < 20_000_000


def test_both_framings_are_what_prepare_makes_of_the_file() -> None:
    content = png()
    upload, picture = uploads.opened_once(content, "mine.png"), pictures.open_picture(content, "mine.png")
    for how, prepared in (("crop", upload.central), ("fit", upload.whole)):
        assert prepared.pixels.equal(pictures.prepare(picture, how).pixels)
