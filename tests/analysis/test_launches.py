from dataclasses import replace
from datetime import datetime, timedelta

from cnnviz.analysis import launches
from cnnviz.store.runs import Run, Segment
from tests.helpers.runs import run


def queued(name: str, at: float, status: str = "FINISHED") -> Run:
    return replace(run(name), queued_at=at, status=status)


def test_one_click_is_told_from_the_one_before() -> None:
    before, first, second, third = (
        queued("z", 0.0),
        queued("a", 100.0),
        queued("b", 101.0, "RUNNING"),
        queued("c", 102.0, "SCHEDULED"),
    )
    later = queued("d", 500.0, "SCHEDULED")
    every = [later, third, second, first, before]
    assert launches.launched_with(every, [second, third, later]) == [first, second, third, later]
    assert launches.launched_with(every, [second]) == [first, second, third]  # what was launched later waits
    assert launches.launched_with(every, [later]) == [later]
    assert launches.launched_with(every, []) == []


def test_an_experiment_is_what_one_click_made_even_if_some_of_it_was_continued() -> None:
    noon = datetime(2026, 1, 1, 12)
    made = {"a": 0, "b": 1, "c": 2, "later": 3600}
    runs = [replace(queued(name, at), created=noon + timedelta(seconds=at)) for name, at in made.items()]
    runs[1] = replace(runs[1], queued_at=9000.0)
    assert [[each.id for each in group] for group in launches.experiments(runs[::-1])] == [["later"], ["a", "b", "c"]]
    assert launches.title(runs[:1]) == "a"
    assert launches.title([run("x", lr=0.1), run("y")]) == "2 runs trained together: learning rate"


def test_the_best_so_far_stands_first_and_every_place_says_what_is_to_say() -> None:
    runs = [
        replace(run("slow", lr=0.001), accuracy=(0.1, 0.3, 0.58), epoch=2, status="RUNNING"),
        replace(run("good", lr=0.01), accuracy=(0.1, 0.6, 0.5), epoch=2),
        replace(run("dead", lr=0.1), accuracy=(0.1, 0.1, 0.1), epoch=2, status="RUNNING"),
        replace(run("lost", lr=10.0), accuracy=(0.1, 0.1, 0.1), epoch=2, status="KILLED"),
        replace(run("new", lr=0.02), accuracy=(0.11,), epoch=0, status="RUNNING"),
        replace(run("odd", lr=0.03), accuracy=(0.2, float("nan")), epoch=1, status="RUNNING"),
        replace(run("last", lr=1.0), accuracy=(), epoch=-1, status="SCHEDULED"),
    ]
    found = launches.standings(runs, {"lost", "odd"})
    assert [each.run.id for each in found[:2]] == ["good", "slow"]
    assert (found[0].rank, found[0].name, found[0].accuracy, found[0].remark) == (1, "lr 0.01", 0.6, "")
    assert round(found[0].change or 0, 6) == -0.1
    by_id = {each.run.id: each for each in found}
    assert by_id["dead"].remark == "chance level"
    assert (by_id["lost"].remark, by_id["odd"].remark) == ("stopped", "diverged")
    assert (by_id["new"].remark, by_id["new"].change) == ("untrained", None)
    assert by_id["odd"].rank == 6  # no figure is better than none
    assert (found[-1].run.id, found[-1].rank, found[-1].accuracy, found[-1].remark) == ("last", None, None, "waiting")


def test_how_long_they_took_is_from_their_start_to_the_last_result() -> None:
    parts = Segment(0, 10.0, 60.0, "cpu", 1, setup=5.0), Segment(0, 20.0, 100.0, "cpu", 1)
    runs = [replace(run(str(at)), queued_at=8.0, segments=(part,)) for at, part in enumerate(parts)]
    assert launches.took(runs) == 110.0  # not the two seconds in the queue
    assert launches.took([run("none")]) is None
