from dataclasses import replace
from datetime import timedelta

from cnnviz.app.curves.choices import newest
from cnnviz.app.curves.page import without_point
from tests.helpers.runs import run


def test_what_trains_and_waits_is_shown_however_long_ago_it_was_launched() -> None:
    last = run("last")
    old = [
        replace(run(name), created=last.created - timedelta(hours=1), status=status)
        for name, status in (("trains", "RUNNING"), ("waits", "SCHEDULED"), ("over", "FINISHED"))
    ]
    assert [each.id for each in newest([last, *old])] == ["last", "trains", "waits"]


def test_runs_without_a_point_are_named_in_one_line() -> None:
    begun = replace(run("a", lr=0.1), status="RUNNING", epoch=0)
    waiting = [replace(run(str(at), lr=float(at)), status="SCHEDULED", epoch=-1) for at in range(1, 10)]
    assert without_point([begun]) == ""
    assert without_point([begun, *waiting[:2]]) == "2 wait, no point yet: lr 1; lr 2"
    assert without_point([begun, waiting[0]]) == "1 waits, no point yet: lr 1"
    assert "and 3 more" in without_point(waiting)
