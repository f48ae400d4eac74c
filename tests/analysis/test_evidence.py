"""The quantities that findings are made of, and how figures are worded."""

import math

import pandas as pd
import pytest

from cnnviz.analysis.evidence import RunLines, Trial, first_epoch, holds_since, of_weights
from tests.helpers.findings import BASE, alarms, drawn


def test_chance_is_the_binomial_noise_of_the_test_pictures() -> None:
    for share, kinds in ((0.1085, {"chance_level"}), (0.1095, set())):
        assert alarms(BASE, drawn(test_accuracy=[0.1] + [share] * 9)) == kinds


def test_a_condition_holds_from_its_first_epoch_or_up_to_the_last() -> None:
    condition = pd.Series([False, True, False, True, True], index=range(1, 6))
    assert (first_epoch(condition), holds_since(condition)) == (2, 4)
    always = pd.Series([True, True], index=[3, 4])
    assert (first_epoch(always), holds_since(always)) == (3, 3)


def test_lines_are_finite_and_begin_with_training_and_a_later_record_counts() -> None:
    history = drawn(train_loss=[2.3, 2.0, math.nan, 1.5])
    run = RunLines(BASE, pd.concat([history, drawn(train_loss=[2.3, 1.9])]))
    assert run.line("train_loss").to_dict() == {1: 1.9, 3: 1.5}
    assert run.recorded("train_loss").index.tolist() == [0, 1, 2, 3]
    assert run.line("test_loss").empty


def test_the_largest_update_and_the_gradients_fold_are_of_the_layers() -> None:
    lines = {"update_ratio__c1": [0.0, 0.1, 0.002, 0.002], "update_ratio__fc7": [0.0, 0.004, 0.004, 0.004]}
    run = RunLines(BASE, drawn(**lines, grad_norm__c1=[0.1] * 4, grad_norm__fc7=[20.0] * 4))
    assert run.largest_update == ("fc7", 0.004)
    assert run.fold == pytest.approx(200)
    assert RunLines(BASE, drawn()).largest_update == ("", 0.0)


@pytest.mark.parametrize(("share", "text"), [(0.043, "4.3 %"), (1e-4, "0.01 %"), (3.2e-6, "3.2e-6")])
def test_shares_of_weights_stay_readable(share: float, text: str) -> None:
    assert of_weights(share) == text


def test_a_trial_changes_its_run_within_sensible_rates() -> None:
    run = RunLines(BASE, drawn())
    assert run.try_rate(0.1) == Trial("Try lr 0.001", {"lr": 0.001})
    assert run.try_rate(1000) is None
    assert run.try_activation() == Trial("Try relu", {"activation": "relu"})
