import dataclasses
from typing import Any

import pytest

from cnnviz.config import RunConfig, grid
from cnnviz.errors import ConfigError


def test_grid_multiplies_in_order() -> None:
    configs = grid(activation=["sigmoid", "tanh"], lr=[0.1, 0.01, 0.001])
    assert [(c.activation, c.lr) for c in configs[:4]] == [
        ("sigmoid", 0.1),
        ("sigmoid", 0.01),
        ("sigmoid", 0.001),
        ("tanh", 0.1),
    ]


def test_pooling_is_the_models_own_unless_chosen() -> None:
    assert [c.pooling for c in grid(model=["lenet5x5", "conv5"])] == ["max", "avg"]
    assert [c.pooling for c in grid(model=["lenet5x5", "conv5"], pooling=["max"])] == ["max", "max"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "c6k40"}, "larger than its 32×32 input"),
        ({"activation": "softplus"}, "choose one of sigmoid"),
        ({"pooling": "median"}, "choose one of max"),
        ({"loss": "hinge"}, "choose one of cross_entropy"),
        ({"optimizer": "lion"}, "choose one of sgd"),
        ({"dataset": "mnist"}, "choose one of cifar10"),
        ({"lr": 0.0}, "more than 0"),
        ({"lr": float("nan")}, "lr nan is out of range"),
        ({"momentum": 1.0}, "less than 1"),
        ({"weight_decay": -1.0}, "at least 0"),
        ({"batch_size": 0}, "at least 1"),
        ({"epochs": 0}, "epochs 0 is out of range"),
        ({"seed": -1}, "at least 0"),
        ({"limit_train": 60_000}, "at most 50000"),
        ({"limit_train": 5}, "batch size 10 is larger than the 5"),
        ({"dropout": 1.0}, "less than 1"),
        ({"augment": "rotate"}, "choose one of none, flip"),
        ({"batch_norm": "yes"}, "choose one of off, on"),
        ({"batch_norm": "on", "batch_size": 1}, "two pictures in every batch"),
        ({"batch_norm": "on", "limit_train": 101}, "the last one has a single one"),
        ({"optimizer": "nesterov"}, "choose a momentum"),
        ({"schedule": "one-cycle", "warmup": 1}, "a warm-up of its own"),
        ({"schedule": "cosine", "warmup": 5, "epochs": 5}, "leaves none of 5"),
        ({"mistake": "softmax-twice", "loss": "mse"}, "before cross-entropy only"),
        ({"mistake": "no-eval"}, "no mistake without batch norm and dropout"),
        ({"mistake": "no-eval", "batch_norm": "on", "limit_train": 251, "batch_size": 3}, "on a single picture"),
        ({"dropout": 0.1, "model": "c4k5"}, "has none; choose dropout after maps"),
        ({"validation": 50}, "hold out at least 100, or 0"),
        ({"validation": 10_000, "limit_train": 45_000}, "more than the 50,000 there are"),
        ({"patience": 3}, "hold out validation images, such as 5000"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        RunConfig(**change)
    assert "\n" not in str(caught.value)


def test_names_tell_runs_apart() -> None:
    changes: list[dict[str, Any]] = [
        {"lr": 0.1},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
        {"batch_size": 20},
        {"seed": 1},
        {"limit_train": 100},
        {"dataset": "synthetic"},
        {"optimizer": "adam"},
        {"pooling": "avg"},
        {"batch_norm": "on"},
        {"dropout": 0.1},
        {"dropout": 0.1, "dropout_at": "both"},
        {"augment": "flip"},
        {"normalise": "raw"},
        {"validation": 1000},
        {"validation": 1000, "patience": 3},
        {"label_smoothing": 0.1},
        {"schedule": "cosine"},
        {"warmup": 2},
        {"init": "he"},
        {"mistake": "no-shuffle"},
    ]
    names = {dataclasses.replace(RunConfig(), **change).name for change in changes}
    assert len(names | {RunConfig().name}) == len(changes) + 1


def test_steps_count_the_smaller_last_batch() -> None:
    assert RunConfig(limit_train=101, batch_size=10).steps_per_epoch == 11
    assert RunConfig().steps_per_epoch == 5000
    assert RunConfig(validation=5000).train_size == 45_000
    assert RunConfig(validation=5000, limit_train=2000).train_size == 2000


def test_a_schedule_keeps_its_length_if_more_is_trained() -> None:
    config = RunConfig(schedule="cosine", epochs=20)
    assert config.schedule_epochs == 20
    assert dataclasses.replace(config, epochs=40).schedule_epochs == 20
    assert RunConfig(schedule_epochs=5).schedule_epochs == 0  # constant: it would change nothing
    assert RunConfig(warmup=2, epochs=10).schedule_epochs == 10


def test_one_spelling_of_what_is_the_same() -> None:
    assert RunConfig(dropout_at="both") == RunConfig()


@pytest.mark.parametrize(
    ("change", "alone"),
    [
        ({}, False),
        ({"init": "he", "momentum": 0.9}, False),
        ({"optimizer": "adam"}, False),
        ({"optimizer": "adamw"}, True),
        ({"dropout": 0.1}, True),
        ({"warmup": 1}, True),
        ({"augment": "cutout"}, True),
        ({"batch_norm": "on"}, True),
        ({"normalise": "raw"}, True),
        ({"model": "vgg-small"}, False),
        ({"model": "c4k3t2"}, True),
        ({"model": "c4k3-g"}, True),
        ({"model": "c4k3-r4-f5"}, True),
        ({"mistake": "no-zero-grad"}, True),
    ],
)
def test_what_is_trained_on_its_own(change: dict[str, Any], alone: bool) -> None:
    assert RunConfig(**change).trains_alone is alone
