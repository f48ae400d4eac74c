"""Which setting matters, against plain pandas."""

import random
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from cnnviz.analysis import settings
from cnnviz.config import RunConfig, grid
from cnnviz.presets import PRESETS
from cnnviz.store.runs import Run
from tests.helpers.runs import run


def trained(configs: list[RunConfig], epochs: int = 3) -> list[Run]:
    """With test accuracies drawn at random."""
    chance = random.Random(0)
    made = []
    for number, config in enumerate(configs):
        line = (0.1, *(chance.uniform(0.1, 0.6) for _ in range(epochs)))
        made.append(replace(run(f"{number:06x}", **vars(config)), accuracy=line, epoch=epochs))
    return made


GRID = [config for each in PRESETS["1a"].configs() for config in grid(each, seed=[0, 1, 2])]


def as_frame(runs: list[Run]) -> pd.DataFrame:
    return pd.DataFrame([vars(each.config) | {"best": max(each.accuracy[1:])} for each in runs])


def test_the_figures_are_those_of_pandas() -> None:
    runs = trained(GRID)
    maps = settings.heat_maps(runs)
    assert maps is not None
    assert maps.parameters == ("lr", "activation", "loss")
    assert (maps.columns, maps.rows) == (("lr 0.001", "lr 0.01", "lr 0.1"), ("sigmoid", "tanh"))
    assert [each.title for each in maps.maps] == ["cross entropy", "mse"]
    figures = as_frame(runs).groupby(["loss", "activation", "lr"]).best.agg(["mean", "min", "max", "count"])
    found = [(cell.mean, cell.low, cell.high, cell.seeds) for cell in maps.cells]
    assert found == [pytest.approx(tuple(row)) for row in figures.to_numpy().tolist()]
    assert not any(cell.mixed for cell in maps.cells)
    assert maps.epochs == 3


def test_no_cell_mixes_models_or_losses() -> None:
    others = grid(RunConfig(loss="mse", activation="relu"), model=["lenet3x3", "conv5"], lr=[0.01, 1.0])
    runs = trained([*PRESETS["1a"].configs(), *others])
    maps = settings.heat_maps(runs)
    assert maps is not None
    assert set(maps.parameters) == {"lr", "activation", "model", "loss"}
    assert len(maps.cells) == len(runs)
    assert not any(cell.mixed for cell in maps.cells)
    shown = {
        (title, row, column): [each.id for each in cell.runs]
        for title, cells in ((each.title, each.cells) for each in maps.maps)
        for row, line in zip(maps.rows, cells, strict=True)
        for column, cell in zip(maps.columns, line, strict=True)
        if cell
    }
    for each in runs:
        config = each.config
        loss = config.loss.replace("_", " ")
        row = f"{config.model}, {loss}"
        assert shown[config.activation, row, f"lr {config.lr:g}"] == [each.id]
    assert not any("averages" in note for note in settings.notes(maps, runs))


def test_a_parameters_span_is_of_means_that_differ_in_it_alone() -> None:
    runs = trained(GRID)
    means = as_frame(runs).groupby(["loss", "activation", "lr"]).best.mean()
    found = {each.parameter: each for each in settings.spans(runs)}
    for name, number in (("loss", 6), ("activation", 6), ("lr", 4)):
        rest = [other for other in means.index.names if other != name]
        spans = means.groupby(rest).agg(lambda group: group.max() - group.min())
        assert (found[name].low, found[name].high) == pytest.approx((spans.min(), spans.max()))
        assert found[name].comparisons == number
    highs = [each.high for each in settings.spans(runs)]
    assert highs == sorted(highs, reverse=True)
    assert "points, most with " in found["lr"].says


def one(lr: float, best: float, **more: Any) -> Run:
    epochs = more.pop("trained", 1)
    made = run(f"{lr:g} {best} {more}", lr=lr, **more)
    return replace(made, accuracy=(0.1, *[0.1] * (epochs - 1), best), epoch=epochs)


def test_what_was_not_trained_is_an_empty_cell() -> None:
    maps = settings.heat_maps([one(0.1, 0.5), one(0.01, 0.4), one(0.1, 0.3, activation="relu")])
    assert maps is not None
    (only,) = maps.maps
    assert only.title == ""
    assert [[cell.mean if cell else None for cell in row] for row in only.cells] == [[None, 0.3], [0.4, 0.5]]
    assert maps.rows == ("relu", "tanh")


def test_one_parameter_makes_one_row_and_none_makes_no_map() -> None:
    maps = settings.heat_maps([one(0.1, 0.5), one(0.01, 0.4)])
    assert maps is not None
    assert (maps.rows, maps.parameters, len(maps.cells)) == (("",), ("lr",), 2)
    assert settings.heat_maps([one(0.1, 0.5)]) is None
    assert settings.heat_maps([one(0.1, 0.5), one(0.1, 0.4, seed=1)]) is None
    assert settings.heat_maps([replace(one(0.1, 0.5), accuracy=(), epoch=-1)]) is None
    assert settings.heat_maps([]) is None


