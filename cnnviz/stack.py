"""K networks of one architecture as one: the training step and the evaluation, with a leading run dimension.

A batch of 10 through a LeNet leaves any chip idle: most of a step is dispatch, not arithmetic. Networks that see the
same batches are therefore trained as one: the first convolution has K·C outputs, later ones are grouped by run, fully
connected layers are batched matrix products. A single network is K = 1.

Shapes: K runs, N pictures, C channels a run. Feature maps are (N, K·C, H, W), the runs side by side in the channels, in
channels-last memory, which is how a CPU convolves fastest; fully connected values are (K, N, units). The gradient is
written out, layer by layer: it is a page of code, it compiles faster than a traced one, and nothing is computed that no
run asked for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cnnviz import data
from cnnviz.config import RunConfig
from cnnviz.models import CLASSES, IMAGE_CHANNELS, IMAGE_SIZE, Architecture

aten = torch.ops.aten

ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # torch.optim.Adam's defaults
FLAT = 0.05  # a unit is saturated where its slope is under this share of the activation's steepest
SATURATION_PICTURES = 1000  # of the test set, for the saturation figures
EVALUATION_BATCH = 250  # pictures at a time; the maps of 12 LeNets then fit a core's share of the cache

_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
# (value, output, gradient of the output) → gradient of the value.
_DESCEND: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda value, output, grad: aten.sigmoid_backward(grad, output),
    "tanh": lambda value, output, grad: aten.tanh_backward(grad, output),
    "relu": lambda value, output, grad: aten.threshold_backward(grad, output, 0),
    "leaky_relu": lambda value, output, grad: aten.leaky_relu_backward(grad, value, 0.01, False),
    "gelu": lambda value, output, grad: aten.gelu_backward(grad, value),
    "silu": lambda value, output, grad: aten.silu_backward(grad, value),
}
_STEEPEST = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0, "leaky_relu": 1.0, "gelu": 1.129, "silu": 1.0998}
# These never fall, so max pooling may come first: the same numbers, with a quarter of the activations to compute.
_MONOTONE = ("sigmoid", "tanh", "relu", "leaky_relu")


class Stack:
    """K networks and their optimizer, trained in step.

    configs may differ in activation, loss, learning rate, momentum, weight decay and initial weights; runs of the same
    activation should stand side by side. weights[k] and, to resume, slots[k] are run k's, by name, in PyTorch's layout.
    """

    def __init__(
        self,
        arch: Architecture,
        configs: Sequence[RunConfig],
        weights: Sequence[Mapping[str, Tensor]],
        slots: Sequence[Mapping[str, Tensor]] | None = None,
        device: str = "cpu",
    ) -> None:
        self.arch, self.size, self.device = arch, len(configs), device
        self.pooling, self.optimizer = configs[0].pooling, configs[0].optimizer
        self.groups = _groups([config.activation for config in configs])
        self.pool_first = self.pooling == "max" and all(name in _MONOTONE for name, _, _ in self.groups)
        self.mse = torch.tensor([config.loss == "mse" for config in configs], device=device)
        self.rates = torch.tensor(
            [[config.lr, config.momentum, config.weight_decay] for config in configs], device=device
        ).T.contiguous()
        self.has_momentum = self.optimizer == "sgd" and any(config.momentum for config in configs)
        self.has_decay = any(config.weight_decay for config in configs)
        self.names = list(arch.weight_shapes)
        maps = [layer for layer in arch.layers if len(layer.output) == 3]
        self.map_shape = maps[-1].output if maps else (IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        self.first_dense = f"{arch.layers[len(maps)].name}.weight"
        self.weights = [self._stacked(name, [each[name] for each in weights]) for name in self.names]
        kinds = {"adam": ("mean", "square")}.get(self.optimizer, ("momentum",) if self.has_momentum else ())
        self.slots = {
            kind: [
                self._stacked(
                    name, [_slot(each, f"{name}.{kind}", weights[0][name]) for each in slots or [{}] * self.size]
                )
                for name in self.names
            ]
            for kind in kinds
        }
        steps = [each.get("steps", torch.zeros(())) for each in slots or [{}] * self.size]
        self.steps = torch.stack(list(steps)).to(device)  # updates made so far, for Adam's bias correction
        self.totals = torch.zeros(2 + 2 * len(arch.weight_layers), self.size, device=device)

    # -- in and out ------------------------------------------------------------------------------

    def _stacked(self, name: str, values: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(values))
        if name == self.first_dense:  # its inputs come (H, W, C) here and (C, H, W) in PyTorch
            stacked = stacked.unflatten(2, self.map_shape).permute(0, 1, 3, 4, 2).flatten(2)
        if name.startswith("fc"):
            return (stacked.mT if stacked.dim() == 3 else stacked).contiguous().to(self.device)
        if stacked.dim() == 5:  # kernels in the order their gradients come in
            return stacked.flatten(0, 1).contiguous(memory_format=torch.channels_last).to(self.device)
        return stacked.flatten().to(self.device)

    def _unstacked(self, name: str, stacked: Tensor, run: int) -> Tensor:
        if not name.startswith("fc"):
            one = stacked.unflatten(0, (self.size, -1))[run]
        else:
            one = stacked[run].mT if stacked.dim() == 3 else stacked[run]
        if name == self.first_dense:
            channels, height, width = self.map_shape
            one = one.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2).flatten(1)
        return one.detach().to("cpu", copy=True).contiguous()

    def weights_of(self, run: int) -> dict[str, Tensor]:
        """Run's weights by name, in PyTorch's layout, copied to the CPU."""
        return {name: self._unstacked(name, weight, run) for name, weight in zip(self.names, self.weights, strict=True)}

    def slots_of(self, run: int) -> dict[str, Tensor]:
        """Run's optimizer state by name ("c1.weight.momentum"), copied to the CPU; empty for plain SGD."""
        if not self.slots:
            return {}
        state = {
            f"{name}.{kind}": self._unstacked(name, slot, run)
            for kind, slots in self.slots.items()
            for name, slot in zip(self.names, slots, strict=True)
        }
        return state | {"steps": self.steps[run].to("cpu", copy=True)}

    # -- forward ---------------------------------------------------------------------------------

    def forward(self, images: Tensor) -> tuple[Tensor, list["Kept"]]:
        """uint8 (N, 32, 32, 3) → logits (K, N, 10), and what each layer keeps for the way back."""
        x, kept = data.normalise(images), []
        weights = iter(self.weights)
        for index, conv in enumerate(self.arch.convs):
            entering = x
            x = _convolve(x, next(weights), next(weights), conv.padding, self.size if index else 1)
            if conv.pool and self.pool_first:
                value = pool(x, conv.pool, "max")
                output = self._by_group(_activate, 1, value)
                kept.append(Kept(entering, value, output, x, value))
                x = output
            else:
                output = self._by_group(_activate, 1, x)
                pooled = pool(output, conv.pool, self.pooling) if conv.pool else output
                kept.append(Kept(entering, x, output, output, pooled))
                x = pooled
        if kept:
            x = x.unflatten(1, (self.size, -1)).permute(1, 0, 3, 4, 2).flatten(2)
        else:
            x = x.permute(0, 2, 3, 1).flatten(1).expand(self.size, -1, -1)
        for weight, bias in zip(weights, weights, strict=True):
            entering = x
            value = torch.baddbmm(bias.unsqueeze(1), x, weight)
            last = weight is self.weights[-2]
            x = value if last else self._by_group(_activate, 0, value)
            kept.append(Kept(entering, value, x, x, x))
        return x, kept

    def _by_group(self, function: Callable[..., Tensor], dim: int, *tensors: Tensor) -> Tensor:
        """function(activation, …) on each stretch of runs with one activation."""
        if len(self.groups) == 1:
            return function(self.groups[0][0], *tensors)
        width = tensors[0].shape[dim] // self.size
        pieces = [
            function(name, *(each.narrow(dim, start * width, (stop - start) * width) for each in tensors))
            for name, start, stop in self.groups
        ]
        return torch.cat(pieces, dim)

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Each run's mean loss (K,), and its gradient with respect to the logits (K, N, 10)."""
        target = F.one_hot(labels, CLASSES).float()
        log_softmax = torch.log_softmax(logits, -1)
        miss = logits - target
        loss = torch.where(self.mse, miss.square().mean((1, 2)), -(log_softmax * target).sum(-1).mean(1))
        grad = torch.where(self.mse[:, None, None], miss * (2 / CLASSES), log_softmax.exp() - target)
        return loss, grad / len(labels)

    # -- backward --------------------------------------------------------------------------------

    def gradients(self, kept: list["Kept"], grad: Tensor) -> list[Tensor]:
        """Gradients of all weights, in their order, from the gradient of the logits."""
        found: list[Tensor] = []
        convs = len(self.arch.convs)
        for layer in reversed(range(convs, len(kept))):
            entering, value, output, _, _ = kept[layer]
            if layer < len(kept) - 1:
                grad = self._by_group(_descend, 0, value, output, grad)
            found += [grad.sum(1), entering.mT @ grad]
            if layer:
                grad = grad @ self.weights[2 * layer].mT
        if convs:
            height, width = kept[convs - 1].pool_output.shape[2:]
            grad = grad.unflatten(2, (height, width, -1)).permute(1, 0, 4, 2, 3).flatten(1, 2)
        for layer in reversed(range(convs)):
            conv, (entering, value, output, pool_input, pool_output) = self.arch.convs[layer], kept[layer]
            if conv.pool and self.pool_first:
                grad = self._by_group(_descend, 1, value, output, grad)
                bias = grad.sum((0, 2, 3))  # pooling hands a gradient on whole, so it is summed where it is smaller
                grad = pool_backward(pool_input, pool_output, grad, conv.pool, "max")
            else:
                if conv.pool:
                    grad = pool_backward(pool_input, pool_output, grad, conv.pool, self.pooling)
                grad = self._by_group(_descend, 1, value, output, grad)
                bias = grad.sum((0, 2, 3))
            weight, groups = self.weights[2 * layer], self.size if layer else 1
            found += [bias, _weight_gradient(entering, weight, grad, conv.padding, groups)]
            if layer:
                grad = _input_gradient(weight, grad, conv.padding, groups)
        return found[::-1]

    def update(self, gradients: Sequence[Tensor], norms: Sequence[Tensor]) -> list[Tensor]:
        """Take one optimizer step; the norm by run (K,) of each layer's change. norms are the gradients'."""
        self.steps += 1
        changes = []
        for index, (name, weight, grad) in enumerate(zip(self.names, self.weights, gradients, strict=True)):
            by_run = self._by_run(name, weight)
            change = self._change(index, by_run, self._by_run(name, grad))
            by_run += change
            changes.append(change)
        if self.slots or self.has_decay:
            return self._norms(changes)
        return [self.rates[0] * norm for norm in norms]

    def _change(self, index: int, weight: Tensor, grad: Tensor) -> Tensor:
        def per_run(values: Tensor) -> Tensor:
            return values.view(-1, *[1] * (grad.dim() - 1))

        lr, momentum, decay = (per_run(rate) for rate in self.rates)
        if self.has_decay:
            grad = grad + decay * weight
        if self.optimizer == "adam":
            mean, square = (self._by_run(self.names[index], self.slots[kind][index]) for kind in ("mean", "square"))
            mean.lerp_(grad, 1 - ADAM_BETAS[0])
            square.mul_(ADAM_BETAS[1]).add_(grad.square() * (1 - ADAM_BETAS[1]))
            correction = [per_run(1 - beta**self.steps) for beta in ADAM_BETAS]
            return -lr / correction[0] * mean / (square.sqrt() / correction[1].sqrt() + ADAM_EPSILON)
        if self.has_momentum:
            slot = self._by_run(self.names[index], self.slots["momentum"][index])
            grad = slot.mul_(momentum).add_(grad)
        return -lr * grad

    def step(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Train on images[rows]; the step's figures are added to totals."""
        loss, correct, gradients = self._pass(images[rows], labels[rows])
        norms = self._norms(map(self._by_run, self.names, gradients))
        self._note(loss, correct, len(rows), norms, self.update(gradients, norms))

    def look(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """As step, but nothing is learned."""
        loss, correct, gradients = self._pass(images[rows], labels[rows])
        norms = self._norms(map(self._by_run, self.names, gradients))
        self._note(loss, correct, len(rows), norms, [torch.zeros_like(norm) for norm in norms])

    def _pass(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        logits, kept = self.forward(images)
        loss, grad = self.losses(logits, labels)
        return loss, (logits.argmax(-1) == labels).sum(1), self.gradients(kept, grad)

    def _norms(self, values: Iterable[Tensor]) -> list[Tensor]:
        """L2 norm by run (K,) of each layer's weights, gradient or change (K, …); biases are not counted."""
        return [
            value.square().sum(tuple(range(1, value.dim()))).sqrt()
            for name, value in zip(self.names, values, strict=True)
            if name.endswith("weight")
        ]

    def _by_run(self, name: str, value: Tensor) -> Tensor:
        return value if name.startswith("fc") else value.unflatten(0, (self.size, -1))

    def _note(
        self, loss: Tensor, correct: Tensor, pictures: int, gradients: Sequence[Tensor], updates: Sequence[Tensor]
    ) -> None:
        # the loss weighs by pictures, as the last batch may be smaller
        self.totals += torch.stack([loss * pictures, correct, *gradients, *updates])

    def state(self) -> list[Tensor]:
        """Everything a step changes."""
        return [*self.weights, *(slot for slots in self.slots.values() for slot in slots), self.steps, self.totals]

    # -- figures ---------------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        self.totals.zero_()

    def epoch_figures(self, pictures: int, steps: int) -> list[dict[str, float]]:
        """Each run's train_loss, train_accuracy, grad_norm/…, update_ratio/…: means over the steps since begin_epoch.

        grad_norm is the L2 norm of a layer's weight gradient, update_ratio that of the weights' change over that of the
        weights themselves (at the end of the epoch).
        """
        names = [layer.name for layer in self.arch.weight_layers]
        weight_norms = torch.stack(self._norms(map(self._by_run, self.names, self.weights)))
        loss, correct = self.totals[:2] / pictures
        gradients, updates = (self.totals[2:] / steps).chunk(2)
        table = {"train_loss": loss, "train_accuracy": correct}
        table |= {f"grad_norm/{name}": row for name, row in zip(names, gradients, strict=True)}
        table |= {f"update_ratio/{name}": row for name, row in zip(names, updates / weight_norms, strict=True)}
        return _by_run(table)

    @torch.no_grad()
    def evaluate(self, images: Tensor, labels: Tensor) -> list[dict[str, float]]:
        """Each run's mean loss, accuracy and, by activation, saturation/…: the share of units where the slope is flat.

        A unit counts where the activation's slope is under 5 % of its steepest: saturated for sigmoid and tanh, silent
        for ReLU. Measured on the first 1,000 pictures; where max pooling comes first, on the units it lets through.
        """
        sums = torch.zeros(2, self.size, device=self.device)
        flat = torch.zeros(len(self.arch.weight_layers) - 1, self.size, device=self.device)
        measured = 0
        for start in range(0, len(images), EVALUATION_BATCH):
            batch, answers = images[start : start + EVALUATION_BATCH], labels[start : start + EVALUATION_BATCH]
            logits, kept = self.forward(batch)
            sums[0] += self.losses(logits, answers)[0] * len(batch)
            sums[1] += (logits.argmax(-1) == answers).sum(1)
            if start < SATURATION_PICTURES:
                measured += len(batch)
                for layer, each in enumerate(kept[:-1]):
                    flat[layer] += self._flat_share(each) * len(batch)
        loss, accuracy = sums / len(images)
        table = {"loss": loss, "accuracy": accuracy}
        layers = self.arch.weight_layers[:-1]
        table |= {f"saturation/{layer.name}": row / measured for layer, row in zip(layers, flat, strict=True)}
        return _by_run(table)

    def _flat_share(self, kept: "Kept") -> Tensor:
        def is_flat(name: str, value: Tensor, output: Tensor) -> Tensor:
            slope = _descend(name, value, output, torch.ones_like(value))
            return (slope.abs() < FLAT * _STEEPEST[name]).float()

        dim = 0 if kept.value.dim() == 3 else 1
        shares = self._by_group(is_flat, dim, kept.value, kept.output)
        return shares.mean((1, 2)) if dim == 0 else shares.unflatten(1, (self.size, -1)).mean((0, 2, 3, 4))


class Kept(NamedTuple):
    """What a layer keeps of the way forward for the way back."""

    entering: Tensor
    value: Tensor  # before the activation
    output: Tensor  # behind it
    pool_input: Tensor
    pool_output: Tensor


def _activate(name: str, value: Tensor) -> Tensor:
    return _ACTIVATE[name](value)


def _descend(name: str, value: Tensor, output: Tensor, grad: Tensor) -> Tensor:
    return _DESCEND[name](value, output, grad)


def _by_run(table: Mapping[str, Tensor]) -> list[dict[str, float]]:
    rows = torch.stack(list(table.values())).T.tolist()  # one transfer from the device
    return [dict(zip(table, row, strict=True)) for row in rows]


def _groups(activations: Sequence[str]) -> list[tuple[str, int, int]]:
    """Stretches of equal activations: (name, first run, run after the last)."""
    groups: list[tuple[str, int, int]] = []
    for run, name in enumerate(activations):
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1], run + 1)
        else:
            groups.append((name, run, run + 1))
    return groups


def _slot(state: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    return state[name] if name in state else torch.zeros_like(like)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, groups: int) -> Tensor:
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def _weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, padding: int, groups: int) -> Tensor:
    only_weights = [False, True, False]
    return aten.convolution_backward(
        grad, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, only_weights
    )[1]


