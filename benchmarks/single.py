"""Networks that are trained on their own, by autograd, against loops as one would write them in PyTorch.

    python -m benchmarks.single [--rounds 3] [--steps 300]

Steps a second of one process with one thread, wall clock, medians; the ways alternate. plain: the same network,
optimizer and pictures, whose tensors are in memory, without the figures that cnnviz records by layer. DataLoader: a
torchvision data set with transforms, two processes that load it. Needs CIFAR-10.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from cnnviz import data, paths
from cnnviz.architectures import build
from cnnviz.config import RunConfig
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
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | cnnviz | plain | DataLoader |\n|---|---|---|---|")
    for name, config in CONFIGS.items():
        ways = {"cnnviz": cnnviz(config), "plain": plain(config), "DataLoader": loader(config)}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, step in ways.items():
                step()  # the first is not counted
                began = time.perf_counter()
                for _ in range(options.steps):
                    step()
                rates[way].append(options.steps / (time.perf_counter() - began))
        found = {way: statistics.median(each) for way, each in rates.items()}
        print(f"| {name} | " + " | ".join(f"{each:,.0f}" for each in found.values()) + " |", flush=True)


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
        if config.augment != "none":  # of the whole batch at once, as loops with tensors in memory do
            images = images.flip(2) if torch.rand(()) < 0.5 else images
            down, right = torch.randint(0, 9, (2,)).tolist()
            images = F.pad(images, (0, 0, 4, 4, 4, 4))[:, down : down + 32, right : right + 32]
        train(data.normalise(images), dataset.train_labels[rows])

    return step


def loader(config: RunConfig) -> Callable[[], None]:
    augment = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4)]
    steps = [*(augment if config.augment != "none" else []), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
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


if __name__ == "__main__":
    main()