def test_a_longer_run_has_no_more_chances_and_a_shorter_one_is_marked() -> None:
    runs = [one(0.1, 0.5), one(0.01, 0.9, trained=5), one(0.2, 0.3, trained=3), one(0.3, 0.3, trained=3)]
    maps = settings.heat_maps(runs)
    assert maps is not None
    assert maps.epochs == 3
    assert [(cell.mean, cell.epochs) for cell in maps.cells] == [(0.1, 3), (0.5, 1), (0.3, 3), (0.3, 3)]
    assert any("fewer epochs" in text for text in settings.notes(maps, runs))


def test_a_fourth_parameter_is_averaged_over_and_said_to_be() -> None:
    runs = trained(
        grid(lr=[0.1, 0.01, 0.001], activation=["tanh", "relu"], loss=["mse", "cross_entropy"], momentum=[0.0, 0.9])
    )
    maps = settings.heat_maps(runs)
    assert maps is not None
    assert all(cell.mixed for cell in maps.cells)
    assert len(settings.notes(maps, runs)) == 1
    left = ({"loss", "activation", "momentum"} - set(maps.parameters)).pop()
    assert left in settings.notes(maps, runs)[0]


def test_forks_and_the_same_seed_again_are_no_further_samples() -> None:
    runs = [one(0.1, 0.5), one(0.1, 0.4, trained=1), one(0.01, 0.3)]
    fork = replace(one(0.1, 0.9, seed=1), parent=runs[0].id)
    maps = settings.heat_maps([*runs, fork])
    assert maps is not None
    assert [(cell.seeds, len(cell.runs)) for cell in maps.cells] == [(1, 1), (1, 2)]
    assert any("Forks" in text for text in settings.notes(maps, [*runs, fork]))


def test_what_may_be_luck_is_said_once() -> None:
    single, many = trained(PRESETS["1a"].configs()), trained(GRID)
    alone, spread = (settings.heat_maps(runs) for runs in (single, many))
    assert alone is not None
    assert spread is not None
    assert settings.caveat(alone, single).startswith("One seed a cell")
    assert "36 runs of 12 settings" in settings.caveat(spread, many)
    mixed = [*single, *[replace(each, id="x", config=replace(each.config, seed=1)) for each in single[:1]]]
    few = settings.heat_maps(mixed)
    assert few is not None
    assert "11 of 12 cells have one seed alone" in settings.caveat(few, mixed)


def test_the_axes_are_the_parameters_with_most_values_and_numbers_go_across() -> None:
    runs = trained(grid(activation=["tanh", "relu", "gelu"], batch_size=[10, 20]))
    assert settings.axes(runs) == ["batch_size", "activation"]
    runs = trained(grid(model=["lenet5x5", "lenet3x3"], activation=["tanh", "relu"]))
    assert sorted(settings.axes(runs)) == ["activation", "model"]  # pooling follows the model
    assert settings.axes(trained(grid(limit_train=[0, 1000]))) == ["limit_train"]
    maps = settings.heat_maps(trained(grid(limit_train=[0, 1000])))
    assert maps is not None
    assert maps.columns == ("all images", "1000 images")


def early(lr: float, *accuracy: float, losses: tuple[float, ...]) -> Run:
    """Stopped by its patience long before its 40 epochs."""
    config = RunConfig(lr=lr, epochs=40, validation=500, patience=1)
    made = run(f"{lr}early", **vars(config))
    line = (0.1, *accuracy)
    return replace(made, accuracy=line, val_accuracy=line, val_loss=(3.0, *losses), epoch=len(accuracy))


def test_a_run_that_stopped_early_counts_with_its_best_epoch_and_cuts_no_other_short() -> None:
    stopped = early(0.1, 0.4, 0.6, 0.5, losses=(2.0, 1.5, 1.6))
    going = early(0.01, 0.3, 0.4, 0.5, 0.7, losses=(2.0, 1.8, 1.6, 1.4))
    going = replace(going, config=replace(going.config, epochs=4))
    maps = settings.heat_maps([stopped, going])
    assert maps is not None
    assert maps.epochs == 4
    assert [cell.mean for cell in maps.cells] == [0.7, 0.6]
    assert [cell.epochs for cell in maps.cells] == [4, 4]
    assert not any("stopped early" in text for text in settings.notes(maps, [going]))
    assert settings.notes(maps, [stopped, going])[-1].startswith("1 run stopped early and counts at the best epoch")
    (span,) = settings.spans([stopped, going])
    assert span.high == pytest.approx(0.1)  # cut to three epochs it would be 0.6 against 0.5
    both = settings.heat_maps([stopped, early(0.01, 0.3, 0.4, 0.5, 0.7, 0.6, losses=(2.0, 1.8, 1.6, 1.4, 1.5))])
    assert both is not None
    assert both.epochs == 5
    assert [cell.mean for cell in both.cells] == [0.7, 0.6]
