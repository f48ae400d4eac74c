import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from cnnviz.analysis import comparison
from cnnviz.analysis.comparison import Repeats
from cnnviz.config import RunConfig
from cnnviz.presets import PRESETS
from cnnviz.store.runs import Run

NUMBERS = itertools.count()


def run(accuracy: float | Sequence[float] = 0.5, **changes: Any) -> Run:
    """A finished run of that configuration, with its test accuracy from epoch 1 on."""
    curve = (0.1, *([accuracy] if isinstance(accuracy, float) else accuracy))
    config, number = RunConfig(**changes), next(NUMBERS)
    epoch = len(curve) - 1
    return Run(
        f"{number:06x}ff", config.name, "FINISHED", config, epoch, "cpu", datetime(2026, 1, 1), 0.0, accuracy=curve
    )


def study(**changes: Any) -> list[Run]:
    return [run(0.5, **vars(replace(config, **changes))) for config in PRESETS["1a"].configs()]


# -- what differs ----------------------------------------------------------------------------------


def test_the_table_has_the_differing_parameters_first_and_every_one() -> None:
    table = comparison.differences([run(lr=0.1), run(lr=0.01, activation="relu")])
    assert table.columns.tolist() == ["parameter", "differs", "tanh, lr 0.1", "relu, lr 0.01"]
    assert table.parameter.tolist()[:3] == ["activation", "lr", "model"]
    assert table.differs.tolist() == [True, True] + [False] * (len(table) - 2)
    assert {*vars(RunConfig())} - {"epochs"} == {*table.parameter} - {"epochs trained"}
    assert table["relu, lr 0.01"].tolist()[:2] == ["relu", "0.01"]
    assert all(isinstance(value, str) for value in table["tanh, lr 0.1"])  # one type a column, or no table is shown


def test_how_far_each_was_trained_counts_as_a_difference() -> None:
    table = comparison.differences([run([0.5] * 2), run([0.5] * 3)])
    assert table.iloc[0].tolist()[:2] == ["epochs trained", True]
    assert table.iloc[0].tolist()[2:] == ["2", "3"]


def test_labels_tell_runs_apart_even_twins() -> None:
    twins = [run(lr=0.1), run(lr=0.1), run(lr=0.01)]
    labels = comparison.labels(twins)
    assert len(set(labels.values())) == 3
    assert labels[twins[2].id] == "lr 0.01"
    assert comparison.labels([twins[0]])[twins[0].id] == twins[0].config.name
    assert comparison.differences(twins).shape[1] == 5


def test_labels_leave_defaults_out_as_long_as_that_tells_runs_apart() -> None:
    runs = [
        run(model="conv5", activation="relu", limit_train=1000),
        run(activation="relu", lr=50.0, limit_train=5000),
        run(dataset="synthetic", seed=1),
        run(dataset="synthetic"),
    ]
    assert list(comparison.labels(runs).values()) == [
        "conv5, relu, lr 0.01, seed 0, 1000 images",
        "lenet5x5, relu, lr 50, seed 0, 5000 images",
        "lenet5x5, tanh, lr 0.01, seed 1, synthetic",
        "lenet5x5, tanh, lr 0.01, seed 0, synthetic",
    ]
    assert list(comparison.labels(runs[2:]).values()) == ["seed 1", "seed 0"]


def test_no_runs_make_an_empty_table_and_no_pairs() -> None:
    assert comparison.differences([]).columns.tolist() == ["parameter", "differs"]
    assert comparison.controlled_pairs([]) == []
    assert comparison.uncontrolled([]) == []
    assert comparison.seed_spread([]) is None


# -- repeats and verdicts --------------------------------------------------------------------------


