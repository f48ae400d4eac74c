"""Findings on initial weights: on untrained networks as they are, and on drawn figures."""

import itertools
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from cnnviz.architectures import ACTIVATIONS, INITS
from cnnviz.config import RunConfig
from cnnviz.data import Dataset, batch_order, shapes
from cnnviz.train.loop import fresh_start
from cnnviz.train.single import Single
from tests.helpers.findings import BASE, drawn, forked, found

SMALL = RunConfig(model="lenet5x5", dataset="synthetic", limit_train=200, batch_size=20, epochs=1)
USUAL = [init for init in INITS if init not in ("small", "large", "zero")]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    drawn_ones = (*shapes.draw("train", 200), *shapes.draw("test", 200))
    return Dataset("synthetic", "Synthetic", shapes.CLASSES, *map(torch.from_numpy, drawn_ones))


def untrained(config: RunConfig, dataset: Dataset) -> pd.DataFrame:
    """The figures of epoch 0."""
    single = Single(config, fresh_start(config).weights)
    single.begin_epoch(0, 100)
    for rows in batch_order(0, 1, 200)[:100].split(20):
        single.probe(dataset.train_images, dataset.train_labels, rows)
    (figures,) = single.epoch_figures(100, 5)
    (tested,) = single.evaluate(dataset.test_images, dataset.test_labels)
    figures |= {"test_loss": tested.pop("loss"), "test_accuracy": tested.pop("accuracy")} | tested
    return drawn(**{name.replace("/", "__"): [value] for name, value in figures.items() if value == value})


def started(config: RunConfig, dataset: Dataset) -> set[str]:
    return {"small_start", "large_start"} & found(config, untrained(config, dataset)).keys()


def test_usual_weights_start_well(dataset: Dataset) -> None:
    every = itertools.product(USUAL, ACTIVATIONS, ("cross_entropy",))
    for init, activation, loss in (*every, *itertools.product(USUAL, ("sigmoid", "relu"), ("mse",))):
        config = replace(SMALL, init=init, activation=activation, loss=loss)
        assert started(config, dataset) == set(), config.name


def test_batch_norm_makes_their_size_irrelevant(dataset: Dataset) -> None:
    for init in ("small", "large"):
        assert started(replace(SMALL, init=init, batch_norm="on"), dataset) == set()


@pytest.mark.parametrize(
    ("init", "activation", "loss", "kind"),
    [
        ("small", "relu", "cross_entropy", "small_start"),
        ("small", "tanh", "mse", "small_start"),
        ("small", "sigmoid", "mse", "small_start"),
        ("small", "sigmoid", "cross_entropy", "small_start"),
        ("zero", "relu", "cross_entropy", "small_start"),
        ("large", "relu", "cross_entropy", "large_start"),
        ("large", "sigmoid", "mse", "large_start"),
        ("large", "tanh", "cross_entropy", "large_start"),
    ],
)
def test_weights_that_are_too_small_or_too_large_are_told(
    init: str, activation: str, loss: str, kind: str, dataset: Dataset
) -> None:
    config = replace(SMALL, init=init, activation=activation, loss=loss)
    finding = found(config, untrained(config, dataset))[kind]
    assert (finding.severity, finding.epoch) == ("note", 0)
    assert finding.test is not None
    assert finding.test.changes == {"init": "he" if activation == "relu" else "xavier"}
    assert [trial.changes for trial in finding.more] == [{"batch_norm": "on"}]


def test_a_fork_starts_with_weights_that_were_trained() -> None:
    lines: dict[str, Any] = {"test_loss": [50.0, 2.0], "grad_norm__c1": [1e-9, 1.0], "grad_norm__fc7": [1.0, 1.0]}
    assert "large_start" in found(BASE, drawn(**lines))
    assert "large_start" not in found(BASE, forked(drawn(**lines), 5))


def test_raw_pixels_are_told_with_what_they_do_to_the_first_layer(dataset: Dataset) -> None:
    tanh = replace(SMALL, normalise="raw")
    assert found(tanh, untrained(tanh, dataset))["raw_inputs"].evidence["saturation"] > 0.9
    config = replace(tanh, activation="relu")
    finding = found(config, untrained(config, dataset))["raw_inputs"]
    assert (finding.severity, finding.title) == ("alarm", "Inputs are not normalised")
    assert finding.evidence["grad_norm"] > 5
    assert finding.test is not None
    assert finding.test.changes == {"normalise": "unit"}
    assert "raw_inputs" not in found(SMALL, untrained(SMALL, dataset))
