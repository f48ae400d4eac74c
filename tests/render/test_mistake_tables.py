"""What the command line says of mistakes: figures as JSON, and what is worth a line in text."""

import json
import math
import re

import pytest
import torch
from torch import Tensor

from cnnviz.data import CLASSES
from cnnviz.errors import CheckpointError
from cnnviz.inspection.network import Prediction
from cnnviz.render.mistake_tables import Result, as_data, as_text, pair_as_data, pair_as_text, result
from tests.helpers.runs import run

LABELS = torch.arange(100) % 10


def said(given: Tensor, sure: float = 2.0, name: str = "a", loss: str = "cross_entropy") -> Result:
    """A network with these answers (100,), each with that logit."""
    logits = torch.zeros(len(given), 10)
    logits[torch.arange(len(given)), given] = sure
    return result(run(name, loss=loss), 3, Prediction(logits), LABELS, CLASSES)


def some_wrong(count: int) -> Tensor:
    """Its first pictures are each taken for the next class."""
    return torch.where(torch.arange(100) < count, (LABELS + 1) % 10, LABELS)


def test_json_of_one_run() -> None:
    found = json.loads(json.dumps(as_data(said(some_wrong(10)))))
    assert list(found) == ["run", "epoch", "classes", "confusion", "accuracy", "ece", "per_class"]
    assert (found["run"], found["epoch"], found["accuracy"]) == ("a", 3, 0.9)
    assert found["confusion"][3][3:5] == [9, 1], "rows true, columns predicted"
    assert list(found["per_class"]) == found["classes"] == list(CLASSES)
    assert found["per_class"]["cat"] == pytest.approx({"precision": 0.9, "recall": 0.9, "f1": 0.9})
    assert found["ece"] == pytest.approx(0.9 - math.exp(2) / (math.exp(2) + 9), abs=1e-6)


def test_json_of_two_runs() -> None:
    found = json.loads(json.dumps(pair_as_data(said(some_wrong(10)), said(some_wrong(4), name="b"))))
    assert list(found) == ["a", "b", "both_right", "only_a", "only_b", "both_wrong", "p"]
    assert (found["a"]["run"], found["b"]["run"]) == ("a", "b")
    assert [found[name] for name in ("both_right", "only_a", "only_b", "both_wrong")] == [90, 0, 6, 4]
    assert found["p"] == pytest.approx(2 / 2**6)


def test_text_of_one_run() -> None:
    text = as_text(said(some_wrong(10)))
    assert "90.00%, 90 of 100 test pictures right" in text
    (cat,) = re.findall(r"^cat .*", text, re.MULTILINE)
    assert cat.split() == ["cat", *["0"] * 3, "9", "1", *["0"] * 5, "90.0%", "90.0%", "90.0%"]
    assert "airplane → automobile 1" in text
    assert "MSE" not in text
    assert "nan" not in as_text(said(LABELS)) + as_text(said((LABELS + 1) % 10))
    assert "no probabilities" in as_text(said(LABELS, loss="mse"))


def test_one_class_for_everything_is_named() -> None:
    text = as_text(said(torch.full((100,), 8)))
    assert "says ship for everything: 100 of 100 answers" in text
    (cat,) = re.findall(r"^cat .*", text, re.MULTILINE)
    assert cat.split()[-3:] == ["–", "0.0%", "0.0%"], "never predicted: no precision"


def test_text_of_two_runs() -> None:
    text = pair_as_text(said(some_wrong(40)), said(some_wrong(4), name="b"))
    assert re.findall(r"(\d+)$", text.split("both right")[1].split("McNemar")[0], re.MULTILINE) == [
        "60",
        "0",
        "36",
        "4",
    ]
    assert "more than luck" in text
    assert "luck may explain" in pair_as_text(said(some_wrong(6)), said(some_wrong(4)))
    assert "no difference to test" in pair_as_text(said(LABELS), said(LABELS))


def test_what_is_not_finite_is_said() -> None:
    partly = said(LABELS).prediction.logits
    partly[:3] = math.nan
    text = as_text(result(run("a"), 3, Prediction(partly), LABELS, CLASSES))
    assert "3 pictures have no prediction" in text
    with pytest.raises(CheckpointError, match="no predictions after epoch 3, its logits are not finite: choose"):
        result(run("a"), 3, Prediction(torch.full((100, 10), math.nan)), LABELS, CLASSES)
