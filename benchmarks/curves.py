"""Server time of the Curves page: 200 runs of 40 epochs in the store, its first chart, and one run more.

python -m benchmarks.curves [--runs 200] [--epochs 40]
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mlflow.entities import Metric

from cnnviz import paths
from cnnviz.analysis import curves
from cnnviz.architectures import ACTIVATIONS
from cnnviz.config import RunConfig, grid
from cnnviz.render import curve_charts
from cnnviz.render.curve_charts import View
from cnnviz.store import changes, connection, reading
from cnnviz.store.runs import Run, Segment

LAYERS = ("c1", "c3", "fc5", "fc6", "fc7")


def fill(runs: int, epochs: int) -> list[str]:
    """A store with that many finished runs: every metric a real one has, no checkpoints."""
    rates = [0.1 / 2**index for index in range(math.ceil(runs / (2 * len(ACTIVATIONS))))]
    configs = grid(RunConfig(epochs=epochs), activation=ACTIVATIONS, loss=["mse", "cross_entropy"], lr=rates)[:runs]
    run_ids = changes.schedule(configs, "cpu")
    for index, run_id in enumerate(run_ids):
        client, now = connection.client(), int(time.time() * 1000)
        rows = [
            Metric(name, 0.1 + 0.6 * math.exp(-epoch / (5 + index % 7)) + 0.01 * math.sin(epoch + index), now, epoch)
            for epoch in range(epochs + 1)
            for name in names()
        ]
        for start in range(0, len(rows), 1000):  # MLflow takes so many at once
            client.log_batch(run_id, metrics=rows[start : start + 1000])
        changes.record(run_id, epochs, {}, [Segment(0, 0.0, 60.0, "cpu", 1)])
        changes.finish(run_id, "FINISHED")
        print(f"\r{index + 1} runs", end="", file=sys.stderr)
    print(file=sys.stderr)
    return run_ids


def names() -> list[str]:
    plain = [f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")]
    by_layer = [f"{kind}/{layer}" for kind in ("grad_norm", "update_ratio", "saturation") for layer in LAYERS]
    return [*plain, "epoch_seconds", "images_per_second", *by_layer]


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = what()
    return time.perf_counter() - began, result


def chart(found: Sequence[Run], chosen: Sequence[Run]) -> list[dict[str, Any]]:
    """What a notebook does to draw these runs, up to the JSON."""
    history = reading.history([run.id for run in chosen], curves.metrics("Loss"))
    frame = curves.lines(history, chosen, {run.id: run for run in found})
    view = View(facets=("activation", "loss"))
    return [panel.drawing.apart() for panel in curve_charts.panels(frame, view, curve_charts.hues(frame.lr))]


def page(address: Sequence[str]) -> Any:
    from streamlit.testing.v1 import AppTest

    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=120).run()
    opened.query_params["runs"] = list(address)
    opened.session_state["curves_runs"] = True  # the list of runs is open
    seconds, opened = timed(lambda: opened.switch_page("pages/curves.py").run())
    if opened.exception or opened.error:
        raise SystemExit(f"the page failed: {[each.value for each in opened.exception or opened.error]}")
    return seconds, opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CNNVIZ_HOME"] = home
        run_ids = fill(options.runs, options.epochs)
        rows: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            seconds, found = timed(reading.runs)
            rows.setdefault("list of all runs", []).append(seconds)
            for count in (12, options.runs):
                seconds, _ = timed(partial(chart, found, found[:count]))
                rows.setdefault(f"chart of {count} runs, core", []).append(seconds)
        for count in (12, options.runs - 1):
            keys = [run_id[:8] for run_id in run_ids[:count]]
            seconds, opened = page(keys)
            rows.setdefault(f"page's first chart, {count} runs", []).append(seconds)
            more = [*keys, run_ids[count][:8]]
            adding, _ = timed(opened.multiselect(key="curve_runs").set_value(more).run)
            rows.setdefault(f"page, one run more than {count}", []).append(adding)
    print(f"\n{options.runs} runs × {options.epochs} epochs in the store\n\n| what | seconds (median) |\n|---|---|")
    for what, values in rows.items():
        print(f"| {what} | {statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()
