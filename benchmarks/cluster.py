"""A Ray cluster beside this machine's own processes: python -m benchmarks.cluster overhead|writer|many

overhead: the study's grid by processes, and by tasks of a cluster whose one node has as many cores, in alternation.
writer: how many epochs a second one worker records. many: 300 runs over four simulated nodes. Each in a store of its
own; prints Markdown. CNNVIZ_DATA names the folder of CIFAR-10; without it synthetic pictures are trained on.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cnnviz import data, paths
from cnnviz.architectures import initial_weights
from cnnviz.config import RunConfig, grid
from cnnviz.store import artifacts, changes, reading
from cnnviz.store.runs import Segment
from cnnviz.train import planning

WORKER = """
import sys

from cnnviz.__main__ import main
from cnnviz.train import planning

cores = int(sys.argv[2])
planning.cores = lambda: cores
sys.argv[1:] = ["work", "--device", sys.argv[1]]
main()
"""
OPTIONS = {"include_dashboard": False, "object_store_memory": 400_000_000}
LOSSES, ACTIVATIONS, RATES = ["mse", "cross_entropy"], ["sigmoid", "tanh"], [0.1, 0.01, 0.001]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "writer", "many"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--cores", type=int, default=planning.cores(), help="that train, of this machine or its node")
    options = parser.parse_args()
    {"overhead": overhead, "writer": writer, "many": many}[options.what](options)


@contextlib.contextmanager
def cluster(nodes: int, cores: int) -> Iterator[None]:
    """So many nodes of so many cores, on this machine, and CNNVIZ_RAY set to them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **OPTIONS})
    for _ in range(nodes):
        made.add_node(num_cpus=cores, **OPTIONS)
    os.environ["CNNVIZ_RAY"] = made.address
    try:
        yield
    finally:
        del os.environ["CNNVIZ_RAY"]
        made.shutdown()


@contextlib.contextmanager
def store() -> Iterator[None]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["CNNVIZ_HOME"] = folder
        yield


def base(options: argparse.Namespace) -> RunConfig:
    name = "cifar10" if data.available("cifar10") else "synthetic"
    return RunConfig(dataset=name, limit_train=options.pictures, epochs=options.epochs)


def trained(configs: Sequence[RunConfig], device: str, cores: int) -> tuple[float, float, float]:
    """Seconds from the start of the worker to the first run's first point and to the end, and of a stack's epoch."""
    run_ids = changes.schedule(configs, device)
    began = time.monotonic()
    worker = subprocess.Popen([sys.executable, "-c", WORKER, device, str(cores)], cwd=paths.PROJECT)
    first = None
    while worker.poll() is None:
        if first is None and reading.run(run_ids[0]).epoch >= 0:
            first = time.monotonic() - began
        time.sleep(0.25)  # what is asked of the store here is missing there
    took = time.monotonic() - began
    if {reading.run(run_id).status for run_id in run_ids} != {"FINISHED"}:
        raise SystemExit([reading.run(run_id).message for run_id in run_ids])
    assert first is not None
    return first, took, statistics.median(reading.history(run_ids, ["epoch_seconds"]).query("epoch > 0").value)


def overhead(options: argparse.Namespace) -> None:
    configs = grid(base(options), activation=ACTIVATIONS, loss=LOSSES, lr=RATES)
    found: dict[str, list[tuple[float, float, float]]] = {"cpu": [], "cluster": []}
    with cluster(1, options.cores):
        for _ in range(options.rounds):
            for device, times in found.items():
                with store():
                    times.append(trained(configs, device, options.cores))
                    print(f"{device}: {times[-1]}", file=sys.stderr)
    print("| | first point | whole grid | a stack's epoch |\n|---|---|---|---|")
    medians = {
        device: [statistics.median(each) for each in zip(*times, strict=True)] for device, times in found.items()
    }
    for device, (first, took, epoch) in medians.items():
        print(f"| {device} | {first:.1f} s | {took:.1f} s | {epoch:.2f} s |")
    ratios = [there / here for here, there in zip(medians["cpu"], medians["cluster"], strict=True)]
    print(f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} | {ratios[2]:.2f} |")


def writer(options: argparse.Namespace) -> None:
    """What the worker does with an EpochResult, without the training."""
    config = RunConfig(dataset="synthetic", epochs=1000)
    names = ["test_loss", "test_accuracy", "train_loss", "train_accuracy", "epoch_seconds", "images_per_second"]
    names += [f"{kind}/{layer}" for kind in ("grad_norm", "update_ratio") for layer in ("c1", "c3", "f5", "f6", "out")]
    weights = initial_weights(config.architecture, 0, config.init)
    with store():
        run_ids = changes.schedule([replace(config, lr=0.001 * (1 + at)) for at in range(12)], "cpu")
        for run_id in run_ids:
            changes.start(run_id, "", None)
        segments = [Segment(0, time.time(), 0.0, "cpu", 1, 12, 0.0)]
        began, busy, spent = time.monotonic(), time.process_time(), {"checkpoint": 0.0, "metrics": 0.0}
        for epoch in range(options.epochs * 10):
            for run_id in run_ids:
                at = time.monotonic()
                artifacts.save_checkpoint(run_id, epoch, weights, {})
                spent["checkpoint"] += time.monotonic() - at
                at = time.monotonic()
                changes.record(run_id, epoch, dict.fromkeys(names, 0.5), segments)
                spent["metrics"] += time.monotonic() - at
                artifacts.thin_checkpoints(run_id, epoch)
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        epochs = options.epochs * 10 * len(run_ids)
    shares = ", ".join(f"{each} {1000 * part / epochs:.1f} ms" for each, part in spent.items())
    shares += f"; {1000 * busy / epochs:.1f} ms of a core"
    print(f"{epochs / seconds:.0f} epochs a second are recorded ({shares} an epoch)")


def many(options: argparse.Namespace) -> None:
    configs = grid(base(options), lr=[0.001 * (1 + at) for at in range(30)], seed=list(range(10)))
    with cluster(4, 1), store():
        first, took, epoch = trained(configs, "cluster", 1)
        recorded = len(configs) * (options.epochs + 1)
        print(f"{len(configs)} runs of {options.epochs} epochs: first point {first:.1f} s, all {took:.0f} s, ", end="")
        print(f"{recorded / took:.1f} epochs recorded a second, a stack's epoch {epoch:.2f} s")


if __name__ == "__main__":
    main()
