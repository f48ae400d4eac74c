"""How often findings on a network's answers are wrong, and how often they find what is there.

    python -m benchmarks.answers [--lines 1000]

Networks are drawn: each class's accuracy within 15 points of the network's, which is 30 to 80 %; a mistake falls on
another class by that class's pull, 0.5 to 2, so that nothing but their frequency tells pairs apart, unless a kind says
more; of 1,000 pictures of each class, as the test sets have them. Over 10 epochs accuracy is measured anew on each, and
confidence is what the kind says. Prints Markdown: of how many percent of the networks something was said that is not
so, and of how many what is so. The networks are the same at every call.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cnnviz.analysis.answers import Answers, always_one_class, confuses, overconfident
from cnnviz.analysis.evidence import Finding, RunLines
from cnnviz.config import RunConfig
from cnnviz.data import CLASSES

EPOCHS = 10
PICTURES = 1000  # of each class


@dataclass(frozen=True)
class Kind:
    """Networks of one kind, and the finding that counts."""

    name: str
    finds: Callable[[RunLines, Answers], Finding | None]
    spread: float = 0.0  # of the pull of each pair of classes, as the standard deviation of its logarithm
    pair: float = 1.0  # times as many mistakes between one pair of classes as without
    sure: float = 0.0  # by how much its confidence exceeds the accuracy that it has on pictures without number
    says: float = 0.0  # share of the answers that are one class whatever the picture


WRONG = (
    Kind("mistakes that follow their frequency", confuses),
    Kind("pairs' pull differs by 20 %", confuses, spread=0.2),
    Kind("as sure as right", overconfident),
    Kind("2.5 points too sure", overconfident, sure=0.025),
    Kind("one class for 97 % of the pictures", always_one_class, says=0.97),
)
RIGHT = (
    Kind("one pair confused 4 times as often", confuses, pair=4),
    Kind("one pair confused 6 times as often", confuses, pair=6),
    Kind("8 points too sure", overconfident, sure=0.08),
    Kind("15 points too sure", overconfident, sure=0.15),
    Kind("one class for 99.8 % of the pictures", always_one_class, says=0.998),
)


def answers(kind: Kind, generator: np.random.Generator) -> Answers:
    many = len(CLASSES)
    accuracy = generator.uniform(0.3, 0.8)
    right = np.clip(accuracy + generator.uniform(-0.15, 0.15, many), 0.05, 0.95)
    pull = np.tile(generator.uniform(0.5, 2, many), (many, 1))
    between = np.triu(generator.normal(scale=kind.spread, size=(many, many)), 1)
    pull *= np.exp(between + between.T)
    a, b = generator.choice(many, 2, replace=False)
    pull[[a, b], [b, a]] *= kind.pair
    np.fill_diagonal(pull, 0)
    shares = (1 - right)[:, None] * pull / pull.sum(1, keepdims=True) + np.diag(right)
    shares *= 1 - kind.says
    shares[:, a] += kind.says
    confusions = np.stack([generator.multinomial(PICTURES, shares) for _ in range(EPOCHS)])
    truly = float(np.trace(shares)) / many
    confidence = np.full(EPOCHS, min(truly + kind.sure, 1.0))
    return Answers(CLASSES, range(1, EPOCHS + 1), confusions, confidence, np.full(EPOCHS, kind.sure))


def said(kind: Kind, lines: int) -> float:
    """The share of such networks of which the finding is said."""
    generator = np.random.default_rng(PICTURES)
    run = RunLines(RunConfig(), pd.DataFrame({"metric": "test_loss", "epoch": range(EPOCHS + 1), "value": 1.0}))
    return sum(kind.finds(run, answers(kind, generator)) is not None for _ in range(lines)) / lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    chosen = parser.parse_args()
    for title, kinds in (("wrong", WRONG), ("right", RIGHT)):
        print(f"\n% of {chosen.lines:,} networks of which something is said that is {title}\n")
        print("| what is drawn | % |\n|---|---|")
        for kind in kinds:
            print(f"| {kind.name} | {100 * said(kind, chosen.lines):.1f} |", flush=True)


if __name__ == "__main__":
    main()
