"""Runs for tests: made up, or recorded in the test's own store."""

from datetime import datetime
from typing import Any

import pandas as pd

from cnnviz.analysis import curves
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig, grid
from cnnviz.store import artifacts, changes, connection
from cnnviz.store.runs import Run, Segment


def run(name: str, parent: str = "", first_epoch: int = 0, starts: tuple[int, ...] = (), **settings: Any) -> Run:
    """Made up: in no store."""
    config = RunConfig(**settings)
    segments = tuple(Segment(start, 0.0, 1.0, "cpu", 1) for start in starts)
    return Run(
        id=name,
        name=name,
        status="FINISHED",
        config=config,
        epoch=3,
        device="cpu",
        created=datetime.now(),
        queued_at=0.0,
        segments=segments,
        parent=parent,
        first_epoch=first_epoch,
    )


def history(values: dict[str, list[float]], first_epoch: int = 0, seconds: float = 2.0) -> pd.DataFrame:
    """Of runs with these test losses; train losses are twice as large, accuracies a tenth."""
    factors = {"test_loss": 1.0, "train_loss": 2.0, "test_accuracy": 0.1, "train_accuracy": 0.1}
    rows = [
        (name, metric, epoch, value * factor)
        for name, line in values.items()
        for epoch, value in enumerate(line, first_epoch)
        for metric, factor in factors.items()
    ]
    rows += [
        (name, "epoch_seconds", epoch, seconds if epoch > first_epoch else 0.0)
        for name, line in values.items()
        for epoch in range(first_epoch, first_epoch + len(line))
    ]
    return pd.DataFrame(rows, columns=["run_id", "metric", "epoch", "value"])


def lines(values: dict[str, list[float]], runs: list[Run] | None = None, **how: Any) -> pd.DataFrame:
    runs = runs or [run(name) for name in values]
    return curves.lines(history(values), runs, {each.id: each for each in runs}, **how)


def seed(*lines: list[float], status: str = "FINISHED", name: str = "") -> list[str]:
    """Ids of recorded runs, one for each line of figures by epoch."""
    configs = grid(RunConfig(dataset="synthetic", epochs=5), lr=[0.1 / 10**index for index in range(len(lines))])
    run_ids = changes.schedule(configs, "cpu")
    for run_id, config, line in zip(run_ids, configs, lines, strict=True):
        changes.start(run_id)
        for epoch, value in enumerate(line):
            metrics = {f"{split}_{metric}": value for split in ("train", "test") for metric in ("loss", "accuracy")}
            artifacts.save_checkpoint(run_id, epoch, initial_weights(architecture(config.model), epoch), {})
            changes.record(run_id, epoch, metrics, [Segment(0, 0.0, 60.0, "cpu", 1)])
        changes.finish(run_id, status)
        if name:
            connection.client().set_tag(run_id, "mlflow.runName", name)
    return run_ids


def recorded(model: str = "lenet5x5", epochs: int = 3, gain: float = 2.0, **settings: Any) -> str:
    """The id of a run with random weights, as the address gives it."""
    config = RunConfig(model=model, dataset="synthetic", epochs=epochs, **settings)
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    for epoch in range(epochs):
        weights = {name: gain * weight for name, weight in initial_weights(architecture(model), epoch).items()}
        artifacts.save_checkpoint(run_id, epoch, weights, {})
        changes.record(run_id, epoch, {"test_accuracy": 0.1}, [Segment(0, 0.0, 60.0, "cpu", 1)])
    changes.finish(run_id, "FINISHED")
    return run_id[:8]


def record(run_id: str, epoch: int, accuracy: float = 0.5, loss: float = 1.0) -> None:
    """One epoch of a run that is in the store."""
    segment = Segment(0, 1000.0, 2.5 * epoch, "cpu", 1, 6)
    changes.record(run_id, epoch, {"test_accuracy": accuracy, "test_loss": loss}, [segment])


def trained(config: RunConfig, epochs: int = 3) -> str:
    """The id of a finished run with a checkpoint of every epoch."""
    (run_id,) = changes.schedule([config], "cpu")
    changes.start(run_id)
    for epoch in range(epochs + 1):
        artifacts.save_checkpoint(run_id, epoch, initial_weights(config.architecture, epoch), {})
        record(run_id, epoch, 0.1 * epoch, 2.0 - 0.1 * epoch)
    changes.finish(run_id, "FINISHED")
    return run_id