def _input_gradient(weight: Tensor, grad: Tensor, padding: int, groups: int) -> Tensor:
    """The convolution of the gradient with the kernels turned by 180° and their in- and outputs exchanged."""
    turned = weight.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return _convolve(grad, turned, None, weight.shape[2] - 1 - padding, groups)


def pool(x: Tensor, stride: int, kind: str) -> Tensor:
    """2×2 pooling of (N, C, H, W) written as elementwise operations: they vectorise, and fuse with their neighbours."""
    a, b, c, d = _corners(x, stride)
    if kind == "max":
        return torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
    return (a + b + c + d) * 0.25


def pool_backward(x: Tensor, pooled: Tensor, grad: Tensor, stride: int, kind: str) -> Tensor:
    """Gradient of pool() with respect to x, (N, C, H, W).

    Equal maxima share it, where PyTorch gives it to the first: in a picture's plain areas, where they occur, the
    patches behind them are equal too and so are the weights' gradients.
    """
    if kind == "avg":
        share, corners = grad * 0.25, [torch.ones((), device=x.device, dtype=torch.bool)] * 4
    else:
        corners = [corner == pooled for corner in _corners(x, stride)]
        share = grad / sum(corner.float() for corner in corners)
    if stride == 1:
        places = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))
        shares = [torch.where(corner, share, 0.0) for corner in corners]
        spread = [F.pad(each, place) for each, place in zip(shares, places, strict=True)]
        return spread[0] + spread[1] + spread[2] + spread[3]
    height, width = 2 * pooled.shape[2], 2 * pooled.shape[3]
    blocks = _spread(share)
    if kind == "max":
        cells = x[:, :, :height, :width].permute(0, 2, 3, 1).unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        blocks = torch.where(cells == _spread(pooled), blocks, 0.0)
    whole = blocks.expand(-1, -1, 2, -1, 2, -1).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    return F.pad(whole, (0, x.shape[3] - width, 0, x.shape[2] - height))


def _spread(values: Tensor) -> Tensor:
    """(N, C, H, W) → (N, H, 1, W, 1, C)."""
    return values.permute(0, 2, 3, 1)[:, :, None, :, None]


def _corners(x: Tensor, stride: int) -> list[Tensor]:
    height, width = ((size - 2) // stride * stride + 1 for size in x.shape[2:])
    return [x[:, :, i : i + height : stride, j : j + width : stride] for i in (0, 1) for j in (0, 1)]
