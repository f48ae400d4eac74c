"""Networks that are trained on their own, by autograd, against loops as one would write them in PyTorch.

    python -m benchmarks.single [--rounds 3] [--steps 300] [--at-once 2]

Steps a second of all processes, each with one thread, wall clock, medians; the ways alternate. plain: the same network,
optimizer and pictures, changed likewise, whose tensors are in memory, without the figures that cnnviz records by layer.
DataLoader: a torchvision data set with transforms, two processes that load it. Needs CIFAR-10.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from cnnviz import data, paths
from cnnviz.architectures import build
from cnnviz.config import RunConfig
from cnnviz.data import augment
from cnnviz.train.loop import fresh_start
from cnnviz.train.single import Single

BASE = RunConfig(activation="relu", momentum=0.9)
CONFIGS = {
    "LeNet, batch 10, dropout": replace(BASE, dropout=0.3),
    "LeNet, batch 10, batch norm, flips and shifts": replace(BASE, batch_norm="on", augment="flip+shift"),
    "LeNet, batch 128, batch norm, dropout, flips and shifts": replace(
        BASE, batch_size=128, batch_norm="on", dropout=0.3, augment="flip+shift"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=1, help="networks, each in a process of its own")
    options = parser.parse_args()
    print("| what | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for name in CONFIGS:
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, each in rates.items():
                each.append(at_once(options.at_once, name, way, options.steps))
        print(
            f"| {name} | " + " | ".join(f"{statistics.median(each):,.0f}" for each in rates.values()) + " |", flush=True
        )


def at_once(processes: int, name: str, way: str, steps: int) -> float:
    """Steps a second of so many processes together, that begin when all of them are ready."""
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(processes), context.SimpleQueue()
    several = [context.Process(target=measure, args=(barrier, found, name, way, steps)) for _ in range(processes)]
    for each in several:
        each.start()
    rate = sum(found.get() for _ in several)
    for each in several:
        each.join()
    return rate


def measure(barrier: Barrier, found: Any, name: str, way: str, steps: int) -> None:
    torch.set_num_threads(1)
    step = WAYS[way](CONFIGS[name])
    step()  # the first is not counted
    barrier.wait()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    found.put(steps / (time.perf_counter() - began))


def cnnviz(config: RunConfig) -> Callable[[], None]:
    dataset = data.load("cifar10")
    single, batches = Single(config, fresh_start(config).weights), _batches(config.batch_size)

    def step() -> None:
        if single.seen + config.batch_size > 50_000 or not single.steps:
            single.begin_epoch(1, 50_000)
        single.step(dataset.train_images, dataset.train_labels, next(batches))

    return step


def plain(config: RunConfig) -> Callable[[], None]:
    dataset = data.load("cifar10")
    train, batches = _trainer(config), _batches(config.batch_size)

    def step() -> None:
        rows = next(batches)
        images = dataset.train_images[rows]
        if config.augment == "none":
            x = data.normalise(images)
        else:
            x = augment.augmented(
                images, torch.randint(0, 9, (len(rows), 5)) % torch.tensor([2, 9, 9, 9, 9]), config.augment
            )
        train(x, dataset.train_labels[rows])

    return step


def loader(config: RunConfig) -> Callable[[], None]:
    changes = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4)]
    steps = [*(changes if config.augment != "none" else []), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    dataset = datasets.CIFAR10(str(paths.data_root()), transform=transforms.Compose(steps))
    batches = _for_ever(DataLoader(dataset, config.batch_size, shuffle=True, num_workers=2, drop_last=True))
    train = _trainer(config)

    def step() -> None:
        train(*next(batches))

    return step


def _for_ever(loader: DataLoader) -> Iterator[list[torch.Tensor]]:
    while True:
        yield from loader


def _batches(size: int) -> Iterator[torch.Tensor]:
    while True:
        yield from torch.randperm(50_000).split(size)[:-1]


def _trainer(config: RunConfig) -> Callable[[torch.Tensor, torch.Tensor], None]:
    module = build(config.architecture, config.activation, config.pooling, config.dropout).train()
    optimizer = torch.optim.SGD(module.parameters(), config.lr, config.momentum)

    def train(images: torch.Tensor, labels: torch.Tensor) -> None:
        loss = F.cross_entropy(module(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return train


WAYS = {"cnnviz": cnnviz, "plain": plain, "DataLoader": loader}

if __name__ == "__main__":
    main()
