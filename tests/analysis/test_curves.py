import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from cnnviz.analysis import curves
from cnnviz.config import RunConfig
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import View
from tests.helpers.runs import history, lines, run


def test_units_and_axes() -> None:
    assert lines({"a": [2.0, 1.0]}).value.tolist() == [2, 1, 4, 2]  # test, then train
    assert lines({"a": [2.0]}, measure="Accuracy").value.tolist() == pytest.approx([20, 20])
    assert lines({"a": [2.0]}, measure="Error").value.tolist() == pytest.approx([80, 80])
    three = {"a": [3.0, 2.0, 1.0]}
    tested = lines(three, axis="Seconds").query("split == 'test'")
    assert tested.x.tolist() == [0, 2, 4]
    tested = lines(three, [run("a", limit_train=10_000)], axis="Images").query("split == 'test'")
    assert tested.x.tolist() == pytest.approx([0, 0.01, 0.02])


def test_a_fork_begins_with_its_parents_line() -> None:
    parent, fork = run("p"), run("f", "p", 2, lr=0.5)
    recorded = pd.concat([history({"p": [9.0, 8.0, 7.0, 6.0]}), history({"f": [7.0, 3.0]}, first_epoch=2)])
    every = {"p": parent, "f": fork}
    assert curves.ancestors([fork], every) == [parent]
    assert curves.ancestors([fork, parent], every) == []
    joined = curves.lines(recorded, [fork], every, axis="Seconds").query("split == 'test'")
    assert joined.epoch.tolist() == [0, 1, 2, 3]
    assert joined.value.tolist() == [9, 8, 7, 3]
    assert joined.x.tolist() == [0, 2, 4, 6]
    assert set(joined.lr) == {0.5}
    aligned = curves.lines(recorded, [fork], every, joined=False).query("split == 'test'")
    assert (aligned.epoch.tolist(), aligned.x.tolist(), aligned.value.tolist()) == ([2, 3], [0, 1], [7, 3])


def test_a_fork_with_another_loss_is_joined_by_its_accuracy_alone() -> None:
    every = {"p": run("p"), "f": run("f", "p", 1, loss="mse")}
    recorded = pd.concat([history({"p": [9.0, 8.0]}), history({"f": [0.4, 0.3]}, first_epoch=1)])
    assert curves.lines(recorded, [every["f"]], every).query("split == 'test'").epoch.tolist() == [1, 2]
    accuracy = curves.lines(recorded, [every["f"]], every, "Accuracy").query("split == 'test'")
    assert accuracy.epoch.tolist() == [0, 1, 2]


def test_runs_that_differ_in_their_seed_alone_become_one_line() -> None:
    values = {"a": [4.0, 2.0, 1.0], "b": [6.0, 4.0], "other": [1.0, 1.0]}
    frame = curves.collapse(lines(values, [run("a", seed=1), run("b", seed=2), run("other", lr=0.5)]))
    mean = frame.query("run_id == 'a' and split == 'test'")
    assert mean.epoch.tolist() == [0, 1]  # as far as both go
    assert (mean.value.tolist(), mean.low.tolist(), mean.high.tolist()) == ([5, 3], [4, 2], [6, 4])
    assert set(mean.repeats) == {2}
    assert set(frame.run_id) == {"a", "other"}
    apart = lines({"a": [1.0], "b": [2.0]}, [run("a", lr=0.1), run("b", lr=0.2)])
    assert curves.collapse(apart).equals(apart)


def test_a_run_whose_training_pictures_are_still_looked_at_has_no_train_line() -> None:
    values: dict[str, list[float]] = {"a": [2.0], "b": [4.0]}
    recorded = history(values)
    recorded = recorded[(recorded.run_id == "a") | ~recorded.metric.str.startswith("train")]
    runs = [run("a"), replace(run("b", seed=1), half_since=1)]
    drawn = curves.lines(recorded, runs, {})
    assert drawn[["run_id", "split", "value"]].to_numpy().tolist() == [
        ["a", "test", 2.0],
        ["a", "train", 4.0],
        ["b", "test", 4.0],
    ]
    mean = curves.collapse(drawn)
    assert mean[["split", "value", "repeats"]].to_numpy().tolist() == [["test", 3.0, 2]]
    (panel,) = curve_charts.panels(mean, View("Loss"), {"0.01": "#000000"})
    assert panel.name.startswith("Loss against epochs: 1 line")
    assert curve_charts.panels(mean, View("Loss", splits=("train",)), {"0.01": "#000000"}) == []


