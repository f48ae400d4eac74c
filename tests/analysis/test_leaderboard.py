"""The table of runs: which columns, which order, which runs."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cnnviz.analysis import leaderboard
from cnnviz.config import PARAMETERS
from cnnviz.store.runs import Run
from tests.helpers.runs import run

EARLY = datetime(2026, 1, 1)


def made(name: str, *accuracy: float, age: int = 0, **settings: Any) -> Run:
    found = run(name, **settings)
    curve = (0.1, *accuracy) if accuracy else ()
    return replace(found, name=found.config.name, accuracy=curve, epoch=len(curve) - 1, created=EARLY - timedelta(age))


def ids(runs: list[Run]) -> str:
    return "".join(each.id for each in runs)


GRID = [
    made("a", 0.3, lr=0.1, activation="sigmoid"),
    made("b", 0.6, 0.5, lr=0.01),
    made("c", lr=0.001),
    made("d", math.nan, lr=0.001, activation="relu"),
    made("e", 0.4, lr=0.1, activation="relu"),
]


def test_what_differs_has_a_column_and_the_rest_is_said_once() -> None:
    assert leaderboard.columns(GRID) == ["activation", "lr"]
    assert leaderboard.shared(GRID) == "lenet5x5, cross entropy, sgd, batch 10, CIFAR-10"
    assert leaderboard.columns(GRID[:1]) == []
    assert leaderboard.shared(GRID[:1]) == "lenet5x5, sigmoid, cross entropy, lr 0.1, sgd, batch 10, CIFAR-10"
    assert leaderboard.shared([]) == ""


def test_a_setting_that_all_have_changed_is_said() -> None:
    changed = [made(name, momentum=0.9, limit_train=500, lr=lr) for name, lr in (("a", 0.1), ("b", 0.2))]
    assert "momentum 0.9" in leaderboard.shared(changed)
    assert "500 images" in leaderboard.shared(changed)


def test_the_pooling_that_comes_with_the_model_is_no_column() -> None:
    models = [made("a"), made("b", model="conv5")]
    assert models[0].config.pooling != models[1].config.pooling
    assert leaderboard.columns(models) == ["model"]
    assert leaderboard.columns([*models, made("c", pooling=models[1].config.pooling)]) == ["model", "pooling"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_headings_are_short_and_differ(name: str) -> None:
    assert 0 < len(leaderboard.heading(name)) <= 10
    assert [leaderboard.heading(each) for each in PARAMETERS].count(leaderboard.heading(name)) == 1
    assert leaderboard.heading(name) not in ("status", "best", "@ epoch", "last", "epochs", "time", "started", "run")


def test_values_as_they_are_said() -> None:
    assert leaderboard.value(made("a"), "limit_train") == "all"
    assert leaderboard.value(made("a", loss="mse", limit_train=50), "limit_train") == "50"
    assert leaderboard.value(made("a"), "loss") == "cross entropy"
    assert leaderboard.values(GRID, "lr") == ["0.001", "0.01", "0.1"]
    waiting = [*GRID, replace(GRID[2], status="SCHEDULED"), replace(GRID[2], status="RUNNING", stopping=True)]
    assert leaderboard.values(waiting, "status") == ["waiting", "finished", "stopping"]


def test_the_best_is_first_and_runs_without_a_figure_are_last_either_way() -> None:
    assert ids(leaderboard.ordered(GRID)) == "beacd"
    assert ids(leaderboard.ordered(GRID, "best", reverse=True)) == "aebcd"
    assert ids(leaderboard.ordered(GRID, "last"))[:3] == "bea"
    assert ids(leaderboard.ordered(GRID, "last", reverse=True))[3:] in ("cd", "dc")


def test_equal_values_are_ordered_by_accuracy_then_by_age() -> None:
    assert ids(leaderboard.ordered(GRID, "lr")) == "cdbea"
    assert ids(leaderboard.ordered(GRID, "lr", reverse=True)) == "eabcd"
    old, new = made("x", 0.5, age=2), made("y", 0.5, age=1)
    assert ids(leaderboard.ordered([new, old])) == "xy"


@pytest.mark.parametrize("by", leaderboard.ORDERS)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_order_keeps_every_run(by: str, reverse: bool) -> None:
    assert sorted(ids(leaderboard.ordered(GRID, by, reverse))) == list("abcde")


def test_the_best_of_each_data_set_is_starred() -> None:
    easy = made("s", 0.99, dataset="synthetic")
    assert leaderboard.best([*GRID, easy]) == {"b", "s"}
    assert leaderboard.best([GRID[2]]) == set()


@pytest.mark.parametrize(
    ("search", "found"),
    [("tanh", "bc"), ("TANH 0.01", "b"), ("lr 0.1", "ae"), ("0.1 relu", "e"), ("finished", "abcde"), ("nothing", "")],
)
def test_every_word_of_a_search_is_in_the_run(search: str, found: str) -> None:
    assert ids(leaderboard.chosen(GRID, search)) == found


def test_a_search_finds_ids_names_and_notes() -> None:
    named = replace(GRID[0], id="3fa2c1", name="My favourite", message="out of memory")
    for search in ("3fa2", "favour", "memory"):
        assert leaderboard.chosen([*GRID, named], search) == [named]


def test_values_and_accuracies_filter_together() -> None:
    assert ids(leaderboard.chosen(GRID, values={"lr": ["0.1", "0.001"], "activation": ["relu"], "seed": []})) == "de"
    assert ids(leaderboard.chosen(GRID, values={"status": ["failed"]})) == ""
    assert ids(leaderboard.chosen(GRID, accuracy=(30, 40))) == "ae"
    assert ids(leaderboard.chosen(GRID, "sigmoid", {"lr": ["0.1"]}, (0, 99))) == "a"


def test_a_label_is_what_differs_and_the_id() -> None:
    assert leaderboard.label(GRID[1], ["activation", "lr"]) == "tanh, lr 0.01 · b"
    fork = replace(GRID[1], name=f"{GRID[1].config.name} (fork of 3fa2c1 at 5)")
    assert leaderboard.own_name(fork) == "fork of 3fa2c1 at 5"
    assert leaderboard.label(fork, ["lr"]) == "fork of 3fa2c1 at 5, lr 0.01 · b"
    assert leaderboard.own_name(GRID[1]) == ""
    assert leaderboard.label(GRID[1], []) == "lenet5x5 tanh cross_entropy lr 0.01 · b"


def test_another_machines_run_says_where_it_trains_until_it_is_over() -> None:
    there = replace(run("there"), status="RUNNING", is_here=False, host="lab-3")
    assert (leaderboard.status(there), leaderboard.place(there)) == ("training on lab-3", "Trains on lab-3")
    waiting = replace(there, status="SCHEDULED")
    assert (leaderboard.status(waiting), leaderboard.place(waiting)) == ("waiting on lab-3", "Waits on lab-3")
    assert leaderboard.status(replace(there, stopping=True)) == "stopping on lab-3"
    ended = replace(there, status="FINISHED")
    assert (leaderboard.status(ended), leaderboard.place(ended)) == ("finished", "")
