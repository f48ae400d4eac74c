"""Findings of many runs, said once; and what runs have in common, in words."""

import itertools
from collections.abc import Callable

import pytest

from cnnviz.analysis import findings, groups
from cnnviz.analysis.evidence import Finding
from cnnviz.config import RunConfig, grid
from cnnviz.presets import PRESETS
from cnnviz.store.runs import Run
from tests.helpers.runs import run


def made(configs: list[RunConfig]) -> list[Run]:
    return [run(f"{number:06x}", **vars(config)) for number, config in enumerate(configs)]


STUDY = made(PRESETS["1a"].configs())
RATES = made(grid(lr=[0.0001, 0.001, 0.01, 0.1], activation=["relu", "gelu", "tanh", "sigmoid"]))
OTHERS = [
    run("first", model="lenet3x3", activation="relu", lr=0.001),
    run("second", model="conv5", activation="relu", lr=0.001, limit_train=1000),
    run("third", model="conv5", activation="relu", lr=0.001, limit_train=1000, loss="mse"),
]
SEEDS = made(grid(lr=[0.1, 0.01], seed=[0, 1, 2]))


def said(runs: list[Run], which: Callable[[RunConfig], bool]) -> str:
    return groups.in_common(runs, {each.id for each in runs if which(each.config)})


@pytest.mark.parametrize(
    ("runs", "which", "words"),
    [
        (STUDY, lambda c: True, ""),
        (STUDY, lambda c: False, ""),
        (STUDY, lambda c: c.activation == "sigmoid", "sigmoid"),
        (STUDY, lambda c: c.activation == "tanh" and c.lr == 0.1 and c.loss == "mse", "tanh, mse, lr 0.1"),
        (STUDY, lambda c: c.activation == "sigmoid" and c.lr == 0.001, "sigmoid with lr 0.001"),
        (STUDY, lambda c: c.activation == "sigmoid" and c.lr < 0.1, "sigmoid with lr 0.01 or less"),
        (STUDY, lambda c: c.lr > 0.001, "lr 0.01 or more"),
        (STUDY, lambda c: c.lr != 0.01, "lr 0.001 or 0.1"),
        (STUDY, lambda c: c.loss == "mse" and c.lr == 0.1, "mse with lr 0.1"),
        (
            STUDY,
            lambda c: c.activation == "sigmoid" and not (c.loss == "cross_entropy" and c.lr == 0.1),
            "sigmoid, except cross entropy with lr 0.1",
        ),
        (
            STUDY,
            lambda c: not (c.activation == "tanh" and c.loss == "mse" and c.lr == 0.1),
            "all, except tanh with mse, lr 0.1",
        ),
        (
            STUDY,
            lambda c: c.lr == (0.1 if c.activation == "tanh" else 0.01),
            "sigmoid with lr 0.01, and tanh with lr 0.1",
        ),
        (RATES, lambda c: c.activation != "sigmoid", "every activation but sigmoid"),
        (RATES, lambda c: c.lr in (0.001, 0.01) and c.activation == "relu", "relu with lr 0.001 or 0.01"),
        (
            STUDY,
            lambda c: c.activation == "sigmoid" and c.lr < 0.1 and not (c.loss == "cross_entropy" and c.lr == 0.01),
            "sigmoid with lr 0.001, and sigmoid with mse, lr 0.01",
        ),
        (STUDY + OTHERS, lambda c: c.activation == "relu", "relu"),
        (STUDY + OTHERS, lambda c: c.limit_train > 0, "conv5"),  # of which both have 1000 images
        (STUDY + OTHERS, lambda c: c.activation == "sigmoid", "sigmoid"),
        (SEEDS, lambda c: c.seed < 2, "seed 0 or 1"),  # "or less" would be no words for a seed
        (SEEDS, lambda c: c.lr == 0.1 and c.seed == 0, "lr 0.1, seed 0"),
    ],
)
def test_runs_are_named_by_what_they_have_in_common(
    runs: list[Run], which: Callable[[RunConfig], bool], words: str
) -> None:
    assert said(runs, which) == words


