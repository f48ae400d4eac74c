"""Network-steps per second, of cnnviz and of the usual loops, on this machine in alternation.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.throughput --model lenet5x5 --runs 1,3,12 --rounds 3

cnnviz is measured from outside, as `python -m cnnviz train`: start, evaluation and tracking are in its figures. The
others are bare training loops, without either, on PyTorch's own number of threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import torch
from mlflow import MlflowClient
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnviz import data, paths
from cnnviz.analysis import costs
from cnnviz.architectures import architecture, build
from cnnviz.config import RunConfig

BATCH, RATE = 10, 0.01
GRIDS = {  # how many runs → what is asked of the command line
    1: ["--activation", "tanh", "--loss", "cross_entropy", "--lr", "0.01"],
    3: ["--activation", "tanh", "--loss", "cross_entropy", "--lr", "0.1,0.01,0.001"],
    12: ["--activation", "sigmoid,tanh", "--loss", "mse,cross_entropy", "--lr", "0.1,0.01,0.001"],
}
RULES: dict[str, tuple[Callable[..., torch.optim.Optimizer], list[str]]] = {  # and what is asked of the command line
    "sgd": (torch.optim.SGD, []),
    "momentum": (partial(torch.optim.SGD, momentum=0.9), ["--momentum", "0.9"]),
    "adam": (torch.optim.Adam, ["--optimizer", "adam"]),
}


# -- the usual loops: each trains for so many seconds and returns steps a second ----------------------


def lightning_loop(model: str, device: str, seconds: float, workers: int, rule: str = "sgd") -> float:
    """Lightning and a DataLoader, as a course's notebook has it."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(model)

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return RULES[rule][0](self.parameters(), RATE)

    class Clock(lightning.Callback):
        began, steps = 0.0, 0

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 100:
                self.began = time.perf_counter()
            if self.began and time.perf_counter() - self.began > seconds:
                self.steps, trainer.should_stop = trainer.global_step - 100, True
                if device == "cuda":
                    torch.cuda.synchronize()

    clock = Clock()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_epochs=100, callbacks=[clock], accelerator=device, devices=1, enable_model_summary=False, **quiet
    )
    trainer.fit(Module(), loader(workers))
    return clock.steps / (time.perf_counter() - clock.began)


