"""One network as a plain PyTorch module, trained by autograd and torch.optim: the second way to train.

It knows every setting, and takes the place of a Stack of one network. What is drawn for a step, dropout's masks and the
changes to the pictures, follows from (seed, epoch) and the step, so that a run that is resumed goes on as if it had
never stopped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cnnviz import data
from cnnviz.architectures import CLASSES, build
from cnnviz.config import EVALUATION_BATCH, RunConfig
from cnnviz.data import augment
from cnnviz.modules import walk
from cnnviz.train import ops, schedules
from cnnviz.train.stack import EVALUATION_BATCH_GPU, SATURATION_PICTURES

GRAPHS_ON = ("cuda",)  # devices whose steps may become a graph: there rates are tensors, and steps are counted there
GRADIENT = "gradient"  # among what is remembered of a weight, if it is never zeroed
# torch.optim's names of what an optimizer remembers of a weight, and cnnviz's, which a Stack has, too.
_SLOTS = {"momentum_buffer": "momentum", "exp_avg": "mean", "exp_avg_sq": "square", "square_avg": "square"}


class Dropout(nn.Module):
    """As nn.Dropout, with masks from a generator of its own."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # In the order of PyTorch's layout, whatever the layout of x.
        kept = torch.empty(x.shape, device=x.device).bernoulli_(1 - self.share, generator=self.generator)
        return x * kept.to(x.dtype).div_(1 - self.share)


