"""What is chosen and written of a report: kept, whole, and never another report's."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cnnviz import paths
from cnnviz.errors import StoreError
from cnnviz.store import reports

NASTY = "<script>alert(1)</script> `$x$` \u202eright to left\n\n| a | b |\n\x00"


def test_what_is_written_comes_back() -> None:
    reports.write_words([], "runs", NASTY)
    reports.change([], lambda it: replace(it, title="T", order=("b", "a"), states={"a": "folded", "b": "left out"}))
    found = reports.load()
    assert found.words == {"runs": NASTY}
    assert (found.title, found.order, found.key) == ("T", ("b", "a"), reports.STUDY)
    assert [found.state(each) for each in "abc"] == ["folded", "left out", "open"]
    assert not list((paths.home() / "reports").glob("*.tmp"))


def test_the_same_runs_have_the_same_report_and_others_another() -> None:
    reports.write_words(["one", "two"], "curves", "mine")
    assert reports.load(["two", "one"]).words == {"curves": "mine"}
    assert reports.load(["two", "one"]).runs == ("two", "one")
    assert reports.load(["one"]).words == reports.load().words == {}


def test_who_writes_at_once_does_not_undo_the_other() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: reports.write_words([], f"section {number}", "x"), range(24)))
    assert len(reports.load().words) == 24


def test_a_section_that_is_new_stands_where_the_template_has_it() -> None:
    report = reports.Report("key", order=("c", "a", "gone"))
    assert report.ordered(["a", "b", "c", "d"]) == ["c", "d", "a", "b"]
    assert reports.Report("key").ordered(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("content", ["{", "[]", '{"words": 3}', '{"order": 3}'])
def test_a_damaged_file_is_named_and_not_overwritten(content: str) -> None:
    reports.write_words([], "runs", "mine")
    file = paths.home() / "reports" / "study.json"
    file.write_text(content)
    with pytest.raises(StoreError, match=r"study\.json cannot be read"):
        reports.write_words([], "runs", "more")
    assert file.read_text() == content


def test_what_is_too_long_or_cannot_be_written_is_said() -> None:
    with pytest.raises(StoreError, match="20,001 characters"):
        reports.write_words([], "runs", "x" * 20_001)
    paths.home().mkdir(parents=True)
    (paths.home() / "reports").write_text("a file in its place")
    with pytest.raises(StoreError, match="is not kept"):
        reports.write_words([], "runs", "x")
