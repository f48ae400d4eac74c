"""An independent oracle: the same training in plain PyTorch."""

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz import data
from cnnviz.architectures import architecture, build, initial_weights
from cnnviz.config import RunConfig


def pictures(count: int = 200) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    images[: count // 4, :12] = 255  # plain areas, where maxima are equal
    return images, torch.randint(0, 10, (count,), generator=generator)


def order(steps: int, size: int, count: int = 200) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, count, (size,), generator=generator) for _ in range(steps)]


def plain_loop(config: RunConfig, seed: int, batches: list[Tensor]) -> dict[str, Tensor]:
    images, labels = pictures()
    module = build(architecture(config.model), config.activation, config.pooling)
    module.load_state_dict(initial_weights(architecture(config.model), seed))
    optimizer: torch.optim.Optimizer
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(module.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.Adam(module.parameters(), config.lr, weight_decay=config.weight_decay)
    for rows in batches:
        logits, answers = module(data.normalise(images[rows])), labels[rows]
        if config.loss == "mse":
            loss = functional.mse_loss(logits, functional.one_hot(answers, 10).to(logits.dtype))
        else:
            loss = functional.cross_entropy(logits, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.state_dict()


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert list(one) == list(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)
