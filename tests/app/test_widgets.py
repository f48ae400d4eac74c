"""Small things that several pages show."""

from dataclasses import replace

from cnnviz.app import widgets
from cnnviz.store.runs import Segment
from tests.helpers.runs import run


def test_training_time_by_segment() -> None:
    segments = (Segment(0, 0.0, 240.0, "cpu", 1), Segment(20, 9e9, 90.0, "cpu", 1))
    assert widgets.segments(replace(run("a"), epoch=40, segments=segments)) == "0 to 20: 4 min, 20 to 40: 2 min"
    assert widgets.segments(run("a")) == ""
