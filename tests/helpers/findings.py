"""Histories to find something in: recorded ones of the study, and lines drawn for a test."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cnnviz.analysis.findings import KINDS, Finding, diagnose
from cnnviz.config import RunConfig

FOLDER = Path(__file__).parents[1] / "analysis" / "histories"
HISTORIES = sorted((FOLDER).glob("*.json"))
BASE = RunConfig(lr=0.01)
LOG10 = math.log(10)
Line = Sequence[float] | np.ndarray


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
    for finding in findings:
        assert finding.kind in KINDS
        assert finding.title
        assert finding.refutes.endswith(".")
        assert any(letter.isdigit() for letter in finding.sentence)
        assert not {"nan", "inf"} & set(finding.sentence.replace("(", " ").split())
        if finding.epoch is not None:
            assert history.epoch.min() <= finding.epoch <= history.epoch.max()
        if finding.test is not None:
            assert bool(finding.test.changes) != bool(finding.test.epochs)
            changed = finding.test.config(config)
            assert (changed == config) == bool(finding.test.epochs)
    return by_kind


def alarms(config: RunConfig, history: pd.DataFrame) -> set[str]:
    return {kind for kind, finding in found(config, history).items() if finding.severity == "alarm"}


def falling(epochs: int, start: float = LOG10, end: float = 1.0, speed: float = 4.0) -> np.ndarray:
    """A loss from epoch 0 on that comes down to its end and stays there."""
    return end + (start - end) * np.exp(-np.arange(epochs + 1) / speed)


def noise(epochs: int, deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, epochs + 1)


def accuracy_of(loss: np.ndarray) -> np.ndarray:
    return np.clip(1 - 0.9 * loss / LOG10, 0.1, 1)