def test_the_same_seed_twice_is_no_second_seed() -> None:
    twice = lines({"a": [4.0, 2.0], "b": [4.0, 2.0, 1.0]}, [run("a", seed=1), run("b", seed=1)])
    assert curves.collapse(twice).equals(twice)
    runs = [run("a", seed=1), run("b", seed=1), run("c", seed=2)]
    frame = curves.collapse(lines({"a": [4.0], "b": [4.0, 2.0], "c": [6.0, 4.0]}, runs)).query("split == 'test'")
    assert frame[frame.run_id == "b"].value.tolist() == [5, 3]  # the furthest of seed 1, and seed 2
    assert (frame[frame.run_id == "a"].value.tolist(), frame[frame.run_id == "a"].repeats.tolist()) == ([4], [1])


def test_a_fork_is_no_repeat_of_its_parent() -> None:
    every = {"p": run("p"), "f": run("f", "p", 1), "other": run("other", seed=5)}
    recorded = pd.concat([history({"p": [9.0, 8.0], "other": [7.0, 6.0]}), history({"f": [8.0, 3.0]}, first_epoch=1)])
    for chosen in (["p", "f"], ["f", "other"]):
        apart = curves.lines(recorded, [every[name] for name in chosen], every)
        assert curves.collapse(apart).equals(apart)
    frame = curves.collapse(curves.lines(recorded, list(every.values()), every)).query("split == 'test'")
    assert frame.groupby("run_id").repeats.first().to_dict() == {"f": 1, "other": 2}
    assert frame[frame.run_id == "other"].value.tolist() == [8, 7]


def test_a_mean_is_named_by_what_its_runs_share() -> None:
    runs = [replace(run("a", seed=1, lr=0.5), name="my favourite"), run("b", seed=2, lr=0.5)]
    frame = curves.collapse(lines({"a": [1.0], "b": [2.0]}, runs))
    assert set(frame.name) == {f"{RunConfig(lr=0.5).name}, mean of 2 seeds"}


def test_seeds_stay_apart_if_they_are_what_tells_lines_apart() -> None:
    view = View(colour="seed")
    apart = lines({"a": [1.0], "b": [2.0]}, [run("a", seed=1), run("b", seed=2)])
    assert curves.collapse(apart, view.parameters).equals(apart)
    assert not curves.collapse(apart, View().parameters).equals(apart)


def test_smoothing_is_the_mean_of_the_epochs_around_and_lags_behind_nothing() -> None:
    frame = lines({"a": [4.0, 1.0, 4.0, math.nan]}).query("split == 'test'")
    assert curves.smoothed(frame, 3).value.tolist() == pytest.approx([2.5, 3.0, 2.5])


def test_the_best_is_the_lowest_loss_and_the_highest_accuracy_after_training_began() -> None:
    values = {"a": [1.0, 5.0, 2.0, 3.0, 6.0, math.inf]}
    assert curves.best(lines(values), "Loss").epoch.tolist() == [2]
    assert curves.best(lines(values, measure="Accuracy"), "Accuracy").epoch.tolist() == [4]


def held_out(values: dict[str, list[float]], **lines: list[float]) -> pd.DataFrame:
    """As history() has it, with the given lines of the run "a" too."""
    rows = [("a", metric, epoch, value) for metric, line in lines.items() for epoch, value in enumerate(line)]
    return pd.concat([history(values), pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])])