def data_loader_loop(model: str, device: str, seconds: float, workers: int, rule: str = "sgd") -> float:
    """Plain PyTorch and a DataLoader."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from ((images.to(device), labels.to(device)) for images, labels in loader(workers))

    return plain_loop(model, device, seconds, batches(), rule)


def in_memory_loop(model: str, device: str, seconds: float, workers: int, rule: str = "sgd") -> float:
    """Plain PyTorch on tensors that lie on the device."""
    dataset = data.load("cifar10").to(device)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count(1):
            for rows in data.batch_order(0, epoch, len(dataset.train_labels)).to(device).split(BATCH):
                yield data.normalise(dataset.train_images[rows]), dataset.train_labels[rows]

    return plain_loop(model, device, seconds, batches(), rule)


LOOPS: dict[str, tuple[Callable[..., float], int]] = {
    "Lightning, DataLoader": (lightning_loop, 0),
    "Lightning, DataLoader, 2 workers": (lightning_loop, 2),
    "PyTorch, DataLoader": (data_loader_loop, 0),
    "PyTorch, tensors in memory": (in_memory_loop, 0),
}


def plain_loop(model: str, device: str, seconds: float, batches: Iterator[tuple[Tensor, Tensor]], rule: str) -> float:
    net = network(model).to(device)
    optimizer = RULES[rule][0](net.parameters(), RATE)
    began = 0.0
    for step in count(-20):
        if step == 0:
            began = time.perf_counter()
        images, labels = next(batches)
        loss = cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step > 0 and step % 10 == 0:
            if device == "cuda":
                torch.cuda.synchronize()
            if time.perf_counter() - began > seconds:
                return step / (time.perf_counter() - began)
    raise AssertionError


def network(model: str) -> nn.Module:
    arch = architecture(model)
    return build(arch, "relu" if model == "conv5" else "tanh", arch.pooling)


def loader(workers: int) -> Any:
    from torchvision.datasets import CIFAR10
    from torchvision.transforms import Compose, Normalize, ToTensor

    transform = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)])
    pictures = CIFAR10(paths.data_root(), train=True, transform=transform)
    return torch.utils.data.DataLoader(
        pictures, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


# -- cnnviz, from outside --------------------------------------------------------------------------


def cnnviz(model: str, device: str, runs: int, epochs: int, limit: int, rule: str = "sgd") -> dict[str, float]:
    """Train from the command line in a store of its own; what a watch beside the machine shows."""
    with tempfile.TemporaryDirectory() as home:
        choices = ["--activation", "relu", "--lr", "0.001"] if model == "conv5" else GRIDS[runs]
        command = [sys.executable, "-m", "cnnviz", "train", "--model", model, *choices, "--epochs", str(epochs)]
        command += ["--device", device, *RULES[rule][1], *(["--limit-train", str(limit)] if limit else [])]
        began, peak = time.time(), 0
        log = Path(home) / "benchmark.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                command, env={**os.environ, "CNNVIZ_HOME": home}, stdout=subprocess.DEVNULL, stderr=said
            )
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(1)
        wall = time.time() - began
        if process.returncode:
            raise SystemExit(log.read_text())
        client = MlflowClient(f"sqlite:///{Path(home) / 'mlflow.db'}")
        (experiment,) = (each for each in client.search_experiments() if each.name == "cnnviz")
        found = client.search_runs([experiment.experiment_id])
        points = [
            (each.step, each.timestamp / 1000)
            for run in found
            for each in client.get_metric_history(run.info.run_id, "test_loss")
        ]
    steps = runs * RunConfig(model=model, batch_size=BATCH, limit_train=limit).steps_per_epoch
    first, last = (max(at for step, at in points if step == epoch) for epoch in (1, epochs))
    return {
        "end to end": steps * epochs / wall,
        "after the first epoch": steps * (epochs - 1) / (last - first) if epochs > 1 else 0.0,
        "seconds to the first point": min(at for step, at in points if step == 0) - began,
        "seconds to the first epoch's point": min(at for step, at in points if step == 1) - began,
        "peak MB": peak / 1e6,
    }


def memory(pid: int) -> int:
    """Bytes of a process and its children, what they share counted once where the system tells."""
    total = 0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
        except psutil.Error:
            continue
    return total


# -- the machine -----------------------------------------------------------------------------------


def sgemm_peak(device: str) -> float:
    """FLOP/s of a large matrix product on all cores."""
    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))
    return 2 * 2048**3 / costs.shortest(lambda: float((a @ b)[0, 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lenet5x5")
    parser.add_argument("--runs", default="1,3,12", help="networks at once, of 1, 3, 12")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--limit-train", type=int, default=0, help="images an epoch, for slow networks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15, help="for each of the usual loops")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--optimizer", choices=list(RULES), default="sgd")
    parser.add_argument("--loop", choices=list(LOOPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        loop, workers = LOOPS[options.loop]
        print(json.dumps(loop(options.model, options.device, options.seconds, workers, options.optimizer)))
        return
    rates: dict[str, list[float]] = {name: [] for name in LOOPS}
    measured: dict[int, list[dict[str, float]]] = {int(runs): [] for runs in options.runs.split(",")}
    with tempfile.TemporaryDirectory() as cache:  # the first round compiles from nothing, the others from its cache
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for _ in range(options.rounds):
            for name in LOOPS:
                again = [sys.executable, "-m", "benchmarks.throughput", "--loop", name]
                again += ["--model", options.model, "--device", options.device, "--seconds", str(options.seconds)]
                again += ["--optimizer", options.optimizer]
                out = subprocess.run(again, capture_output=True, text=True, check=True).stdout
                rates[name].append(json.loads(out.splitlines()[-1]))
                print(f"{name}: {rates[name][-1]:.0f} steps/s", file=sys.stderr)
            for runs, each in measured.items():
                settings = options.epochs, options.limit_train, options.optimizer
                each.append(cnnviz(options.model, options.device, runs, *settings))
                print(runs, {name: round(value, 1) for name, value in each[-1].items()}, file=sys.stderr)
    report(options, rates, measured)


def report(
    options: argparse.Namespace, rates: dict[str, list[float]], measured: dict[int, list[dict[str, float]]]
) -> None:
    cores = torch.get_num_threads() if options.device == "cpu" else 1
    peaks = sgemm_peak(options.device), costs.peak_flops(cores, options.device)
    machine = torch.cuda.get_device_name() if options.device == "cuda" else f"{os.cpu_count()} CPU cores"
    print(f"\n{options.model}, {options.optimizer}, batch {BATCH}, {machine}, torch {torch.__version__}")
    print(f"matrix product {peaks[0] / 1e9:.0f} GFLOP/s, wide convolution {peaks[1] / 1e9:.0f} GFLOP/s\n")
    base = rates["Lightning, DataLoader"]
    print("| what | network-steps/s (median of rounds) | × Lightning | share of matrix product | of wide convolution |")
    print("|---|---|---|---|---|")
    rows = list(rates.items())
    for kind in ("end to end", "after the first epoch"):
        rows += [
            (f"cnnviz, {runs} at once, {kind}", [each[kind] for each in found]) for runs, found in measured.items()
        ]
    flops = costs.step_flops(architecture(options.model)) * BATCH
    for name, values in rows:
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        rate = statistics.median(values)
        shares = " | ".join(f"{rate * flops / peak:.0%}" for peak in peaks)
        print(f"| {name} | {rate:,.0f} | {ratio:.1f} | {shares} |")
    for runs, found in measured.items():
        for kind in ("seconds to the first point", "seconds to the first epoch's point", "peak MB"):
            warm = [each[kind] for each in found[1:]]
            after = f", then {statistics.median(warm):.1f}" if warm else ""
            print(f"\n{runs} at once, {kind}: {found[0][kind]:.1f} with an empty compile cache{after}", end="")
    print()


if __name__ == "__main__":
    main()
