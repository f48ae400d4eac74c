"""Experiments that are launched with one click."""

import dataclasses

import pytest

from cnnviz.presets import PRESETS, Preset


def test_presets_are_the_studys() -> None:
    first = PRESETS["1a"].configs()
    assert len(first) == len(set(first)) == 12
    assert {(c.model, c.batch_size, c.optimizer, c.epochs) for c in first} == {("lenet5x5", 10, "sgd", 20)}
    assert {(c.activation, c.loss, c.lr) for c in first} == {
        (a, loss, lr) for a in ("sigmoid", "tanh") for loss in ("mse", "cross_entropy") for lr in (0.1, 0.01, 0.001)
    }
    (second,), (third,) = PRESETS["2a"].configs(), PRESETS["3a"].configs(epochs=2)
    assert (second.model, second.activation, second.lr) == ("lenet3x3", "relu", 0.001)
    assert (third.model, third.pooling, third.epochs) == ("conv5", "avg", 2)


def test_deeper_networks_are_a_pair_with_and_without_shortcuts_in_two_depths() -> None:
    configs = PRESETS["deeper"].configs()
    assert [config.model for config in configs] == ["plain-8", "plain-14", "residual-8", "residual-14"]
    assert len({dataclasses.replace(config, model="plain-8") for config in configs}) == 1
    depths = [len(config.architecture.weight_layers) for config in configs]
    assert depths == [8, 14, 8, 14]


def test_remedies_are_one_network_without_with_each_and_with_all() -> None:
    cures = PRESETS["cure"].configs()
    changed = [(c.dropout > 0, c.augment != "none", c.weight_decay > 0, c.patience > 0) for c in cures]
    alone = [tuple(place == which for place in range(4)) for which in range(4)]
    assert sorted(changed) == sorted([(False,) * 4, *alone, (True,) * 4])
    assert len(set(cures)) == 6
    assert all(c.validation for c in cures)
    assert {(c.model, c.lr, c.seed, c.limit_train) for c in cures} == {("lenet5x5", 0.01, 0, 5000)}


@pytest.mark.parametrize("preset", [each for each in PRESETS.values() if each.group], ids=lambda each: each.title)
def test_what_is_broken_on_purpose_differs_from_its_twin_in_one_setting(preset: Preset) -> None:
    configs = preset.configs()
    assert len({config.name for config in configs}) == len(configs) >= 2
    assert len([name for name, values in preset.choices.items() if len(values) > 1]) == 1
    assert 2000 <= configs[0].train_size <= 10_000
    assert len(preset.shows) < 250
