"""What dropout and batch norm do in training mode, beside what they do in evaluation mode.

A training step sees a network other than the one that is tested: dropout sets units to zero by a mask of (seed, epoch,
step), and batch norm normalises by the mean and deviation of the step's batch, not by the running ones. Here a picture
takes the first place of the batch of such a step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cnnviz import data
from cnnviz.architectures import NORM, build
from cnnviz.config import RunConfig
from cnnviz.data import Dataset, augment
from cnnviz.errors import CheckpointError
from cnnviz.inspection.network import NORM_EPSILON, Prediction
from cnnviz.modules import walk
from cnnviz.train.single import Dropout

DROPPED = "_dropout"  # ends the name of what drops: "fc5_dropout"
MASKS = 30
MOST_STEPS = 100  # of an epoch that are offered: all masks before one are drawn first


class _Dropout(Dropout):
    """Keeps its last mask: of a value that is zero anyway, the output does not say whether it was dropped."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.mask = super().forward(torch.ones_like(x))
        return x * self.mask


@dataclass(frozen=True)
class Statistics:
    """What batch norm normalises a layer by, for each channel: the batch's figures, and the running ones."""

    name: str  # the layer's: "c1"
    mean: Tensor  # (channels,)
    deviation: Tensor  # the root of the biased variance, which a step divides by, and of epsilon
    running_mean: Tensor
    running_deviation: Tensor

    @property
    def shift(self) -> Tensor:
        """How far the batch's mean lies from the running one, in running deviations."""
        return (self.mean - self.running_mean) / self.running_deviation

    @property
    def ratio(self) -> Tensor:
        """The batch's deviation over the running one."""
        return self.deviation / self.running_deviation


@dataclass(frozen=True)
class Step:
    """What one training step makes of the picture."""

    epoch: int  # in which it is
    number: int  # in the epoch, from 1
    pictures: int  # of its batch
    values: dict[str, Tensor]  # what each child of the module hands on: (channels, height, width) or (units,)
    evaluated: dict[str, Tensor]  # the same in evaluation mode
    masks: dict[str, Tensor]  # by layer, 0 where dropout sets to zero, else 1 / (1 - p)
    statistics: tuple[Statistics, ...]  # by layer, in order

    @property
    def prediction(self) -> Prediction:
        """Of the picture, in this step."""
        return Prediction(next(reversed(self.values.values()))[None])


@dataclass(frozen=True)
class Spread:
    """The picture's prediction under many masks."""

    evaluated: Prediction  # of one picture
    masked: Prediction  # of one picture a mask

    def shares(self, index: int) -> Tensor:
        """(masks,), the probability of that class under each mask."""
        return self.masked.probabilities[:, index]

    @property
    def agreeing(self) -> int:
        """Under how many masks the predicted class is that of evaluation mode."""
        return int((self.masked.classes == self.evaluated.classes).sum())


def has_modes(config: RunConfig) -> bool:
    """Whether the network of this configuration is another one while it trains."""
    return bool(config.dropout) or config.architecture.batch_norm


