"""What a network answers: matrices that must show a finding, and near misses that must not."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from cnnviz.analysis import groups
from cnnviz.analysis.answers import Answers, expected
from cnnviz.analysis.evidence import Finding
from cnnviz.analysis.findings import ANSWER_KINDS, diagnose
from cnnviz.config import RunConfig
from tests.helpers.findings import BASE, accuracy_of, agree, drawn, falling

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CAT, DOG = 3, 5
EPOCHS = 6


def even(right: int = 640) -> np.ndarray:
    """1,000 pictures of each class, whose mistakes fall on all others alike."""
    wrong = (1000 - right) // 9
    return np.full((10, 10), wrong) + np.diag([1000 - 10 * wrong] * 10)


def one_class(said: int, others: int = 0) -> np.ndarray:
    matrix = np.zeros((10, 10), int)
    matrix[:, said] = 1000
    matrix[0, said], matrix[0, (said + 1) % 10] = 1000 - others, others
    return matrix


def cats_and_dogs(cats: int, dogs: int) -> np.ndarray:
    """That many cats more are taken for dogs, and dogs for cats."""
    matrix = even()
    matrix[CAT, DOG] += cats
    matrix[CAT, CAT] -= cats
    matrix[DOG, CAT] += dogs
    matrix[DOG, DOG] -= dogs
    return matrix


def found(
    matrices: Sequence[np.ndarray], confidence: Sequence[float] | None = None, config: RunConfig = BASE
) -> dict[str, Finding]:
    answered = Answers(
        CLASSES,
        range(len(matrices)),
        np.stack(matrices),
        np.asarray(confidence or [0.65] * len(matrices)),
        np.full(len(matrices), 0.03),
    )
    loss = falling(len(matrices) - 1)
    findings = diagnose(config, drawn(test_loss=loss, test_accuracy=accuracy_of(loss)), answered)
    agree(config, findings)
    by_kind = {each.kind: each for each in findings if each.kind in ANSWER_KINDS}
    for each in by_kind.values():
        assert groups.phrase(groups.outcome(each), [each])
        assert all(math.isfinite(value) for value in each.evidence.values())
        assert each.epoch is not None
        assert 0 < each.epoch < len(matrices)
    return by_kind


def test_nothing_is_found_in_even_mistakes() -> None:
    assert found([even()] * EPOCHS) == {}


def test_one_class_for_everything_since_when() -> None:
    matrices = [one_class(1), even(), one_class(4), one_class(8, others=100), one_class(7, others=99)]
    finding = found(matrices, [0.1] * 5)["one_class"]
    assert (finding.title, finding.severity) == ("Always says horse", "alarm")
    assert "horse for 9,901 of 10,000 test pictures" in finding.sentence
    assert finding.epoch == 2
    assert "Since epoch 2" in finding.sentence
    assert "one_class" not in found([*matrices[:4], one_class(7, others=101)], [0.1] * 5)


def test_an_untrained_network_may_say_what_it_likes() -> None:
    assert found([one_class(1)] + [even()] * 4) == {}
    assert found([one_class(1), even(), one_class(1), even()]) == {}


@pytest.mark.parametrize(("cats", "dogs", "shown"), [(200, 120, True), (40, 20, False), (0, 300, True), (0, 0, False)])
def test_a_pair_that_is_confused_more_than_others(cats: int, dogs: int, shown: bool) -> None:
    by_kind = found([even()] * 4 + [cats_and_dogs(cats, dogs)])
    assert set(by_kind) == ({"confuses"} if shown else set())
    if shown:
        finding = by_kind["confuses"]
        assert finding.title == f"Confuses {'cat with dog' if cats >= dogs else 'dog with cat'}"
        assert f"{80 + cats + dogs} together" in finding.sentence
        assert finding.evidence["explained"] < (80 + cats + dogs) / 2


def test_a_class_that_is_said_too_often_explains_itself() -> None:
    """Everything is taken for a dog, cats no more than the rest."""
    matrix = even(820)
    for true in range(10):
        if true != DOG:
            matrix[true, DOG] += 300
            matrix[true, true] -= 300
    assert found([even()] * 4 + [matrix], [0.55] * 5) == {}


def test_few_mistakes_are_no_trait() -> None:
    """Of 2,000 cats and dogs 90 are confused, under 5 %, and hardly anything else is."""
    for confused, shown in ((45, set()), (55, {"confuses"})):
        matrix = np.diag([1000] * 10)
        for one, other in ((CAT, DOG), (DOG, CAT)):
            matrix[one, other], matrix[one, one] = confused, 1000 - confused
        matrix[0, 1:], matrix[1:, 0] = 5, 5
        matrix[np.diag_indices(10)] += 1000 - matrix.sum(1)
        assert set(found([even()] * 4 + [matrix], [0.95] * 5)) - {"overconfident"} == shown


@pytest.mark.parametrize(
    ("confidence", "since"),
    [
        ([0.1, 0.64, 0.66, 0.72, 0.75, 0.8], 3),
        ([0.1, 0.8, 0.66, 0.72, 0.75, 0.8], 3),
        ([0.1, 0.64, 0.66, 0.67, 0.75, 0.8], None),  # for two epochs
        ([0.1, 0.64, 0.66, 0.72, 0.75, 0.66], None),  # no longer
        ([0.1, 0.5, 0.5, 0.5, 0.5, 0.5], None),  # too modest
        ([0.1, 0.72, 0.75, 0.8, math.nan, 0.8], 1),  # an epoch without predictions says nothing
    ],
)
def test_surer_than_right(confidence: list[float], since: int | None) -> None:
    by_kind = found([even()] * EPOCHS, confidence)
    assert set(by_kind) == (set() if since is None else {"overconfident"})
    if since is not None:
        finding = by_kind["overconfident"]
        assert (finding.title, finding.epoch) == (f"Overconfident since epoch {since}", since)
        assert "80.0 %" in finding.sentence
        assert finding.test is not None
        assert finding.test.what in finding.refutes


def test_mse_learns_no_probabilities() -> None:
    assert found([even()] * EPOCHS, [0.9] * EPOCHS, RunConfig(lr=0.01, loss="mse")) == {}


def test_no_predictions_no_findings() -> None:
    """Of epochs whose logits were not finite."""
    assert found([even(), *[np.zeros((10, 10), int)] * 4], [0.1, *[math.nan] * 4]) == {}


def test_expected_counts_by_loops() -> None:
    counts = np.random.default_rng(0).integers(0, 200, (10, 10))
    fitted = expected(counts)
    for a in range(10):
        for b in set(range(10)) - {a}:
            others = set(range(10)) - {a, b}
            on_b = sum(counts[other, b] for other in others)
            everywhere = sum(counts[other, at] for other in others for at in range(10) if at != other)
            wrong = sum(counts[a, at] for at in range(10) if at != a)
            assert fitted[a, b] == pytest.approx(wrong * on_b / everywhere)
    assert (expected(np.diag([1000] * 10)) == 0).all()


def test_every_kind_has_words() -> None:
    assert set(ANSWER_KINDS) <= set(groups.WORDS)
