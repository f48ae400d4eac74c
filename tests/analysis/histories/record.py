"""Write the histories in this folder anew from the store in CNNVIZ_HOME: python tests/analysis/histories/record.py

One JSON file a run, five significant digits, metric by epoch. They are the study's grid 1a as it was trained: CIFAR-10,
LeNet, SGD, batches of 10, 20 epochs, and tanh with cross-entropy at 0.001 taken on to 40.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

from cnnviz.analysis.findings import metric_names
from cnnviz.store import reading

for run in reading.runs():
    config = run.config
    history = reading.history([run.id], metric_names(config))
    lines = {
        metric: {int(epoch): float(f"{value:.5g}") for epoch, value in zip(line.epoch, line.value, strict=True)}
        for metric, line in history.groupby("metric")
    }
    assert all(math.isfinite(value) for line in lines.values() for value in line.values()), run.name
    path = Path(__file__).parent / f"{config.activation}-{config.loss}-{config.lr:g}.json"
    rows = ",\n".join(f"{json.dumps(metric)}: {json.dumps(line)}" for metric, line in lines.items())
    path.write_text(f'{{"config": {json.dumps(asdict(config))},\n"lines": {{\n{rows}\n}}}}\n', encoding="utf-8")