def test_repeats_are_runs_that_differ_in_their_seed_alone() -> None:
    runs = [run(0.60, seed=0), run(0.50, lr=0.1), run(0.62, seed=1), run([0.1, 0.64], seed=2)]
    first, second = comparison.repeats(runs)
    assert first.seeds == {0, 1, 2}
    assert first.epochs == 1
    assert first.best() == [0.60, 0.62, 0.1]  # within the epoch that all of them have
    assert second.runs == (runs[1],)
    assert math.isnan(second.spread)
    pair = comparison.repeats([runs[0], runs[2]])[0]
    assert (pair.mean, pair.spread) == (pytest.approx(0.61), pytest.approx(statistics.stdev([0.60, 0.62])))


def test_the_same_seed_again_is_no_repeat() -> None:
    runs = [run([0.6, 0.61]), run(0.6), run(0.7, seed=1)]
    (group,) = comparison.repeats(runs)
    assert group.runs == tuple(runs)
    assert group.samples == (runs[0], runs[2])
    assert comparison.seed_spread(runs[:2]) is None


def test_a_fork_is_no_repeat() -> None:
    parent, other = run([0.5, 0.6]), run([0.5, 0.6], lr=0.1)
    fork = replace(run([0.9], seed=1), parent=parent.id, first_epoch=1)  # epochs 1, its parent's, and 2
    assert [group.runs for group in comparison.repeats([parent, fork])] == [(parent,)]
    assert comparison.seed_spread([parent, fork]) is None
    assert len(comparison.controlled_pairs([parent, fork, other])) == 1
    assert comparison.uncontrolled([parent, replace(fork, config=RunConfig(lr=0.1, loss="mse"))]) == []
    assert comparison.best_within(fork, 1) is None
    assert comparison.best_within(fork, 2) == 0.9


def test_the_spread_is_pooled_over_the_settings_that_were_repeated() -> None:
    assert comparison.seed_spread([run(), run(lr=0.1)]) is None
    runs = [run(0.60, seed=0), run(0.62, seed=1), run(0.40, lr=0.1), run(0.46, lr=0.1, seed=1), run(0.9, lr=1.0)]
    spread = comparison.seed_spread(runs)
    assert spread is not None
    assert spread.deviation == pytest.approx(math.sqrt((0.02**2 / 2 + 0.06**2 / 2) / 2))
    assert (spread.freedom, spread.seeds, spread.settings) == (2, 4, 2)


def verdict(first: Sequence[Run], second: Sequence[Run], known: Sequence[Run] = ()) -> Any:
    spread = comparison.seed_spread([*first, *second, *known])
    return comparison.verdict(Repeats(tuple(first)), Repeats(tuple(second)), spread)


def test_a_difference_within_the_noise_of_the_test_pictures_is_undecided() -> None:
    near = verdict([run(0.620)], [run(0.630, lr=0.1)])
    assert near.outcome == "undecided"
    assert near.margin == pytest.approx(1.959964 * math.sqrt(2 * 0.625 * 0.375 / 10_000))
    assert "1.0 points" in near.sentence
    assert "1.3 points" in near.sentence
    far = verdict([run(0.60)], [run(0.63, lr=0.1)])
    assert (far.outcome, far.difference) == ("tentative", pytest.approx(0.03))
    assert "another seed" in far.sentence


def test_a_single_difference_smaller_than_the_spread_of_seeds_is_undecided() -> None:
    seeds = [run(value, model="conv5", seed=seed) for seed, value in enumerate((0.60, 0.62, 0.64, 0.61, 0.63))]
    found = verdict([run(0.60)], [run(0.62, lr=0.1)], seeds)
    assert found.outcome == "undecided"
    assert found.margin == pytest.approx(2.7764451 * statistics.stdev([0.60, 0.62, 0.64, 0.61, 0.63]) * math.sqrt(2))
    assert "5 runs of 1 setting" in found.sentence
    assert "standard deviation" in found.sentence
    assert verdict([run(0.60)], [run(0.70, lr=0.1)], seeds).outcome == "decided"


