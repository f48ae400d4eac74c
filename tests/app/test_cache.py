"""What is read from the store is read once, and what is kept of it is bounded."""

from dataclasses import replace

import pandas as pd
import pytest

from cnnviz.analysis import curves
from cnnviz.app import cache
from cnnviz.store import changes, reading
from tests.helpers.runs import run


def test_a_history_is_read_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def read(run_ids: list[str], metrics: list[str]) -> pd.DataFrame:
        asked.append(list(run_ids))
        rows = [(run_id, metric, 0, 1.0) for run_id in run_ids for metric in metrics]
        return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])

    monkeypatch.setattr(reading, "history", read)
    kept, first, second = cache._Histories(), run("a"), run("b")
    assert kept.read("store", [first], ["x"]).run_id.tolist() == ["a"]
    assert kept.read("store", [first, second], ["x"]).run_id.tolist() == ["a", "b"]
    assert asked == [["a"], ["b"]]
    kept.read("store", [replace(first, epoch=first.epoch + 1), second], ["x"])
    kept.read("another store", [second], ["x"])
    assert asked[2:] == [["a"], ["b"]]
    half = replace(first, half_since=1)
    for each in (half, half, replace(half, half_since=None)):  # the rest of its epoch has come
        kept.read("store", [each], ["x"])
    assert asked[4:] == [["a"], ["a"]]


def test_what_is_kept_of_histories_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache._Histories, "MOST", 6)
    kept = cache._Histories()
    (run_id,) = changes.schedule([run("a").config], "cpu")
    changes.record(run_id, 0, {"test_loss": 1.0, "test_accuracy": 0.1}, [])
    known = reading.run(run_id)
    for epoch in range(10):  # a later epoch takes an earlier one's place
        assert len(kept.read("store", [replace(known, epoch=epoch)], ["test_loss", "train_loss"])) == 1
    assert len(kept.kept) == 1
    for number in range(10):
        kept.read(f"store {number}", [known], ["test_loss", "train_loss"])
    assert len(kept.kept) == 3


def test_a_history_of_runs_that_were_all_deleted_elsewhere_is_empty() -> None:
    (run_id,) = changes.schedule([run("a").config], "cpu")
    changes.record(run_id, 0, {"test_loss": 1.0, "test_accuracy": 0.1}, [])
    kept = cache._Histories()
    full, empty = kept.read("store", [reading.run(run_id)], ["test_loss"]), kept.read("store", [], ["test_loss"])
    assert (len(full), len(empty)) == (1, 0)
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert curves.lines(empty, [], {}).empty
