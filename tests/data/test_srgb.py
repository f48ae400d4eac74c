"""Colours in sRGB: what a PNG says of them is compared with Little CMS, which is given the same as a profile."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from cnnviz.data import srgb
from cnnviz.data.srgb import DISPLAY_P3, Colours
from tests.helpers import drawn_files as drawn

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
SRGB_D50 = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def by_little_cms(profile: bytes, image: Image.Image) -> np.ndarray:
    flags = ImageCms.Flags.NOOPTIMIZE
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB", flags=flags)
    assert converted is not None
    return np.asarray(converted).astype(int)


def apart(ours: np.ndarray, theirs: np.ndarray) -> int:
    return int(np.abs(ours.astype(int) - theirs).max())


@pytest.mark.parametrize("exponent", [1.0, 1.5, 1.8, 2.2, 3.0])
@pytest.mark.parametrize(("primaries", "colorants"), [(None, SRGB_D50), (DISPLAY_P3, drawn.P3_D50)])
def test_gamma_and_primaries_are_what_a_profile_of_them_is(
    exponent: float, primaries: tuple[float, ...] | None, colorants: list[tuple[float, float, float]]
) -> None:
    profile = drawn.rgb_profile(round(256 * exponent) / 256, colorants)
    ours = srgb.levels(Colours(None, 256 / round(256 * exponent), primaries), 255)(NOISE)
    assert apart(ours, by_little_cms(profile, Image.fromarray(NOISE))) <= 1


@pytest.mark.parametrize("colours", [Colours(), Colours(gamma=1.0), Colours(gamma=0.3), Colours(primaries=DISPLAY_P3)])
def test_sixteen_bits_lie_between_eight(colours: Colours) -> None:
    """The same at every sample that 8 bits have, too, and rising between them."""
    deep = srgb.levels(colours, 65535)(np.arange(65536).reshape(-1, 1))[:, 0]
    assert np.array_equal(deep[::257], srgb.levels(colours, 255)(np.arange(256).reshape(-1, 1))[:, 0])
    assert (np.diff(deep.astype(int)) >= 0).all()
    assert set(deep.tolist()) == set(range(256))


def test_without_a_word_of_colours_sixteen_bits_are_rounded() -> None:
    values = np.arange(65536).reshape(256, 256, 1)
    assert np.array_equal(srgb.levels(Colours(), 65535)(values), np.round(values / 257))


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_profile_is_applied_to_the_level(exponent: float, mode: str) -> None:
    """Not as Little CMS does by default, which is ten levels off for a single curve."""
    profile = drawn.grey_profile(exponent) if mode == "L" else drawn.rgb_profile(exponent)
    image = Image.fromarray(GREYS if mode == "L" else NOISE)
    colours, notes = srgb.usable(Colours(profile), mode)
    assert notes == ["colours converted from for tests to sRGB"]
    assert apart(np.asarray(srgb.converted(image.copy(), colours)), by_little_cms(profile, image)) <= 1


def test_inks_with_a_profile_have_the_colours_that_it_says() -> None:
    inks = np.array(np.meshgrid(*[[0, 255]] * 4, indexing="ij")).reshape(4, 16).T.astype(np.uint8)
    colours, _ = srgb.usable(Colours(drawn.cmyk_profile()), "CMYK")
    ours = np.asarray(srgb.converted(Image.frombytes("CMYK", (16, 1), inks.tobytes()), colours))[0]
    table = np.frombuffer(drawn.cmyk_profile(2)[-768 - 48 : -768], np.uint8).reshape(16, 3)  # its corners in L*a*b*
    lab = (table.astype(int) - [0, 128, 128]).astype(np.int8).tobytes()
    lab_to_srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    exact = ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(*lab_to_srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC, exact)
    assert apart(ours, np.asarray(transform.apply(Image.frombytes("LAB", (16, 1), lab)))[0].astype(int)) <= 2


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("L", "RGB"):
        assert srgb.usable(Colours(profile), mode) == (Colours(), [])


def test_greys_may_have_a_profile_for_rgb() -> None:
    colours, _ = srgb.usable(Colours(drawn.rgb_profile(1.0)), "L")
    theirs = by_little_cms(drawn.rgb_profile(1.0), Image.fromarray(GREYS).convert("RGB"))
    assert apart(np.asarray(srgb.converted(Image.fromarray(GREYS), colours)), theirs) <= 1


WHOLE = drawn.rgb_profile(1.0)


@pytest.mark.parametrize(
    ("colours", "mode", "note"),
    [
        (Colours(), "RGB", None),
        (Colours(b""), "RGB", "broken colour profile ignored"),
        (Colours(b"nothing"), "L", "broken colour profile ignored"),
        (Colours(WHOLE[:200]), "RGB", "broken colour profile ignored"),
        (Colours(WHOLE.replace(b"rTRC", b"xTRC")), "RGB", "broken colour profile ignored"),
        (Colours(drawn.grey_profile(1.0)), "RGB", "colour profile for GRAY ignored"),
        (Colours(drawn.cmyk_profile()), "RGB", "colour profile for CMYK ignored"),
        (Colours(WHOLE), "CMYK", "colour profile for RGB ignored"),
        (Colours(gamma=0.45455), "RGB", None),
        (Colours(primaries=(0.0,) * 8, gamma=1.0), "RGB", "impossible primaries ignored"),
        (Colours(primaries=(0.3, 0.3, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3)), "RGB", "impossible primaries ignored"),
        (Colours(unknown="cICP"), "RGB", "cICP colours taken for sRGB"),
    ],
)
def test_what_cannot_be_applied_is_ignored_and_said(colours: Colours, mode: str, note: str | None) -> None:
    assert srgb.usable(colours, mode) == (Colours(), [note] if note else [])


def test_a_broken_profile_leaves_the_gamma() -> None:
    colours, notes = srgb.usable(Colours(b"nothing", gamma=1.0), "RGB")
    assert colours == Colours(gamma=1.0)
    assert notes == ["broken colour profile ignored", "colours converted from gamma 1 to sRGB"]
    assert srgb.usable(Colours(gamma=0.45455, primaries=DISPLAY_P3), "RGB")[1] == [
        "colours converted from gamma 0.45455 and its own primaries to sRGB"
    ]


@pytest.mark.parametrize("seed", range(100))
def test_damaged_profiles_are_applied_or_ignored(seed: int) -> None:
    random = np.random.default_rng(seed)
    mode = ["RGB", "L", "CMYK"][seed % 3]
    whole = {"RGB": drawn.rgb_profile(), "L": drawn.grey_profile(1.8), "CMYK": drawn.cmyk_profile(2)}[mode]
    damaged = bytearray(whole)
    for _ in range(random.choice([1, 4, 30])):
        damaged[random.integers(0, random.choice([132, len(damaged)]))] = random.integers(0, 256)
    colours, notes = srgb.usable(Colours(bytes(damaged)), mode)
    image = srgb.converted(Image.new(mode, (5, 4)), colours)
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert all("\n" not in note for note in notes)
