"""Findings on networks at chance level, on recorded runs and on drawn ones."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.findings import (
    BASE,
    LOG10,
    drawn,
    forked,
    found,
    recorded,
)


def test_what_to_try_at_chance_level_depends_on_whether_anything_moves() -> None:
    moving = found(*recorded("sigmoid-cross_entropy-0.01"))["chance_level"].test
    still = found(*recorded("sigmoid-mse-0.01"))["chance_level"].test
    assert moving is not None
    assert still is not None
    assert (moving.epochs, dict(moving.changes)) == (20, {})
    assert (still.epochs, dict(still.changes)) == (0, {"lr": 0.1})


def test_a_constant_run_is_at_chance() -> None:
    loss = [LOG10] * 21
    findings = found(BASE, drawn(train_loss=loss, test_loss=loss, test_accuracy=[0.1] * 21))
    assert list(findings) == ["chance_level"]
    assert findings["chance_level"].severity == "alarm"


def test_at_first_a_network_at_chance_is_only_noted() -> None:
    for config, epochs in ((BASE, 1), (BASE, 2), (replace(BASE, batch_size=500), 20)):
        finding = found(config, drawn(test_accuracy=[0.1] * (epochs + 1)))["chance_level"]
        assert finding.severity == "note"
        assert finding.test is not None
        assert finding.test.epochs == epochs


def test_a_run_that_fell_back_to_chance_is_told_when() -> None:
    accuracy = [0.1, 0.3, 0.4, 0.45, 0.5, 0.1, 0.1, 0.1, 0.1]
    finding = found(BASE, drawn(test_accuracy=accuracy))["chance_level"]
    assert finding.title == "Fell back to chance level at epoch 5"
    assert finding.test is not None
    assert finding.test.changes == {"lr": 0.001}


def test_shuffled_labels_are_learned_by_heart() -> None:
    """As measured on 2,000 pictures of CIFAR-10: train accuracy rises to 99 %, test accuracy is that of guessing."""
    train = np.concatenate([np.full(10, 0.11), np.linspace(0.12, 0.99, 51)])
    loss = np.concatenate([np.full(10, LOG10), np.linspace(LOG10, 0.04, 51)])
    test = 0.1 + 0.002 * np.sin(np.arange(61))
    config = replace(BASE, mistake="random-labels", limit_train=2000, batch_size=32)
    rising = np.linspace(LOG10, 10.8, 61)
    lines = drawn(train_loss=loss, train_accuracy=train, test_loss=rising, test_accuracy=test)
    finding = found(config, lines)["chance_level"]
    assert (finding.title, finding.severity) == ("Learned by heart", "alarm")
    assert "97.3 % of the training pictures" in finding.sentence  # over the last epochs
    assert "early" not in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"mistake": "none"}


def test_one_that_left_and_fell_back_has_left() -> None:
    finding = found(*recorded("sigmoid-cross_entropy-0.01"))["chance_level"]
    assert finding.title == "Left chance level at epoch 18 and fell back"
    assert finding.epoch == 19
    assert "It was 14.9 % at epoch 18 and fell back." in finding.sentence


@pytest.mark.parametrize(("share", "title"), [(0.112, "Left chance level at epoch 5 and fell back"), (0.11, "Never")])
def test_a_single_epoch_above_chance_counts_from_where_noise_seldom_takes_one_of_them_all(
    share: float, title: str
) -> None:
    accuracy = [0.1] * 41
    accuracy[5] = share
    finding = found(BASE, drawn(test_accuracy=accuracy))["chance_level"]
    assert finding.title.startswith(title)
    assert ("and fell back" in finding.sentence) == ("and fell back" in title)
    assert ("may be noise as well" in finding.sentence) == (title == "Never")


@pytest.mark.parametrize("share", [0.05, 0.0, 0.09])
def test_less_than_chance_is_another_thing_than_chance(share: float) -> None:
    lines = {"train_accuracy": [0.1, *[0.6] * 10], "test_accuracy": [0.1, *[share] * 10]}
    findings = found(BASE, drawn(**lines))
    assert list(findings) == ["below_chance"]
    finding = findings["below_chance"]
    assert finding.severity == "alarm"
    assert "less than chance: guessing gives 10 % ± 0.9 points" in finding.sentence
    assert "labels" in finding.sentence
    assert "Of the training pictures 60.0 % were right" in finding.sentence
    assert finding.test is not None
    assert finding.test.changes == {"seed": 1}


def test_just_below_chance_is_chance() -> None:
    assert list(found(BASE, drawn(test_accuracy=[0.1, *[0.092] * 10]))) == ["chance_level"]


def test_initial_weights_may_lie_below_chance() -> None:
    finding = found(BASE, drawn(test_accuracy=[0.08, 0.08]))["below_chance"]
    assert finding.severity == "note"
    assert "It is early, 5,000 updates so far" in finding.sentence
    assert finding.test is not None
    assert finding.test.epochs == 1


@pytest.mark.parametrize(("batch", "kinds"), [(10, ["slow_start"]), (50, []), (2500, [])])
def test_a_slow_start_is_counted_in_updates(batch: int, kinds: list[str]) -> None:
    """Two epochs of batches of 2,500 are 40 updates: no network has learned anything by then."""
    history = drawn(test_accuracy=[0.1, 0.1, 0.1, 0.3, 0.4, 0.5])
    assert list(found(replace(BASE, batch_size=batch), history)) == kinds
    late = drawn(test_accuracy=[*[0.1] * 300, 0.3, 0.4, 0.5])
    assert list(found(replace(BASE, batch_size=batch), late)) == ["slow_start"]


@pytest.mark.parametrize(
    ("activation", "changes"),
    [
        ("sigmoid", {"activation": "tanh"}),
        ("tanh", {"activation": "relu"}),
        ("relu", {"seed": 1}),
        ("gelu", {"seed": 1}),
    ],
)
def test_what_refutes_a_slow_start_is_what_its_button_tries(activation: str, changes: dict[str, object]) -> None:
    config = replace(BASE, activation=activation, lr=0.05)
    finding = found(config, drawn(test_accuracy=[0.1, 0.1, 0.1, 0.3, 0.4, 0.5]))["slow_start"]
    assert finding.test is not None
    assert dict(finding.test.changes) == changes
    assert ("slope" in finding.refutes) == ("activation" in changes)


def test_a_slow_start_that_peeked_above_chance_did_not_stay_there() -> None:
    steady, peeked = [0.1, 0.1, 0.1, 0.1, 0.3, 0.4, 0.5], [0.1, 0.1, 0.2, 0.1, 0.1, 0.3, 0.4, 0.5]
    assert "stayed within 3 times" in found(BASE, drawn(test_accuracy=steady))["slow_start"].sentence
    assert "was in most epochs within 3 times" in found(BASE, drawn(test_accuracy=peeked))["slow_start"].sentence


def test_a_layer_that_got_no_gradient_at_all_has_no_share_of_it() -> None:
    lines = {"grad_norm__c1": [0, 0, 1e-4, 0.1, 0.2, 0.2], "grad_norm__fc7": [1.0] * 6}
    sentence = found(BASE, drawn(test_accuracy=[0.1, 0.1, 0.1, 0.3, 0.4, 0.5], **lines))["slow_start"].sentence
    assert "1/10,000 of fc7's at epoch 2" in sentence


@pytest.mark.parametrize("start", [0, 100])
def test_a_fork_counts_its_own_epochs_and_updates(start: int) -> None:
    early = found(replace(BASE, batch_size=100), forked(drawn(test_accuracy=[0.1] * 4), start))["chance_level"]
    assert early.severity == "note"
    assert "over the last 3 of 3 epochs" in early.sentence
    assert "It is early: 1,500 updates so far." in early.sentence
    assert early.test is not None
    assert (early.test.label, early.test.epochs) == ("Train 3 more epochs", 3)
    slow = found(BASE, forked(drawn(test_accuracy=[0.1, 0.1, 0.1, 0.3, 0.4, 0.5]), start))["slow_start"]
    assert slow.title == f"At chance level until epoch {start + 2}"


def test_a_fork_of_a_network_that_had_learned_fell_back() -> None:
    fork = forked(drawn(test_accuracy=[0.5, 0.1, 0.1, 0.1, 0.1]), 100)
    assert found(BASE, fork)["chance_level"].title == "Fell back to chance level at epoch 101"
    untrained = drawn(test_accuracy=[0.13, 0.1, 0.1, 0.1, 0.1])  # as initial weights may do
    assert found(BASE, untrained)["chance_level"].title == "Never left chance level"


def test_at_chance_level_steps_that_are_long_are_not_made_longer() -> None:
    bouncing = np.tile([2.3, 3.0], 8)
    flat = {"saturation__c1": [0.8] * 16}
    for lines in ({"train_loss": bouncing}, flat, {"update_ratio__fc7": [0.05] * 16}):
        finding = found(BASE, drawn(test_accuracy=[0.1] * 16, **lines))["chance_level"]
        assert finding.test is not None
        assert finding.test.changes == {"lr": 0.001}
    assert (
        "rose by more than 12 % in"
        in found(BASE, drawn(test_accuracy=[0.1] * 16, train_loss=bouncing))["chance_level"].sentence
    )