def test_repeats_decide_what_single_runs_cannot() -> None:
    a = [run(0.600 + 0.002 * seed, seed=seed) for seed in range(5)]
    b = [run(0.612 + 0.002 * seed, seed=seed, lr=0.1) for seed in range(5)]
    assert verdict(a, b).outcome == "decided"
    assert verdict(a[:1], b[:1], [*a, *b]).outcome == "undecided"


def test_few_seeds_know_little() -> None:
    first, second = Repeats((run(0.60),)), Repeats((run(0.66, lr=0.1),))
    for freedom, quantile in {
        1: 12.706,
        2: 4.303,
        10: 2.228,
        11: 2.201,
        60: 2.000,
    }.items():  # Student's t, from a table
        found = comparison.verdict(first, second, comparison.Spread(0.01, freedom, freedom + 1, 1))
        assert found.margin == pytest.approx(quantile * 0.01 * math.sqrt(2), rel=3e-4)


def test_the_seeds_may_not_undercut_the_test_pictures() -> None:
    lucky = [run(0.60, seed=seed) for seed in range(4)]
    found = verdict(lucky[:1], [run(0.61, lr=0.1)], lucky)
    assert found.outcome == "undecided"
    assert found.margin == pytest.approx(1.959964 * math.sqrt(2 * 0.605 * 0.395 / 10_000))


def test_runs_without_a_result_are_undecided() -> None:
    for blank in (run([]), run([math.nan]), replace(run(), accuracy=(), epoch=-1)):
        assert verdict([run(0.6)], [blank]).outcome == "undecided"
        assert comparison.controlled_pairs([run(0.6), replace(blank, config=RunConfig(lr=0.1))]) == []


# -- controlled and confounded ---------------------------------------------------------------------


def test_the_study_has_its_24_controlled_pairs() -> None:
    pairs = comparison.controlled_pairs(study())
    assert [pair.parameter for pair in pairs] == ["activation"] * 6 + ["loss"] * 6 + ["lr"] * 12
    for pair in pairs:
        a, b = vars(pair.first.config), vars(pair.second.config)
        assert [name for name in a if a[name] != b[name]] == [pair.parameter]
        assert a[pair.parameter] < b[pair.parameter]
    assert comparison.uncontrolled(study()) == []


def test_a_pair_says_what_changed_and_what_came_of_it() -> None:
    (pair,) = comparison.controlled_pairs([run(0.63, lr=0.01), run(0.53, lr=0.1)])
    assert pair.sentence.startswith("lr 0.01 → 0.1 (lenet5x5, tanh, cross entropy): best test accuracy 63.0 → 53.0 %.")
    assert pair.verdict.difference == pytest.approx(-0.1)


def test_a_longer_run_has_no_more_chances() -> None:
    (pair,) = comparison.controlled_pairs([run([0.3, 0.5], lr=0.01), run([0.4, 0.4, 0.9], lr=0.1)])
    assert pair.verdict.difference == pytest.approx(-0.1)
    assert "both to epoch 2" in pair.sentence


def test_a_run_that_stopped_early_cuts_no_other_short() -> None:
    stopped = run([0.5, 0.6, 0.4], lr=0.01)
    stopped = replace(stopped, config=replace(stopped.config, epochs=9, patience=1, validation=500))
    stopped = replace(stopped, val_loss=(3.0, 2.0, 1.5, 1.8), val_accuracy=stopped.accuracy)
    longer = run([0.3, 0.3, 0.3, 0.9], lr=0.1)
    longer = replace(longer, config=replace(longer.config, patience=1, validation=500))
    assert stopped.stopped_early
    (pair,) = comparison.controlled_pairs([stopped, longer])
    assert pair.verdict.difference == pytest.approx(0.3)  # to epoch 3 it would be 0.3 against 0.6
    assert "to epoch 4 or stopped early before" in pair.sentence


