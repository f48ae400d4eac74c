"""How often findings are wrong, and how often they find what is there: python -m benchmarks.findings [--lines 1000]

Runs are drawn: a train and a test loss by epoch, each times normal noise of so many percent whose neighbouring epochs
correlate by rho (a stationary AR(1) process). Prints Markdown: of how many percent of the runs something was said that
is not so, and of how many what is so. The runs are the same at every call. --only takes a part of a kind's name.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from cnnviz.analysis.findings import diagnose
from cnnviz.config import RunConfig

EPOCHS = (10, 15, 20, 40, 100)
CORRELATIONS = (0.0, 0.3, 0.5, 0.8)
NOISE = (0.005, 0.05)  # as many runs with that of 0.5 to 1 % as with that of 2.5 to 5 %
GUESSING = math.log(10)
CONFIG = RunConfig(lr=0.01)
FALLS = frozenset({"still_improving", "lr_too_low"})
RISES = frozenset({"overfitting", "maybe_overfitting"})
SETTLED = frozenset({"converged", "underfitting"})
TOO_HIGH = frozenset({"lr_too_high", "diverged", "slow_start", "chance_level"})

Shape = Callable[[np.ndarray], np.ndarray]  # epochs as shares of the run, from 0 to 1 → loss


@dataclass(frozen=True)
class Kind:
    """Runs of one kind: their losses but for the noise, and the kinds of finding that count."""

    name: str
    train: Shape
    test: Shape
    counted: frozenset[str]
    update: float = 0.002  # of a layer's weights a step
    jitter: float = 0.0  # noise of the train loss; 0: that of the test loss
    train_accuracy: float = 0.9
    noise: tuple[float, float] = NOISE  # least and most


def level(value: float) -> Shape:
    return lambda share: np.full_like(share, value)


def arriving(end: float, speed: float = 12.0) -> Shape:
    """Down from guessing; at speed 12, to within 1 % by the middle, and level from there on."""
    return lambda share: end + (GUESSING - end) * np.exp(-speed * share)


def straight(end: float) -> Shape:
    return lambda share: GUESSING + (end - GUESSING) * share


def turning(rise: float, epochs: int, onset: float) -> Shape:
    """Down to 1.1 as arriving does, and from the onset on up by so much of it an epoch."""
    return lambda share: arriving(1.1)(share) + 1.1 * rise * epochs * np.clip(share - onset, 0, None)


# What is said of these is wrong.
CLEAN = (
    Kind("level test loss, falling train loss", straight(0.5), level(1.1), RISES | FALLS | SETTLED | TOO_HIGH),
    Kind("test loss arrived, falling train loss", straight(0.5), arriving(1.1), RISES | FALLS | SETTLED | TOO_HIGH),
    Kind("both losses arrived", arriving(1.0), arriving(1.1), RISES | FALLS | TOO_HIGH),
    Kind("train loss 0.001 ± 15 %", level(0.001), arriving(1.1), RISES | FALLS | TOO_HIGH, 0.012, 0.15, 0.999),
    Kind("falling to the end", straight(0.9), straight(1.0), RISES | SETTLED | TOO_HIGH, train_accuracy=0.5),
    Kind("falling, more and more slowly", arriving(0.9, 3), arriving(1.0, 3), RISES | SETTLED | TOO_HIGH),
    Kind("falling to the end by long steps", straight(0.9), straight(1.0), RISES | SETTLED | TOO_HIGH, 0.03, 0, 0.5),
)


def there(epochs: int) -> tuple[Kind, ...]:
    """What is said of these is so."""
    return (
        Kind(
            "rises by 1.2 % an epoch, noise 2 %",
            straight(0.5),
            turning(0.012, epochs, 1 / 3),
            RISES,
            noise=(0.02,) * 2,
        ),
        Kind(
            "rises by 1.2 % an epoch, noise 1 %",
            straight(0.5),
            turning(0.012, epochs, 1 / 3),
            RISES,
            noise=(0.01,) * 2,
        ),
        Kind("rises by 3 % an epoch, noise 2 %", straight(0.5), turning(0.03, epochs, 1 / 2), RISES, noise=(0.02,) * 2),
        Kind("falling to the end, noise 2 %", straight(0.9), straight(1.0), FALLS, noise=(0.02,) * 2),
        Kind("falling more and more slowly, noise 1 %", arriving(0.9, 3), arriving(1.0, 3), FALLS, noise=(0.01,) * 2),
        Kind("both losses arrived, noise 1 %", arriving(1.0), arriving(1.1), SETTLED, noise=(0.01,) * 2),
        Kind(
            "arrived at 35 % of the training pictures, noise 1 %",
            arriving(1.8),
            arriving(1.85),
            frozenset({"underfitting"}),
            train_accuracy=0.35,
            noise=(0.01,) * 2,
        ),
        Kind(
            "stalled under long steps, noise 1 %",
            arriving(1.2),
            arriving(1.4),
            frozenset({"lr_too_high"}),
            update=0.03,
            train_accuracy=0.55,
            noise=(0.01,) * 2,
        ),
    )


def correlated(generator: np.random.Generator, epochs: int, rho: float) -> np.ndarray:
    """Stationary AR(1) noise of standard deviation 1."""
    shocks = generator.normal(size=epochs)
    shocks[1:] *= math.sqrt(1 - rho**2)
    noise: np.ndarray = lfilter([1.0], [1.0, -rho], shocks)
    return noise


def runs(kind: Kind, epochs: int, rho: float, lines: int) -> Iterator[pd.DataFrame]:
    """Histories of runs of this kind, which begin at epoch 0 with the loss of guessing."""
    generator = np.random.default_rng([epochs, round(100 * rho)])
    share = np.arange(1, epochs + 1) / epochs
    metrics = ["test_loss", "train_loss", "test_accuracy", "train_accuracy", "update_ratio/fc7"]
    table = pd.DataFrame({"metric": np.repeat(metrics, epochs + 1), "epoch": np.tile(np.arange(epochs + 1), 5)})
    for _ in range(lines):
        noise = math.exp(generator.uniform(*np.log(kind.noise)))
        test = kind.test(share) * (1 + noise * correlated(generator, epochs, rho))
        train = kind.train(share) * (1 + (kind.jitter or noise) * correlated(generator, epochs, rho))
        right = np.clip(1 - 0.9 * test / GUESSING, 0.2, 1)
        constant = [0.1, *[kind.train_accuracy] * epochs, 0.0, *[kind.update] * epochs]
        yield table.assign(value=np.concatenate([[GUESSING], test, [GUESSING], train, [0.1], right, constant]))


def said(kind: Kind, epochs: int, rho: float, lines: int) -> tuple[float, float]:
    """The shares of such runs with an alarm and with a note of the kinds that count."""
    found = [
        {finding.severity for finding in diagnose(CONFIG, each) if finding.kind in kind.counted}
        for each in runs(kind, epochs, rho, lines)
    ]
    return sum("alarm" in each for each in found) / lines, sum("note" in each for each in found) / lines


def row(name: str, rho: float, shares: list[tuple[float, float]]) -> str:
    return (
        f"| {name} | {rho:g} | " + " | ".join(f"{100 * alarm:.1f} / {100 * note:.1f}" for alarm, note in shares) + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    head = (
        "| rho | " + " | ".join(f"{epochs} epochs" for epochs in EPOCHS) + " |\n|---" + "|---" * (1 + len(EPOCHS)) + "|"
    )
    began = time.perf_counter()
    print(f"% of {chosen.lines:,} runs with an alarm / with a note that is wrong; noise of 0.5 to 5 %\n")
    print(f"| what is drawn {head}")
    for kind in CLEAN:
        for rho in CORRELATIONS if chosen.only in kind.name else ():
            print(row(kind.name, rho, [said(kind, epochs, rho, chosen.lines) for epochs in EPOCHS]), flush=True)
    print(f"\n% of {chosen.lines:,} runs with an alarm / with a note that is right\n")
    print(f"| what is drawn {head}")
    for kinds in zip(*(there(epochs) for epochs in EPOCHS), strict=True):
        for rho in CORRELATIONS[:2] if chosen.only in kinds[0].name else ():
            each = zip(kinds, EPOCHS, strict=True)
            print(row(kinds[0].name, rho, [said(kind, n, rho, chosen.lines) for kind, n in each]), flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
