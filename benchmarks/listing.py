"""How long a look at the list of runs takes: python -m benchmarks.listing

200 runs of 40 epochs in a fresh store. Medians of 10 calls of reading.runs(), in ms: all of them read (as every look
did before cnnviz kept what it had read), none of them changed, one of them changed. On 2 cores of an AMD EPYC, beside
other work: 671, 194 and 137; what is left is MLflow's own search.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable


def median(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(10):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def main(count: int = 200, epochs: int = 40) -> None:
    from mlflow.entities import Metric

    from cnnviz.config import RunConfig
    from cnnviz.store import changes, connection, reading

    run_ids = changes.schedule([RunConfig(seed=seed, epochs=10_000) for seed in range(count)], "cpu")
    names = [f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")] + ["epoch_seconds"]
    for run_id in run_ids:
        points = [Metric(name, epoch / 100, 1, epoch) for epoch in range(epochs + 1) for name in names]
        connection.client().log_batch(run_id, metrics=points)
    steps = iter(range(epochs + 1, 10**6))

    def forget_all() -> None:
        for run_id in run_ids:
            reading.forget(run_id)

    def one_epoch() -> None:
        step = next(steps)
        changes.record(run_ids[0], step, dict.fromkeys(names, step / 100), [])

    everything, nothing, one = median(reading.runs, forget_all), median(reading.runs), median(reading.runs, one_epoch)
    print(
        f"{count} runs x {epochs} epochs: all read {everything:.0f} ms, none changed {nothing:.0f} ms, one {one:.0f} ms"
    )
    print(f"ratios: {everything / nothing:.1f} and {everything / one:.1f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["CNNVIZ_HOME"] = home
        main()