def test_pictures_held_out_are_a_line_and_say_which_epoch_is_best() -> None:
    runs = [run("a", validation=1000), run("b")]
    recorded = held_out({"a": [9.0, 3.0, 2.0, 1.0], "b": [9.0, 3.0, 2.0, 4.0]}, val_loss=[8.0, 2.0, 1.5, 7.0])
    found = curves.lines(recorded, runs, {each.id: each for each in runs})
    splits = {run_id: set(part.split) for run_id, part in found.groupby("run_id")}
    assert splits == {"a": {"train", "validation", "test"}, "b": {"train", "test"}}
    assert found[found.split == "validation"].value.tolist() == [8.0, 2.0, 1.5, 7.0]
    best = curves.best(found, "Loss")
    assert best[["run_id", "split", "epoch", "value"]].values.tolist() == [
        ["a", "test", 2, 2.0],
        ["b", "test", 2, 2.0],
    ]
    assert curves.splits(runs) == curves.SPLITS
    knows = replace(runs[0], accuracy=(0.1,) * 4, val_loss=(8.0, 1.0, 1.5, 7.0), val_accuracy=(0.1,) * 4)
    found = curves.lines(recorded, [knows], {"a": knows}, "Accuracy")
    assert curves.best(found.assign(value=1.0), "Accuracy").epoch.tolist() == [1]  # by its loss, whatever is drawn
    assert curves.splits(runs[1:]) == ("train", "test")


def test_the_learning_rate_is_one_line_and_of_a_constant_one_the_setting() -> None:
    runs = [run("a", schedule="step", lr=0.5), run("b", lr=0.2)]
    recorded = held_out({"a": [9.0, 3.0, 2.0], "b": [9.0, 3.0, 2.0]}, learning_rate=[0.5, 0.5, 0.05])
    found = curves.lines(recorded, runs, {each.id: each for each in runs}, "Learning rate")
    assert {run_id: part.value.tolist() for run_id, part in found.groupby("run_id")} == {
        "a": [0.5, 0.05],
        "b": [0.2, 0.2],
    }
    assert curves.splits(runs, "Learning rate") == ("test",)
    assert curves.best(found, "Learning rate").empty
    assert curves.metrics("Learning rate") == ["learning_rate", "epoch_seconds"]


def test_deaths() -> None:
    frame = lines(
        {"good": [2.0, 1.0], "dead": [2.0, 9e30, math.nan], "gone": [2.0, math.inf, math.inf], "no": [math.nan]}
    )
    found = curves.deaths(frame)
    assert set(zip(found.run_id, found.epoch, strict=True)) == {("dead", 1), ("gone", 0)}


def test_a_segment_starts_where_a_run_was_continued_or_left_its_parent() -> None:
    runs = [run("a", starts=(0, 2)), run("b", "gone", 1)]
    found = curves.segment_starts(lines({"a": [1.0] * 4, "b": [1.0] * 4}, runs), runs)
    assert set(zip(found.run_id, found.epoch, found.split, strict=True)) == {("a", 2, "test"), ("b", 1, "test")}


def test_nothing_recorded_draws_nothing() -> None:
    assert curves.lines(history({}), [run("a")], {}).empty
    assert curves.collapse(curves.lines(history({}), [run("a")], {})).empty


def test_groups_follow_what_differs() -> None:
    def grouping(*settings: dict[str, Any]) -> tuple[list[str], str]:
        return curves.default_grouping([run(str(index), **each) for index, each in enumerate(settings)])

    grid = [
        {"activation": a, "loss": loss, "lr": lr}
        for a in ("tanh", "relu")
        for loss in ("mse", "cross_entropy")
        for lr in (0.1, 0.01)
    ]
    assert grouping(*grid) == (["activation", "loss"], "lr")
    assert grouping(grid[0]) == ([], "lr")
    assert grouping(*grid[::2]) == (["activation"], "loss")
    assert grouping({"seed": 1}, {"seed": 2}) == ([], "lr")


def test_a_legend_lists_numbers_from_the_largest_down_and_then_words() -> None:
    assert curves.in_order([0.001, 0.1, 0.01, 0.1]) == [0.1, 0.01, 0.001]
    assert curves.in_order([9, 100, 10]) == [100, 10, 9]
    assert curves.in_order(["tanh", 2, "relu"]) == [2, "relu", "tanh"]


def test_a_chosen_point_is_on_the_test_line_if_it_is_drawn() -> None:
    frame = lines({"a": [3.0, 2.0, math.nan]})
    assert curves.point(frame, "a", 1).split.tolist() == ["test"]
    assert curves.point(frame, "a", 1, ["train"]).value.tolist() == [4.0]
    assert curves.point(frame, "a", 2).empty