def test_runs_that_have_nothing_in_common_are_listed() -> None:
    some = [each for number, each in enumerate(RATES) if number in (0, 5, 10, 15, 3)]
    words = groups.in_common(RATES, {each.id for each in some})
    assert words.count(";") == groups.MOST_NAMED - 1
    assert words.endswith("and 1 more")


def test_different_runs_get_different_words() -> None:
    """As long as all of them are named: every two, three and nine of the study's twelve."""
    ids = [each.id for each in STUDY]
    some = [set(those) for size in (2, 3, 9) for those in itertools.combinations(ids, size)]
    words = [groups.in_common(STUDY, those) for those in some]
    whole = [text for text in words if " more" not in text or " or more" in text]
    assert all(words)
    assert len(whole) > 250
    assert len(set(whole)) == len(whole)


def test_the_pooling_of_each_model_is_not_said_and_twins_are() -> None:
    runs = made([RunConfig(model="lenet3x3"), RunConfig(model="conv5"), RunConfig(model="conv5", seed=1)])
    assert groups.in_common(runs, {runs[1].id, runs[2].id}) == "conv5"
    twins = made([RunConfig(), RunConfig(), RunConfig(lr=0.1)])
    assert groups.in_common(twins, {twins[0].id}).endswith(twins[0].id)
    assert twins[0].id in groups.in_common(twins, {twins[0].id, twins[2].id})


def finding(kind: str, title: str = "", severity: str = "alarm", epoch: int | None = None) -> Finding:
    return Finding(kind, severity, title, "", "", epoch)  # type: ignore[arg-type]


def test_alarms_come_first_then_what_most_runs_show_and_nothing_twice() -> None:
    never, note = finding("chance_level", "Never left chance level"), "note"
    stalled = [each.id for each in STUDY if each.config.activation == "sigmoid" and each.config.lr < 0.1]
    found = {each.id: [finding("still_improving", severity=note)] for each in STUDY if each.id not in stalled}
    found |= {run_id: [never, finding("vanishing_gradients")] for run_id in stalled[:-1]}
    found[stalled[-1]] = [never, finding("vanishing_gradients", severity=note)]
    found[STUDY[-1].id] = [finding("diverged", epoch=3)]
    some = groups.groups(STUDY, found)
    assert [(each.severity, each.says, each.who) for each in some] == [
        ("alarm", "4 runs never left chance level", "sigmoid with lr 0.01 or less"),
        ("alarm", "4 runs have gradients that vanish before the first layer", "sigmoid with lr 0.01 or less"),
        ("alarm", "1 run diverged at epoch 3", groups.in_common(STUDY, {STUDY[-1].id})),
        ("note", "7 runs were still improving", some[-1].who),
    ]
    assert [member.id for member, _ in some[0].members] == stalled


def test_of_all_runs_and_of_one_nobody_is_named() -> None:
    every = {each.id: [finding("overfitting", epoch=number + 4)] for number, each in enumerate(STUDY)}
    (group,) = groups.groups(STUDY, every)
    assert (group.says, group.who) == ("All 12 runs overfit, the first since epoch 4", "")
    (alone,) = groups.groups(STUDY[:1], every)
    assert (alone.says, alone.who) == ("It overfits since epoch 4", "")
    assert groups.groups(STUDY, {}) == []


def test_every_kind_of_finding_has_words() -> None:
    assert set(findings.KINDS) <= {*groups.WORDS, "chance_level", "below_chance"}
    for kind in findings.KINDS:
        assert groups.outcome(finding(kind)) in groups.WORDS
    assert groups.outcome(finding("below_chance", severity="note")) == "early"
    assert groups.outcome(finding("chance_level", "Fell back")) == "chance_level"