class Single:
    """A network and its optimizer.

    weights and, to resume, slots are by name, in PyTorch's layout.
    """

    size = 1

    def __init__(
        self,
        config: RunConfig,
        weights: Mapping[str, Tensor],
        slots: Mapping[str, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        self.config, self.arch, self.device = config, config.architecture, device
        self.scale = data.scale_of(config.normalise, config.dataset)
        self.generator = torch.Generator(device)
        self.module = build(self.arch, config.activation, config.pooling, config.dropout, config.dropout_at)
        self.module.load_state_dict(dict(weights), strict=False)  # without how many batches the statistics have seen
        for name, child in self.module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(self.module, name, Dropout(child.p, self.generator))
        self.module.to(device).to(memory_format=torch.channels_last)
        self.parameters = dict(self.module.named_parameters())
        self.counted = [
            self.parameters[f"{layer.name}.weight"] for layer in self.arch.weight_layers
        ]  # biases and batch norm are not, as in a Stack
        self.is_capturable = device in GRAPHS_ON
        self.optimizer = _optimizer(config, self.parameters.values(), self.is_capturable)
        self._restore(slots or {})
        self.is_plain = config.optimizer == "sgd" and not config.has_optimizer_state and not config.weight_decay
        self.has_buffers = config.optimizer == "sgd" and bool(config.momentum)
        # Of this epoch: the pictures' losses, how many were right; by layer, the gradient's norms and the updates'.
        self.totals = torch.zeros(2, device=device)
        self.gradients, self.updates = (
            [torch.zeros((), device=device) for _ in self.counted] for _ in ("gradient", "update")
        )
        self.drawn: Tensor | None = None  # of this epoch's pictures
        self.rates: Sequence[float] | Tensor = ()  # of this epoch's steps
        self.first_step = self.steps = self.seen = 0  # steps before this epoch; steps and pictures of this epoch

    # -- in and out ------------------------------------------------------------------------------

    def _restore(self, slots: Mapping[str, Tensor]) -> None:
        if not slots:
            return
        other = "exp_avg_sq" if self.config.optimizer == "rmsprop" else "square_avg"
        kinds = {ours: theirs for theirs, ours in _SLOTS.items() if theirs != other}
        for name, parameter in self.parameters.items():
            state = {kinds[kind]: slots[f"{name}.{kind}"] for kind in kinds if f"{name}.{kind}" in slots}
            kept = {
                kind: torch.empty_like(parameter).copy_(value.to(self.device)) for kind, value in state.items()
            }  # in the parameter's layout
            if self.config.optimizer not in ("sgd", "nesterov"):
                counts_there = self.is_capturable or self.optimizer.defaults.get("fused")  # on its own device
                where = self.device if counts_there else "cpu"
                kept["step"] = slots["steps"].to(where, torch.float32, copy=True)
            self.optimizer.state[parameter] = kept
            if (piled := slots.get(f"{name}.{GRADIENT}")) is not None:
                parameter.grad = torch.empty_like(parameter).copy_(piled.to(self.device))

    def weights_of(self, run: int) -> dict[str, Tensor]:
        """Weights by name, and batch norm's statistics, copied to the CPU."""
        state = self.module.state_dict()
        return {name: _copied(state[name]) for name in self.arch.weight_shapes}

    def slots_of(self, run: int) -> dict[str, Tensor]:
        """The optimizer's state by name ("c1.weight.momentum"), copied to the CPU; empty for plain SGD.

        With gradients that are never zeroed, those as well.
        """
        found: dict[str, Tensor] = {}
        for name, value in self.remembered().items():
            parameter, kind = name.rsplit(".", 1)
            found["steps" if kind == "step" else f"{parameter}.{_SLOTS.get(kind, kind)}"] = _copied(value)
        return found

    def state(self) -> dict[str, Tensor]:
        """Everything a step changes, by name, where it lies."""
        found = self.module.state_dict() | self.remembered()
        figures = {"totals": [self.totals], "gradients": self.gradients, "updates": self.updates}
        return found | {f"{kind} {index}": each for kind, those in figures.items() for index, each in enumerate(those)}

    def remembered(self) -> dict[str, Tensor]:
        """What steps remember besides the weights, where it lies: the optimizer's state, gradients that pile up."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter].items()
            found |= {f"{name}.{kind}": value for kind, value in state if value is not None}
            if self.config.mistake == "no-zero-grad" and parameter.grad is not None:
                found[f"{name}.{GRADIENT}"] = parameter.grad
        return found

    def put(self, state: Mapping[str, Tensor]) -> None:
        """Make that its state, in the same places of memory. What is not in it is 0, as before the first step."""
        mine = self.state()
        assert state.keys() <= mine.keys()
        for name, each in mine.items():
            if name in state:
                each.copy_(state[name])
            else:
                each.zero_()

    def take_over(self, other: "Single") -> None:
        """Become the other one, of the same settings but for its rate, in the same places of memory."""
        self.config = other.config
        self.put(other.state())

    def networks(self) -> list[Tensor]:
        """The weights, and batch norm's statistics, with a run in front."""
        state = self.module.state_dict()
        return [state[name][None] for name in self.arch.weight_shapes]

    # -- training --------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int, pictures: int) -> None:
        """Before the steps of that epoch, over so many pictures."""
        for each in (self.totals, *self.gradients, *self.updates):
            each.zero_()
        self.first_step, self.steps, self.seen = (max(epoch, 1) - 1) * self.config.steps_per_epoch, 0, 0
        (seed,) = np.random.PCG64([self.config.seed, epoch, 2]).random_raw(1)
        self.generator.manual_seed(int(seed) >> 1)
        if self.config.augment != "none":
            self.drawn = augment.draws(self.config.seed, epoch, pictures).to(self.device)
        self.rates = self._rates(-(-pictures // self.config.batch_size))
        if self.is_capturable:
            self.rates = torch.tensor(self.rates, dtype=torch.float32).to(self.device)

    def _rates(self, steps: int) -> list[float]:
        return [schedules.rate(self.config, self.first_step + step) for step in range(steps)]

    def step(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Train on images[rows]; the step's figures are added to the epoch's."""
        rate = self.rates[self.steps]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norms = self._backward(images[rows], labels[rows])
        is_told = self.is_plain or self.has_buffers  # else the weights before the step tell the update
        before = [] if is_told else [weight.detach().clone() for weight in self.counted]
        self.optimizer.step()
        if self.is_plain:  # the step is the gradient times the rate
            self._add_updates(norms, rate)
        elif self.has_buffers:  # it is the momentum times the rate
            buffers = [self.optimizer.state[weight]["momentum_buffer"] for weight in self.counted]
            self._add_updates(torch._foreach_norm(buffers), rate)
        else:
            now = [weight.detach() for weight in self.counted]
            torch._foreach_add_(self.updates, torch._foreach_norm(torch._foreach_sub(now, before)))
        self.steps += 1

    def _add_updates(self, norms: tuple[Tensor, ...], rate: float | Tensor) -> None:
        if isinstance(rate, Tensor):  # as alpha it would be read by the host
            torch._foreach_add_(self.updates, torch._foreach_mul(norms, rate))
        else:
            torch._foreach_add_(self.updates, norms, alpha=rate)

    def probe(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """As step, but the network stays as it is."""
        buffers = [(each, each.clone()) for each in self.module.buffers()]
        self._backward(images[rows], labels[rows])
        for each, kept in buffers:
            each.copy_(kept)
        self.optimizer.zero_grad()

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """The gradient's norm in each layer; it, the loss and how many are right are added to the epoch's figures."""
        many, self.seen = len(labels), self.seen + len(labels)
        if self.drawn is None:
            x = data.normalise(images, self.scale)
        else:
            drawn = self.drawn[self.seen - many : self.seen]
            x = augment.augmented(images, drawn, self.config.augment, self.scale)
        self.module.train()
        logits = self.module(x)
        loss = _loss(self.config, logits, labels, self.config.label_smoothing)
        if self.config.mistake != "no-zero-grad":
            for parameter in self.parameters.values():  # zero_grad() takes as long as a layer
                parameter.grad = None
        loss.backward()
        with torch.no_grad():
            plain = _loss(self.config, logits, labels) if self.config.label_smoothing else loss
            self.totals[0].add_(plain.detach(), alpha=many)
            self.totals[1].add_((logits.argmax(1) == labels).sum())
            norms = torch._foreach_norm([weight.grad for weight in self.counted if weight.grad is not None])
            torch._foreach_add_(self.gradients, norms)
            return norms

    # -- figures ---------------------------------------------------------------------------------

    def epoch_figures(self, pictures: int, steps: int) -> list[dict[str, float]]:
        """As Stack.epoch_figures has them; the mean learning rate as well, if it has a schedule."""
        weights = torch.stack(torch._foreach_norm([weight.detach() for weight in self.counted]))
        loss, right = self.totals.tolist()
        gradients, updates = torch.stack([*self.gradients, *self.updates]).view(2, -1).tolist()
        names = [layer.name for layer in self.arch.weight_layers]
        figures = {"train_loss": loss / pictures, "train_accuracy": right / pictures}
        figures |= {f"grad_norm/{name}": value / steps for name, value in zip(names, gradients, strict=True)}
        for name, value, weight in zip(names, updates, weights.tolist(), strict=True):
            figures[f"update_ratio/{name}"] = value / steps / weight if weight else float("nan")
        if not self.config.has_constant_rate:
            figures["learning_rate"] = sum(self._rates(steps)) / steps
        return [figures]

    @torch.no_grad()
    def evaluate(
        self, images: Tensor, labels: Tensor, seen: Callable[[int], None] = lambda pictures: None
    ) -> list[dict[str, float]]:
        """As Stack.evaluate has them, in evaluation mode: without dropout, batch norm by its running statistics.

        Unless leaving that out is the run's mistake: then masks fall, and batch norm normalises by these pictures, and
        goes on to average over them.
        """
        self.module.train(self.config.mistake == "no-eval")
        if self.config.mistake == "no-eval":
            self.generator.manual_seed(self.config.seed)
        sums = torch.zeros(2, device=self.device)
        layers = [layer.name for layer in self.arch.activated_layers]
        flat, measured = torch.zeros(len(layers), device=self.device), 0
        size = EVALUATION_BATCH if self.device == "cpu" else EVALUATION_BATCH_GPU
        for start in range(0, len(images), size):
            batch, answers = images[start : start + size], labels[start : start + size]
            if start < SATURATION_PICTURES:
                logits, shares = self._with_flat_shares(data.normalise(batch, self.scale))
                flat += shares * len(batch)
                measured += len(batch)
            else:
                logits = self.module(data.normalise(batch, self.scale))
            right = (logits.argmax(1) == answers).sum()
            sums += torch.stack([_loss(self.config, logits, answers) * len(batch), right])
            seen(start + len(batch))
        loss, accuracy = (sums / len(images)).tolist()
        saturation = zip(layers, (flat / measured).tolist(), strict=True)
        return [{"loss": loss, "accuracy": accuracy} | {f"saturation/{name}": share for name, share in saturation}]

    def _with_flat_shares(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and of each layer's units the share whose activation is flat."""
        shares, output = [], x
        for name, value, output in walk(self.module, x):
            if name.endswith("_activation"):
                shares.append(ops.is_flat(self.config.activation, value, output).mean())
        return output, torch.stack(shares) if shares else torch.zeros(0, device=self.device)


def _optimizer(config: RunConfig, parameters: Iterable[nn.Parameter], capturable: bool) -> torch.optim.Optimizer:
    each, lr, decay, momentum = list(parameters), config.lr, config.weight_decay, config.momentum
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(each, lr, weight_decay=decay, fused=True, capturable=capturable)
        case "adamw":
            return torch.optim.AdamW(each, lr, weight_decay=decay, fused=True, capturable=capturable)
        case "rmsprop":
            return torch.optim.RMSprop(
                each, lr, momentum=momentum, weight_decay=decay, foreach=True, capturable=capturable
            )
    is_nesterov = config.optimizer == "nesterov"  # a fused one is always capturable
    return torch.optim.SGD(each, lr, momentum, weight_decay=decay, nesterov=is_nesterov, fused=True)


def _loss(config: RunConfig, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    if config.mistake == "softmax-twice":  # cross_entropy has one in it
        logits = logits.softmax(1)
    if config.loss == "cross_entropy":
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    target = F.one_hot(labels, CLASSES).to(logits.dtype)
    return F.mse_loss(logits, target * (1 - smoothing) + smoothing / CLASSES)


def _copied(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()
