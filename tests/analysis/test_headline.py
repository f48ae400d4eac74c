"""What came of some runs, in a sentence or two."""

from dataclasses import replace
from typing import Any

from cnnviz.analysis.evidence import Finding
from cnnviz.analysis.headline import headline
from tests.helpers.runs import run

PEEKED = "chosen on the test set: no validation images were held out"


def finding(kind: str, title: str = "", epoch: int | None = None, severity: str = "alarm") -> Finding:
    return Finding(kind, severity, title, "", "", epoch)  # type: ignore[arg-type]


def test_the_best_run_comes_first_and_what_went_wrong_is_counted() -> None:
    runs = [
        replace(run(f"r{index}", lr=lr), accuracy=(0.1, *accuracy))
        for index, (lr, accuracy) in enumerate([(0.1, (0.3, 0.633)), (0.01, (0.5, 0.4)), (0.001, (0.1, 0.1))])
    ]
    found = {
        "r0": [finding("overfitting", epoch=12)],
        "r1": [finding("overfitting", epoch=8), finding("gap", severity="note")],
        "r2": [finding("chance_level", "Never left chance level")],
    }
    assert headline(runs, found) == (
        "lr 0.1: 63.3 %",
        [
            f"Best of 3 by test accuracy on CIFAR-10, at epoch 2, {PEEKED}",
            "1 of 3 never left chance level",
            "2 of 3 overfit, the first since epoch 8",
        ],
    )


def test_chance_level_is_told_by_how_it_came_to_it() -> None:
    runs = [replace(run(f"r{index}", seed=index), accuracy=(0.1, 0.1)) for index in range(2)]
    fell, early = finding("chance_level", "Fell back"), finding("chance_level", "Still at", severity="note")
    _, words = headline(runs, {"r0": [fell], "r1": [early]})
    assert words[1:] == ["1 of 2 fell back to chance level", "1 of 2 has not left chance level yet"]


def test_one_run_is_not_compared_and_one_without_an_epoch_says_so() -> None:
    alone = replace(run("r", dataset="synthetic"), accuracy=(0.1, 0.5))
    title, words = headline([alone], {"r": [finding("diverged", epoch=2)]})
    assert title == "r: 50.0 %"  # as somebody named it
    assert words == [
        f"Its test accuracy on synthetic shapes (not CIFAR-10), at epoch 1, {PEEKED}",
        "Settings: lenet5x5, tanh, lr 0.01, cross entropy",
        "It diverged at epoch 2",
    ]
    assert headline([run("r")], {}) == ("1 network: no epoch yet", [])


def test_with_images_held_out_the_best_is_chosen_by_validation() -> None:
    alike: dict[str, Any] = {"validation": 1000, "patience": 2, "epochs": 9}
    first = replace(
        run("r", **alike), accuracy=(0.1, 0.5, 0.6, 0.7), val_loss=(2, 1, 1.1, 1.2), val_accuracy=(0.1, 0.6, 0.5, 0.5)
    )
    title, words = headline([first], {})
    assert title == "r: 50.0 %"
    assert words == [
        "Its test accuracy on CIFAR-10, at epoch 1, chosen by validation loss",
        "Settings: lenet5x5, tanh, lr 0.01, cross entropy, 1000 held out, patience 2",
        "Stopped early after epoch 3; best epoch 1",
    ]
    second = replace(
        run("s", lr=0.1, **alike), accuracy=(0.1, 0.9, 0.4), val_loss=(2, 3, 1), val_accuracy=(0.1, 0.9, 0.7), epoch=2
    )
    title, words = headline([first, second], {})
    assert title == "lr 0.1: 40.0 %"
    assert words == [
        "Best of 2 by validation accuracy on CIFAR-10, at epoch 2, chosen by validation loss",
        "2 of 2 stopped early",
    ]
    other = replace(run("t"), accuracy=(0.1, 0.5))
    _, words = headline([first, other], {})
    assert "chosen by validation loss where images were held out, else on the test set" in words[0]


def test_a_run_alone_is_called_by_what_matters_and_the_rest_is_said_after_it() -> None:
    alone = replace(run("r", momentum=0.9, batch_size=32), accuracy=(0.1, 0.5))
    named = replace(alone, name=alone.config.name)
    title, words = headline([named], {})
    assert title == "lenet5x5, tanh, lr 0.01: 50.0 %"
    assert words[1] == "Settings: cross entropy, momentum 0.9, batch 32"
    fork = replace(alone, name=f"{alone.config.name} (fork of 3fa2c1 at 5)")
    assert headline([fork], {})[0] == "lenet5x5, tanh, lr 0.01 (fork of 3fa2c1 at 5): 50.0 %"
