"""K networks of one architecture as one: the training step and the evaluation, with a leading run dimension.

A batch of 10 through a LeNet leaves any chip idle: most of a step is dispatch, not arithmetic. Networks that see the
same batches are therefore trained as one: the first convolution has K·C outputs, later ones are grouped by run, fully
connected layers are batched matrix products. A single network is K = 1.

Shapes: K runs, N pictures, C channels a run. Feature maps are (N, K·C, H, W), the runs side by side in the channels, in
channels-last memory, which is how a CPU convolves fastest; fully connected values are (K, N, units). The gradient is
written out, layer by layer: it is a page of code, it compiles faster than a traced one, and nothing is computed that no
run asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import CLASSES, IMAGE_CHANNELS, IMAGE_SIZE, Architecture
from cnnviz.config import RunConfig
from cnnviz.train import dense, ops
from cnnviz.train.dense import Gradient, Learned, Outer

ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # torch.optim.Adam's defaults
SATURATION_PICTURES = 1000  # of the test set, for the saturation figures
EVALUATION_BATCH = 50  # pictures at a time: the maps of six LeNets then stay in a CPU's cache
EVALUATION_BATCH_GPU = 200  # enough work for each launch; twelve conv5 take 4 GB


class Stack:
    """K networks and their optimizer, trained in step.

    configs may differ in activation, loss, learning rate, momentum, weight decay and initial weights; runs of the same
    activation should be neighbours. weights[k] and, to resume, slots[k] are run k's, by name, in PyTorch's layout.
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
        self.pool_first = self.pooling == "max" and all(name in ops.MONOTONE for name, _, _ in self.groups)
        self.mse = torch.tensor([config.loss == "mse" for config in configs], device=device)
        self.rates = torch.tensor(
            [[config.lr, config.momentum, config.weight_decay] for config in configs], device=device
        ).T.contiguous()
        self.has_momentum = self.optimizer == "sgd" and any(config.momentum for config in configs)
        self.has_decay = any(config.weight_decay for config in configs)
        self.is_plain = self.optimizer == "sgd" and not self.has_momentum and not self.has_decay
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
        """uint8 (N, 32, 32, 3) → logits (K, N, 10), and what each layer keeps for the backward pass."""
        x, kept = data.normalise(images), []
        weights = iter(self.weights)
        for index, conv in enumerate(self.arch.convs):
            inputs = x
            x = ops.convolve(x, next(weights), next(weights), conv.padding, self.size if index else 1)
            if conv.pool and self.pool_first:
                value = ops.pool(x, conv.pool, "max")
                output = self._by_group(ops.activate, 1, value)
                kept.append(Kept(inputs, value, output, x, value))
                x = output
            else:
                output = self._by_group(ops.activate, 1, x)
                pooled = ops.pool(output, conv.pool, self.pooling) if conv.pool else output
                kept.append(Kept(inputs, x, output, output, pooled))
                x = pooled
        if kept:
            x = x.unflatten(1, (self.size, -1)).permute(1, 0, 3, 4, 2).flatten(2)
        else:
            x = x.permute(0, 2, 3, 1).flatten(1).expand(self.size, -1, -1)
        for weight, bias in zip(weights, weights, strict=True):
            inputs = x
            value = dense.forward(weight, bias, x)
            last = weight is self.weights[-2]
            x = value if last else self._by_group(ops.activate, 0, value)
            kept.append(Kept(inputs, value, x, x, x))
        return x, kept

    def _by_group(self, function: Callable[..., Tensor], dim: int, *tensors: Tensor) -> Tensor:
        """function(activation, …) on each group of neighbouring runs with one activation."""
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
        target = (labels[:, None] == torch.arange(CLASSES, device=labels.device)).to(logits.dtype)
        log_softmax = torch.log_softmax(logits, -1)
        miss = logits - target
        loss = torch.where(self.mse, miss.square().mean((1, 2)), -(log_softmax * target).sum(-1).mean(1))
        grad = torch.where(self.mse[:, None, None], miss * (2 / CLASSES), log_softmax.exp() - target)
        return loss, grad / len(labels)

    # -- backward --------------------------------------------------------------------------------

    def gradients(self, kept: list["Kept"], grad: Tensor, learning: bool) -> list[Gradient]:
        """Gradients of all weights, in their order, from the gradient of the logits.

        learning: large fully connected layers may take their step here, while they are in the cache.
        """
        found: list[Gradient] = []
        convs = len(self.arch.convs)
        for layer in reversed(range(convs, len(kept))):
            inputs, value, output, _, _ = kept[layer]
            if layer < len(kept) - 1:
                grad = self._by_group(ops.activation_gradient, 0, value, output, grad)
            weight, product = self.weights[2 * layer], Outer(inputs, grad)
            found.append(grad.sum(1))
            if dense.is_large(weight) and learning and self.is_plain and len(grad[0]) <= dense.FEW:
                grad, norm = dense.back_and_learn(weight, *product, self.rates[0])
                found.append(Learned(norm))
                continue
            found.append(product if dense.is_large(weight) else product.written_out())
            if layer:
                grad = grad @ weight.mT
        if convs:
            height, width = kept[convs - 1].pool_output.shape[2:]
            grad = grad.unflatten(2, (height, width, -1)).permute(1, 0, 4, 2, 3).flatten(1, 2)
        for layer in reversed(range(convs)):
            conv, (inputs, value, output, pool_input, pool_output) = self.arch.convs[layer], kept[layer]
            if conv.pool and self.pool_first:
                grad = self._by_group(ops.activation_gradient, 1, value, output, grad)
                bias = grad.sum((0, 2, 3))  # pooling keeps the sum of a gradient, so the smaller tensor is summed
                grad = ops.pool_backward(pool_input, pool_output, grad, conv.pool, "max")
            else:
                if conv.pool:
                    grad = ops.pool_backward(pool_input, pool_output, grad, conv.pool, self.pooling)
                grad = self._by_group(ops.activation_gradient, 1, value, output, grad)
                bias = grad.sum((0, 2, 3))
            weight, groups = self.weights[2 * layer], self.size if layer else 1
            found += [bias, ops.weight_gradient(inputs, weight, grad, conv.padding, groups)]
            if layer:
                grad = ops.input_gradient(weight, grad, conv.padding, groups)
        return found[::-1]

    def step(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Train on images[rows]; the step's figures are added to totals."""
        loss, correct, gradients = self._pass(images[rows], labels[rows], learning=True)
        norms = self._norms(gradients)
        changes: list[Tensor] = []
        self.steps += 1
        for index, (weight, grad) in enumerate(zip(self.weights, gradients, strict=True)):
            if isinstance(grad, Learned):
                continue
            by_run, whole = self._by_run(index, weight), grad.written_out() if isinstance(grad, Outer) else grad
            change = self._change(index, by_run, self._by_run(index, whole))
            by_run += change
            changes.append(change)
        # A plain step is the gradient times the rate.
        updates = [self.rates[0] * norm for norm in norms] if self.is_plain else self._norms(changes)
        self._note(loss, correct, len(rows), norms, updates)

    def probe(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """As step, but the weights stay as they are."""
        loss, correct, gradients = self._pass(images[rows], labels[rows], learning=False)
        norms = self._norms(gradients)
        self._note(loss, correct, len(rows), norms, [torch.zeros_like(norm) for norm in norms])

    def _pass(self, images: Tensor, labels: Tensor, learning: bool) -> tuple[Tensor, Tensor, list[Gradient]]:
        logits, kept = self.forward(images)
        loss, grad = self.losses(logits, labels)
        correct = (logits.argmax(-1) == labels).sum(1, dtype=loss.dtype)
        return loss, correct, self.gradients(kept, grad, learning)

    def _change(self, index: int, weight: Tensor, grad: Tensor) -> Tensor:
        def per_run(values: Tensor) -> Tensor:
            return values.view(-1, *[1] * (grad.dim() - 1))

        lr, momentum, decay = (per_run(rate) for rate in self.rates)
        if self.has_decay:
            grad = grad + decay * weight
        if self.optimizer == "adam":
            mean, square = (self._by_run(index, self.slots[kind][index]) for kind in ("mean", "square"))
            mean.lerp_(grad, 1 - ADAM_BETAS[0])
            square.mul_(ADAM_BETAS[1]).add_(grad.square() * (1 - ADAM_BETAS[1]))
            correction = [per_run(1 - beta**self.steps) for beta in ADAM_BETAS]
            return -lr / correction[0] * mean / (square.sqrt() / correction[1].sqrt() + ADAM_EPSILON)
        if self.has_momentum:
            grad = self._by_run(index, self.slots["momentum"][index]).mul_(momentum).add_(grad)
        return -lr * grad

    def _norms(self, values: Sequence[Gradient]) -> list[Tensor]:
        """L2 norm by run (K,) of each layer's weights, gradient or change; biases are not counted."""
        norms = []
        for index, value in enumerate(values):
            if isinstance(value, Outer | Learned):
                norms.append(value.norm())
            elif self.names[index].endswith("weight"):
                by_run = self._by_run(index, value)
                norms.append(by_run.square().sum(tuple(range(1, by_run.dim()))).sqrt())
        return norms

    def _by_run(self, index: int, value: Tensor) -> Tensor:
        """The weights of that index, or their change, with the run in front."""
        has_run_in_front = self.names[index].startswith("fc") or value.dim() == 5
        return value if has_run_in_front else value.unflatten(0, (self.size, -1))

    def _note(
        self, loss: Tensor, correct: Tensor, pictures: int, gradients: Sequence[Tensor], updates: Sequence[Tensor]
    ) -> None:
        # the loss weighs by pictures, as the last batch may be smaller
        self.totals += torch.stack([loss * pictures, correct, *gradients, *updates])

    def state(self) -> list[Tensor]:
        """Everything a step changes."""
        return [*self.weights, *(slot for slots in self.slots.values() for slot in slots), self.steps, self.totals]

    def take_over(self, other: "Stack") -> None:
        """Become the other stack, of the same shape, in the same places of memory: what was compiled or captured for
        this one goes on with its weights, rates and state."""
        for mine, its in zip(
            [*self.state(), self.rates, self.mse], [*other.state(), other.rates, other.mse], strict=True
        ):
            mine.copy_(its)

    def remembered(self) -> dict[str, Tensor]:
        """What the optimizer remembers, by kind and weight."""
        names = self.names
        return {f"{n}.{kind}": slot for kind, its in self.slots.items() for n, slot in zip(names, its, strict=True)}

    def networks(self) -> list[Tensor]:
        """The weights, with the run in front."""
        return [self._by_run(index, weight) for index, weight in enumerate(self.weights)]

    # -- figures ---------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int = 0, pictures: int = 0) -> None:
        """Before the steps of an epoch; they do not depend on which it is."""
        self.totals.zero_()

    def epoch_figures(self, pictures: int, steps: int) -> list[dict[str, float]]:
        """Each run's train_loss, train_accuracy, grad_norm/…, update_ratio/…: means over the steps since begin_epoch.

        grad_norm is the L2 norm of a layer's weight gradient, update_ratio that of the weights' change over that of the
        weights themselves (at the end of the epoch).
        """
        names = [layer.name for layer in self.arch.weight_layers]
        weight_norms = torch.stack(self._norms(self.weights))
        loss, correct = self.totals[:2] / pictures
        gradients, updates = (self.totals[2:] / steps).chunk(2)
        table = {"train_loss": loss, "train_accuracy": correct}
        table |= {f"grad_norm/{name}": row for name, row in zip(names, gradients, strict=True)}
        table |= {f"update_ratio/{name}": row for name, row in zip(names, updates / weight_norms, strict=True)}
        return _by_run(table)

    @torch.no_grad()
    def evaluate(
        self, images: Tensor, labels: Tensor, seen: Callable[[int], None] = lambda pictures: None
    ) -> list[dict[str, float]]:
        """Each run's mean loss, accuracy and, by activation, saturation/…: the share of units whose slope is flat.

        A slope is flat under 5 % of the activation's steepest: the unit is saturated (sigmoid, tanh) or inactive (the
        others). All units before pooling are counted, on the first 1,000 pictures. seen: called with the number of
        pictures after each batch of them.
        """
        sums = torch.zeros(2, self.size, device=self.device)
        flat = torch.zeros(len(self.arch.weight_layers) - 1, self.size, device=self.device)
        measured = 0
        size = EVALUATION_BATCH if self.device == "cpu" else EVALUATION_BATCH_GPU
        for start in range(0, len(images), size):
            batch, answers = images[start : start + size], labels[start : start + size]
            logits, kept = self.forward(batch)
            sums[0] += self.losses(logits, answers)[0] * len(batch)
            sums[1] += (logits.argmax(-1) == answers).sum(1)
            if start < SATURATION_PICTURES:
                measured += len(batch)
                for layer, each in enumerate(kept[:-1]):
                    flat[layer] += self._flat_share(each) * len(batch)
            seen(start + len(batch))
        loss, accuracy = sums / len(images)
        table = {"loss": loss, "accuracy": accuracy}
        layers = self.arch.weight_layers[:-1]
        table |= {f"saturation/{layer.name}": row / measured for layer, row in zip(layers, flat, strict=True)}
        return _by_run(table)

    def _flat_share(self, kept: "Kept") -> Tensor:
        dim = 0 if kept.value.dim() == 3 else 1
        value = kept.unpooled
        output = kept.output if value is kept.value else self._by_group(ops.activate, dim, value)
        shares = self._by_group(ops.is_flat, dim, value, output)
        return shares.mean((1, 2)) if dim == 0 else shares.unflatten(1, (self.size, -1)).mean((0, 2, 3, 4))


class Kept(NamedTuple):
    """What a layer keeps of the forward pass for the backward pass."""

    inputs: Tensor
    value: Tensor  # before the activation
    output: Tensor  # behind it
    pool_input: Tensor
    pool_output: Tensor

    @property
    def unpooled(self) -> Tensor:
        """Before the activation and any pooling."""
        return self.pool_input if self.value is self.pool_output else self.value


def _by_run(table: Mapping[str, Tensor]) -> list[dict[str, float]]:
    rows = torch.stack(list(table.values())).T.tolist()  # one transfer from the device
    return [dict(zip(table, row, strict=True)) for row in rows]


def _groups(activations: Sequence[str]) -> list[tuple[str, int, int]]:
    """Neighbouring runs of equal activation: (name, first run, run after the last)."""
    groups: list[tuple[str, int, int]] = []
    for run, name in enumerate(activations):
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1], run + 1)
        else:
            groups.append((name, run, run + 1))
    return groups


def _slot(state: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    return state[name] if name in state else torch.zeros_like(like)