def test_the_largest_difference_comes_first() -> None:
    pairs = comparison.controlled_pairs([run(0.2, lr=0.001), run(0.6, lr=0.01), run(0.5, lr=0.1)])
    sizes = [abs(pair.verdict.difference) for pair in pairs]
    assert sizes == sorted(sizes, reverse=True)


def test_repeats_are_one_side_of_a_pair_and_seeds_no_pair_of_their_own() -> None:
    runs = [run(0.6 + seed / 100, seed=seed, lr=lr) for seed in range(3) for lr in (0.1, 0.01)]
    (pair,) = comparison.controlled_pairs(runs)
    assert (len(pair.first.runs), len(pair.second.runs)) == (3, 3)
    assert comparison.controlled_pairs([run(seed=0), run(seed=1)]) == []


def test_settings_seen_with_different_single_seeds_are_no_pair() -> None:
    assert comparison.controlled_pairs([run(seed=0), run(seed=1, lr=0.1)]) == []
    assert len(comparison.controlled_pairs([run(seed=0), run(seed=1), run(seed=1, lr=0.1)])) == 1


def test_a_confounded_pair_is_said_to_be_one_with_the_runs_that_would_tell() -> None:
    first, second = run(0.63, lr=0.01), run(0.22, activation="sigmoid", lr=0.1)
    case = comparison.confounded(first, second)
    assert case is not None
    assert case.parameters == ("activation", "lr")
    assert case.between == ()
    assert case.missing == (replace(first.config, activation="sigmoid", epochs=1),)
    assert "differ in activation and lr at once" in case.sentence
    assert "41.0 points" in case.sentence
    assert "train (sigmoid, lr 0.01)" in case.sentence


def test_runs_that_exist_are_used_to_unconfound() -> None:
    first, second = run(lr=0.01), run(activation="sigmoid", lr=0.1)
    bridge = run(activation="tanh", lr=0.1)
    case = comparison.confounded(first, second, [bridge])
    assert case is not None
    assert (case.between, case.missing) == ((bridge,), ())
    assert "In between: (tanh, lr 0.1)" in case.sentence
    untrained = replace(bridge, epoch=0)
    assert comparison.confounded(first, second, [untrained]).missing  # type: ignore[union-attr]


def test_every_step_of_the_way_changes_one_parameter() -> None:
    first, second = run(), run(model="conv5", activation="relu", lr=0.001, pooling="avg", seed=3, batch_size=50)
    case = comparison.confounded(first, second)
    assert case is not None
    way = [first.config, *case.missing, second.config]
    for a, b in itertools.pairwise(way):
        assert sum(getattr(a, name) != getattr(b, name) for name in comparison.PARAMETERS) == 1


def test_a_way_avoids_what_cannot_be_trained() -> None:
    first, second = run(batch_size=10, limit_train=50), run(batch_size=100, limit_train=0)
    case = comparison.confounded(first, second)
    assert case is not None
    assert [(config.batch_size, config.limit_train) for config in case.missing] == [(10, 0)]


def test_one_difference_is_not_confounded() -> None:
    assert comparison.confounded(run(), run(lr=0.1)) is None
    assert comparison.confounded(run(), run()) is None


def test_unequal_training_is_named() -> None:
    case = comparison.confounded(run([0.5] * 3), run([0.5] * 4, lr=0.1, loss="mse"))
    assert case is not None
    assert "trained for 3 and 4 epochs" in case.sentence


def test_the_studys_last_comparison_is_confounded() -> None:
    """1a's best, 2a and 3a differ in model, activation and rate at once."""
    runs = [run(0.63, lr=0.01)]
    runs += [run(0.6, **vars(config)) for name in ("2a", "3a") for config in PRESETS[name].configs()]
    cases = comparison.uncontrolled(runs)
    named = {name for case in cases for name in case.parameters}
    assert named == {"model", "activation", "lr", "pooling"}
    assert all(case.missing for case in cases)
    assert comparison.controlled_pairs(runs) == []
