import pytest

from cnnviz import wording


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (59.4, "59 s"), (59.6, "1 min"), (540, "9 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (120, 360, "2 to 6 min"),
        (40, 160, "40 s to 3 min"),
        (1800, 7500, "30 min to 2 h 5 min"),
        (3600, 7500, "1 h 0 min to 2 h 5 min"),
        (60, 62, "about 1 min"),
    ],
)
def test_ranges(low: float, high: float, words: str) -> None:
    assert wording.duration_range(low, high) == words