class TrainingMode:
    """A run's network with its dropout and its batch norm, as they are after an epoch."""

    def __init__(self, config: RunConfig, weights: Mapping[str, Tensor], epoch: int) -> None:
        """weights: as its checkpoint has them. Raises CheckpointError if they are of another network."""
        self.config, self.epoch = config, epoch
        self.scale = data.scale_of(config.normalise, config.dataset)
        self.generator = torch.Generator()
        arch = config.architecture
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        if shapes != arch.weight_shapes:
            raise CheckpointError(f"the weights are not {arch.name}'s: choose a run or epoch of {arch.name}")
        with torch.device("meta"):  # no initial weights are drawn from the global generator
            module = build(arch, config.activation, config.pooling, config.dropout, config.dropout_at)
        module.to_empty(device="cpu").load_state_dict(dict(weights), strict=False)  # batches seen are not kept
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, _Dropout(child.p, self.generator))
            elif isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                child.momentum = 0.0  # looking leaves the running figures as they are
        self.module = module.requires_grad_(False)
        self.dropping = {name: child for name, child in module.named_children() if isinstance(child, _Dropout)}

    @property
    def steps(self) -> int:
        """Of an epoch that can be looked at: the first ones that have a full batch."""
        return min(max(self.config.train_size // self.config.batch_size, 1), MOST_STEPS)

    def batch(self, dataset: Dataset, step: int, picture: Tensor) -> Tensor:
        """The pictures of that step of the next epoch, the first replaced: normalised float32 (N, 3, 32, 32).

        picture: uint8 (32, 32, 3), which is not augmented. dataset: all of it, as it is loaded.
        """
        config, epoch = self.config, self.epoch + 1
        part = dataset.limited(config.limit_train, config.validation)
        if config.mistake == "no-shuffle":
            order = data.sorted_order(part.train_labels)
        else:
            order = data.batch_order(config.seed, epoch, len(part.train_labels))
        places = slice((step - 1) * config.batch_size, step * config.batch_size)
        drawn = augment.draws(config.seed, epoch, len(order))[places]
        pictures = augment.augmented(part.train_images[order[places]], drawn, config.augment, self.scale)
        return torch.cat([data.normalise(picture[None], self.scale), pictures[1:]])

    @torch.no_grad()
    def step(self, batch: Tensor, step: int = 1) -> Step:
        """The step of the next epoch that has this batch, of which the first picture is looked at."""
        evaluated = {name: value[0] for name, _, value in walk(self.module.eval(), batch[:1])}
        self._begin(evaluated, step)
        values, masks, statistics = {}, {}, []
        for name, entering, value in walk(self.module.train(), batch):
            values[name] = value[0].clone()
            child = self.module.get_submodule(name)
            if isinstance(child, _Dropout):
                masks[name.removesuffix(DROPPED)] = child.mask[0].clone()
            elif isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                statistics.append(_statistics(name.removesuffix(NORM), child, entering))
        self.module.eval()
        return Step(self.epoch + 1, step, len(batch), values, evaluated, masks, tuple(statistics))

    @torch.no_grad()
    def spread(self, picture: Tensor, masks: int = MASKS) -> Spread:
        """Predictions of uint8 (32, 32, 3) under so many masks (Gal, Ghahramani 2016); batch norm as in evaluation."""
        x = data.normalise(picture[None], self.scale)
        evaluated = Prediction(self.module.eval()(x))
        self._seed()
        for child in self.dropping.values():
            child.train()
        masked = Prediction(self.module(x.expand(masks, -1, -1, -1)))
        self.module.eval()
        return Spread(evaluated, masked)

    def _begin(self, values: Mapping[str, Tensor], step: int) -> None:
        """Have the masks of that step drawn next, as a training on a CPU draws them."""
        self._seed()
        for _ in range(step - 1):
            for name, child in self.dropping.items():
                shape = (self.config.batch_size, *values[name].shape)
                torch.empty(shape).bernoulli_(1 - child.share, generator=self.generator)

    def _seed(self) -> None:
        """As train.single does it at the beginning of an epoch."""
        (seed,) = np.random.PCG64([self.config.seed, self.epoch + 1, 2]).random_raw(1)
        self.generator.manual_seed(int(seed) >> 1)


def _statistics(name: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, entering: Tensor) -> Statistics:
    by_channel = entering.transpose(0, 1).flatten(1)
    variance = by_channel.var(1, correction=0)
    running, mean = norm.running_var, norm.running_mean
    assert running is not None
    assert mean is not None
    return Statistics(
        name,
        by_channel.mean(1),
        (variance + NORM_EPSILON).sqrt(),
        mean.clone(),
        (running + NORM_EPSILON).sqrt(),
    )


def layers_of(step: Step) -> Iterator[tuple[str, str, str]]:
    """What training mode changes: layers, how they do, and the child whose values show it.

    ("c1", "batch norm", "c1_activation"), ("fc5", "dropout", "fc5_dropout"), in order.
    """
    names = list(step.values)
    for name in names:
        layer = name.removesuffix(NORM) if name.endswith(NORM) else ""
        if layer:
            activated = f"{layer}_activation"
            yield layer, "batch norm", activated if activated in names else name
        elif name.endswith(DROPPED):
            yield name.removesuffix(DROPPED), "dropout", name
