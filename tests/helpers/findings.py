"""Histories to find something in: recorded ones of the study, and lines drawn for a test."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cnnviz.analysis.findings import EXCLUSIVE, KINDS, Finding, diagnose
from cnnviz.config import RunConfig

FOLDER = Path(__file__).parents[1] / "analysis" / "histories"
HISTORIES = sorted((FOLDER).glob("*.json"))
BASE = RunConfig(lr=0.01)
LOG10 = math.log(10)
Line = Sequence[float] | np.ndarray
LEVER = re.compile(
    r"\blr \d|learning rate|lower rate|higher rate|more epoch|weight decay|seed \d|training pictures\.|twice"
)


def frame(lines: Mapping[str, Mapping[int, float]]) -> pd.DataFrame:
    rows = [("r", metric, int(epoch), value) for metric, line in lines.items() for epoch, value in line.items()]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])


def recorded(name: str, epochs: int = 10_000) -> tuple[RunConfig, pd.DataFrame]:
    """A run of the study as it was recorded, or as it stood after so many epochs."""
    text = json.loads((FOLDER / f"{name}.json").read_text())
    history = frame(text["lines"])
    history = history[history.epoch <= epochs]
    stopped = history.metric.str.endswith("_exact") & (history.epoch > 0) & (history.epoch < history.epoch.max())
    return RunConfig(**text["config"]), history[~stopped]


def drawn(**lines: Line) -> pd.DataFrame:
    """Lines from epoch 0 on; double underscores stand for the slash before a layer."""
    return frame({name.replace("__", "/"): dict(enumerate(map(float, line))) for name, line in lines.items()})


def found(config: RunConfig, history: pd.DataFrame) -> dict[str, Finding]:
    findings = diagnose(config, history)
    by_kind = {finding.kind: finding for finding in findings}
    assert len(by_kind) == len(findings)
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities)  # "alarm" before "note"
    agree(config, findings)
    for finding in findings:
        assert finding.kind in KINDS
        assert finding.title
        assert finding.refutes.endswith(".")
        assert any(letter.isdigit() for letter in finding.sentence)
        assert not {"nan", "inf"} & set(re.findall(r"\w+", finding.sentence + finding.refutes + finding.title))
        assert all(math.isfinite(value) for value in finding.evidence.values())
        if finding.epoch is not None:
            assert history.epoch.min() <= finding.epoch <= history.epoch.max()
        if finding.test is not None:
            assert bool(finding.test.changes) != bool(finding.test.epochs)
            changed = finding.test.config(config)
            assert (changed == config) == bool(finding.test.epochs)
            is_fork = history.epoch.min() > 0
            assert finding.test.what.endswith(" from epoch 0") == (is_fork and not finding.test.epochs)
        assert finding.test is not None or not finding.more
        tried = [finding.test, *finding.more] if finding.test else []
        assert len({(tuple(trial.changes.items()), trial.epochs) for trial in tried}) == len(tried)
        assert all(trial.epochs or trial.config(config) != config for trial in finding.more)
    return by_kind


def agree(config: RunConfig, findings: Sequence[Finding]) -> None:
    """No two findings contradict each other, and none its button."""
    kinds = [finding.kind for finding in findings]
    assert kinds == ["diverged"] or "diverged" not in kinds
    for group in EXCLUSIVE:
        assert len(set(kinds) & set(group)) <= 1, kinds
    trials = [finding.test for finding in findings if finding.test is not None]
    rates = {trial.changes["lr"] > config.lr for trial in trials if "lr" in trial.changes}
    assert len(rates) <= 1, f"longer steps and shorter ones: {kinds}"
    for finding in findings:
        if finding.test is not None:
            what = finding.test.what
            assert what in finding.refutes
            assert not LEVER.search(finding.refutes.replace(what, "")), finding.refutes


def alarms(config: RunConfig, history: pd.DataFrame) -> set[str]:
    return {kind for kind, finding in found(config, history).items() if finding.severity == "alarm"}


def falling(epochs: int, start: float = LOG10, end: float = 1.0, speed: float = 4.0) -> np.ndarray:
    """A loss from epoch 0 on that comes down to its end and stays there."""
    return end + (start - end) * np.exp(-np.arange(epochs + 1) / speed)


def noise(epochs: int, deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, epochs + 1)


def accuracy_of(loss: np.ndarray) -> np.ndarray:
    return np.clip(1 - 0.9 * loss / LOG10, 0.1, 1)


def overfit(epochs: int, onset: int, rise: float = 0.3, deviation: float = 0.01) -> pd.DataFrame:
    test = falling(epochs, end=1.1, speed=onset / 4) + noise(epochs, deviation)
    test += rise * np.clip((np.arange(epochs + 1) - onset) / (epochs - onset), 0, 1)
    train = np.linspace(LOG10, 0.4, epochs + 1)
    return drawn(train_loss=train, test_loss=test, test_accuracy=accuracy_of(np.minimum(test, 1.1)))


def forked(history: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """The same lines in a run that begins at that epoch."""
    return history.assign(epoch=history.epoch + epoch)
