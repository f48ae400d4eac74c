"""The thresholds of analysis/trends.py, found again by simulation: python -m benchmarks.trends [--lines 2000]

Lines of each number of epochs that there is a threshold for, with noise whose neighbouring epochs correlate by rho (a
stationary AR(1) process); the same at every call. Of level lines, at the rho that suits them best: how many pass PROVEN
and LIKELY, what 1.2 and 2.7 % of them pass, and how many fall by FALLING or FALLING_ALONE. Of lines that rise over the
latter half under white noise: how many are proven if the slope is PROVABLE. Prints Markdown.
"""

import argparse

import numpy as np
import pandas as pd

from benchmarks.findings import correlated
from cnnviz.analysis import trends

CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.8)
PROVEN, LIKELY = 0.012, 0.027  # shares of level lines
NOISE = 0.01  # of the line


def lines_of(epochs: int, rho: float, lines: int, rise: float = 0.0) -> list[pd.Series]:
    """Level, or over the latter half up by so much of the noise an epoch."""
    generator = np.random.default_rng([epochs, round(100 * rho)])
    trend = rise * np.clip(np.arange(epochs) - (epochs - 1 - round(epochs / 2)), 0, None)
    index = range(1, epochs + 1)
    return [pd.Series(1 + NOISE * (correlated(generator, epochs, rho) + trend), index) for _ in range(lines)]


def row(epochs: int, lines: int) -> list[str]:
    levels = [lines_of(epochs, rho, lines) for rho in CORRELATIONS]
    ratios = np.array([[trends.turn(line).ratio for line in some] for some in levels])
    falling = max(sum(map(trends.falls, some)) for some in levels) / lines
    place = trends.EPOCHS.index(epochs)
    rising = lines_of(epochs, 0.0, lines, float(trends.PROVABLE[place]))
    return [
        str(epochs),
        *(
            f"{table[place]:g}: {100 * (ratios > table[place]).mean(1).max():.1f} % / "
            f"{np.quantile(ratios, 1 - share, axis=1).max():.1f}"
            for table, share in ((trends.PROVEN, PROVEN), (trends.LIKELY, LIKELY))
        ),
        f"{100 * falling:.1f}",
        f"{100 * sum(trends.turn(line).proven for line in rising) / lines:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    chosen = parser.parse_args()
    print("| epochs | PROVEN: passed by / found | LIKELY: passed by / found | % falling | % proven at PROVABLE |")
    print("|---|---|---|---|---|")
    for epochs in trends.EPOCHS:
        print(f"| {' | '.join(row(epochs, chosen.lines))} |", flush=True)


if __name__ == "__main__":
    main()
