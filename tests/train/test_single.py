"""Networks trained by autograd, against loops written for these tests and against the stack."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnviz import data
from cnnviz.architectures import ACTIVATIONS, build
from cnnviz.config import AUGMENTATIONS, LOSSES, MISTAKES, NORMALISATIONS, OPTIMIZERS, SCHEDULES, RunConfig
from cnnviz.data import Dataset, augment
from cnnviz.data.augment import augmented, draws
from cnnviz.errors import ConfigError
from cnnviz.train import ways
from cnnviz.train.loop import EpochResult, Start, fresh_start, train_stack
from cnnviz.train.single import Single
from cnnviz.train.stopping import Watched, watched
from tests.helpers.architectures import BLOCKS
from tests.helpers.noise import noise
from tests.helpers.pairwise import pairwise
from tests.helpers.training import together

_normalise = data.normalise
PICTURES, STEPS = 60, 12  # trained on in an epoch, and steps in two
TINY = RunConfig(model="c4k5-s2-c6k3p1-s2-f12", epochs=2, batch_size=10, lr=0.05, limit_train=PICTURES)
DESIGN = pairwise(
    {
        "optimizer": OPTIMIZERS,
        "activation": ACTIVATIONS,
        "augment": AUGMENTATIONS,
        "schedule": SCHEDULES,
        "loss": LOSSES,
        "batch_norm": ("off", "on"),
        "dropout": (0.0, 0.3),
        "normalise": NORMALISATIONS,
        "model": (TINY.model, BLOCKS),
    }
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise(500, 300)


def train(config: RunConfig, dataset: Dataset, **options: object) -> list[EpochResult]:
    return together(train_stack([config], dataset, method="autograd", **options))  # type: ignore[arg-type]


class Masked(nn.Module):
    """Dropout by given masks."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = torch.zeros(x.shape).bernoulli_(1 - self.share, generator=self.generator)
        return x * mask / (1 - self.share)


def optimizer_of(config: RunConfig, weights: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    lr, decay, momentum = config.lr, config.weight_decay, config.momentum
    made: dict[str, torch.optim.Optimizer] = {}
    each = list(weights)
    made["sgd"] = torch.optim.SGD(each, lr, momentum, weight_decay=decay)
    made["nesterov"] = torch.optim.SGD(each, lr, momentum or 0.9, weight_decay=decay, nesterov=True)
    made["adam"] = torch.optim.Adam(each, lr, weight_decay=decay)
    made["adamw"] = torch.optim.AdamW(each, lr, weight_decay=decay)
    made["rmsprop"] = torch.optim.RMSprop(each, lr, momentum=momentum, weight_decay=decay)
    return made[config.optimizer]


def plain_loop(config: RunConfig, dataset: Dataset) -> tuple[nn.Module, list[float]]:
    """As somebody would write it: the steps of two epochs; the module, and each epoch's mean training loss."""
    mistake = config.mistake
    module = build(config.architecture, config.activation, config.pooling, config.dropout, config.dropout_at)
    module.load_state_dict(dict(fresh_start(config).weights), strict=False)
    module.double()
    generator = torch.Generator()
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Dropout):
            setattr(module, name, Masked(config.dropout, generator))
    optimizer = optimizer_of(config, module.parameters())
    scale = data.scale_of(config.normalise, config.dataset)
    rates = {
        "constant": lambda step: config.lr,
        "step": lambda step: config.lr * (1.0 if 2 * step < STEPS else 0.1 if 4 * step < 3 * STEPS else 0.01),
        "cosine": lambda step: config.lr * (1 + math.cos(math.pi * step / STEPS)) / 2,
        "one-cycle": None,
    }
    one_cycle = None
    if config.schedule == "one-cycle":
        one_cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, STEPS, cycle_momentum=False)
    losses, step = [], 0
    for epoch in (1, 2):
        generator.manual_seed(int(np.random.PCG64([config.seed, epoch, 2]).random_raw(1)[0]) >> 1)
        drawn, sums = draws(config.seed, epoch, PICTURES), 0.0
        order = data.batch_order(config.seed, epoch, PICTURES)
        if mistake == "no-shuffle":
            order = torch.tensor(sorted(range(PICTURES), key=lambda row: int(dataset.train_labels[row])))
        for place, rows in enumerate(order.split(10)):
            if (rule := rates[config.schedule]) is not None:
                optimizer.param_groups[0]["lr"] = rule(step)
            images, answers = dataset.train_images[rows], dataset.train_labels[rows]
            x = augmented(images, drawn[10 * place : 10 * place + 10], config.augment, scale)
            module.train()
            logits = module(x)
            if mistake == "softmax-twice":
                logits = logits.exp() / logits.exp().sum(1, keepdim=True)
            if config.loss == "mse":
                smooth = (
                    functional.one_hot(answers, 10).double() * (1 - config.label_smoothing)
                    + config.label_smoothing / 10
                )
                loss = ((logits - smooth) ** 2).mean()
                plain = ((logits - functional.one_hot(answers, 10)) ** 2).mean()
            else:
                criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
                loss, plain = criterion(logits, answers), functional.cross_entropy(logits, answers)
            if mistake != "no-zero-grad":
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if one_cycle is not None and step < STEPS - 1:
                one_cycle.step()
            sums += float(plain.detach()) * len(rows)
            step += 1
        losses.append(sums / PICTURES)
    return module.eval(), losses


@pytest.mark.parametrize("settings", DESIGN, ids=lambda each: " ".join(map(str, each.values())))
def test_two_epochs_are_those_of_a_plain_loop(
    settings: dict[str, object], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = settings["optimizer"] in ("adam", "adamw", "rmsprop") or settings["normalise"] == "raw"
    config = replace(
        TINY,
        lr=0.002 if small else 0.05,
        momentum=0.9 if settings["optimizer"] == "nesterov" else 0.0,
        weight_decay=0.01,
        label_smoothing=0.1,
        **settings,  # type: ignore[arg-type]
    )
    check(config, dataset, monkeypatch)


@pytest.mark.parametrize(
    "settings",
    [
        {"mistake": "softmax-twice", "lr": 0.5},
        {"mistake": "softmax-twice", "label_smoothing": 0.1, "optimizer": "adam", "lr": 0.002},
        {"mistake": "no-zero-grad", "lr": 0.002},
        {"mistake": "no-zero-grad", "lr": 0.001, "momentum": 0.9, "weight_decay": 0.01, "batch_norm": "on"},
        {"mistake": "no-shuffle", "augment": "flip+shift"},
        {"mistake": "random-labels", "dropout": 0.3},
        {"mistake": "no-eval", "dropout": 0.3, "batch_norm": "on", "lr": 0.01},  # masks are float32: it must not grow
        {"mistake": "no-eval", "dropout": 0.3, "dropout_at": "both", "loss": "mse"},
        {"mistake": "no-eval", "batch_norm": "on"},
    ],
    ids=lambda each: " ".join(map(str, each.values())),
)
def test_mistakes_are_those_of_a_plain_loop(
    settings: dict[str, object], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, **settings)  # type: ignore[arg-type]
    right, wrong = (train(each, dataset)[-1].metrics for each in (replace(config, mistake="none"), config))
    assert wrong["test_loss"] != pytest.approx(right["test_loss"], rel=1e-4)
    check(config, dataset, monkeypatch)


def test_all_mistakes_are_tested() -> None:
    assert MISTAKES == ("none", "softmax-twice", "no-zero-grad", "no-shuffle", "no-eval", "random-labels")


def check(config: RunConfig, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (data, augment):  # in float64, in which rounding does not grow over the steps
        monkeypatch.setattr(room, "normalise", lambda images, its: _normalise(images, its).double())
    dataset = dataset.limited(PICTURES)
    if config.mistake != "no-eval":  # which depends on where the next 250 begin
        dataset = replace(dataset, test_images=dataset.test_images[:50], test_labels=dataset.test_labels[:50])
    if config.mistake == "random-labels":
        mixed = data.shuffled_labels(dataset.train_labels, config.seed)
        dataset = replace(dataset, train_labels=mixed)
    module, losses = plain_loop(config, dataset)
    single = Single(config, fresh_start(config).weights)
    single.module.double()
    found = []
    for epoch in (1, 2):
        single.begin_epoch(epoch, PICTURES)
        order = data.batch_order(config.seed, epoch, PICTURES)
        if config.mistake == "no-shuffle":
            order = data.sorted_order(dataset.train_labels)
        for rows in order.split(10):
            single.step(dataset.train_images, dataset.train_labels, rows)
        found += single.epoch_figures(PICTURES, STEPS // 2)
    assert [each["train_loss"] for each in found] == pytest.approx(losses, rel=1e-5)
    weights, state = single.weights_of(0), module.state_dict()
    assert max(float((weights[name] - state[name]).abs().max()) for name in weights) < 1e-7
    with torch.no_grad():
        scale = data.scale_of(config.normalise, config.dataset)
        logits = module(data.normalise(dataset.test_images, scale))
        if config.mistake == "no-eval":
            logits = in_training_mode(module, config.seed, dataset, scale)
        if config.mistake == "softmax-twice":
            logits = logits.softmax(1)
    targets = functional.one_hot(dataset.test_labels, 10).double()
    tested = {"cross_entropy": functional.cross_entropy(logits, targets), "mse": functional.mse_loss(logits, targets)}
    (figures,) = single.evaluate(dataset.test_images, dataset.test_labels)
    assert figures["loss"] == pytest.approx(float(tested[config.loss]), rel=1e-5)
    assert figures["accuracy"] == pytest.approx(float((logits.argmax(1) == dataset.test_labels).double().mean()))


def in_training_mode(module: nn.Module, seed: int, dataset: Dataset, scale: data.Scale) -> Tensor:
    masks = [child.generator for child in module.modules() if isinstance(child, Masked)]
    for generator in masks[:1]:  # which all have in common
        generator.manual_seed(seed)
    module.train()
    return torch.cat([module(data.normalise(images, scale)) for images in dataset.test_images.split(250)])


def test_the_design_has_every_pair() -> None:
    assert len(DESIGN) < 60
    pairs = {(x, y) for row in DESIGN for x in row.items() for y in row.items()}
    assert (("optimizer", "rmsprop"), ("augment", "cutout")) in pairs
    assert (("dropout", 0.3), ("schedule", "one-cycle")) in pairs
    assert (("batch_norm", "on"), ("optimizer", "adamw")) in pairs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.002, "loss": "mse", "activation": "relu"},
        {"activation": "gelu", "pooling": "avg", "init": "he"},
    ],
)
def test_what_a_stack_knows_too_is_the_same_both_ways(settings: dict[str, object], dataset: Dataset) -> None:
    config = replace(TINY, limit_train=200, **settings)  # type: ignore[arg-type]
    assert not config.trains_alone
    stacked = together(train_stack([config], dataset, method="eager"))
    for one, other in zip(stacked, train(config, dataset), strict=True):
        assert (one.method, other.method) == ("eager", "autograd")
        assert one.metrics.keys() == other.metrics.keys()
        for name in one.metrics.keys() - {"epoch_seconds", "images_per_second"}:
            assert one.metrics[name] == pytest.approx(other.metrics[name], rel=2e-3, abs=2e-4), name
        for kind in ("weights", "slots"):
            mine, theirs = getattr(one, kind), getattr(other, kind)
            assert mine.keys() - {"steps"} == theirs.keys() - {"steps"} or not one.epoch
            assert all(torch.allclose(mine[name], each, atol=1e-5) for name, each in theirs.items() if name in mine)


@pytest.mark.parametrize(("optimizer", "model"), [*((each, TINY.model) for each in OPTIMIZERS), ("sgd", BLOCKS)])
def test_resumed_is_as_if_never_stopped(optimizer: str, model: str, dataset: Dataset) -> None:
    everything = {"batch_norm": "on", "dropout": 0.3, "dropout_at": "both", "augment": "flip+shift+cutout"}
    config = replace(TINY, optimizer=optimizer, momentum=0.9, lr=0.01, schedule="cosine", epochs=3, limit_train=100)
    config = replace(config, model=model, **everything)  # type: ignore[arg-type]
    whole = train(config, dataset)
    for epoch in (0, 1, 2):
        start = Start(epoch, whole[epoch].weights, whole[epoch].slots, "autograd")
        again = train(config, dataset, starts=[start])
        assert [each.epoch for each in again] == list(range(epoch + 1, 4))
        assert all(torch.equal(again[-1].weights[name], weight) for name, weight in whole[-1].weights.items())
        assert all(torch.equal(again[-1].slots[name], slot) for name, slot in whole[-1].slots.items())
        now, then = again[-1].metrics, whole[-1].metrics
        assert {name for name in then if now[name] != then[name]} <= {"epoch_seconds", "images_per_second"}


@pytest.mark.parametrize(
    "settings",
    [
        {"mistake": "no-zero-grad", "lr": 0.002},
        {"mistake": "no-zero-grad", "lr": 0.001, "momentum": 0.9},
        {"mistake": "no-eval", "batch_norm": "on", "dropout": 0.3},
        {"mistake": "no-shuffle"},
        {"mistake": "random-labels", "optimizer": "adam", "lr": 0.002},
        {"mistake": "softmax-twice"},
    ],
    ids=lambda each: " ".join(map(str, each.values())),
)
def test_mistakes_are_resumed_as_if_never_stopped(settings: dict[str, object], dataset: Dataset) -> None:
    config = replace(TINY, epochs=3, limit_train=100, **settings)  # type: ignore[arg-type]
    whole = train(config, dataset)
    for epoch in (0, 2):
        assert config.has_optimizer_state == bool(whole[2].slots)
        (*_, last) = train(config, dataset, starts=[Start(epoch, whole[epoch].weights, whole[epoch].slots, "autograd")])
        assert all(torch.equal(last.weights[name], weight) for name, weight in whole[-1].weights.items())
        assert all(torch.equal(last.slots[name], slot) for name, slot in whole[-1].slots.items())
        now, then = last.metrics, whole[-1].metrics
        assert {name for name in then if now[name] != then[name]} <= {"epoch_seconds", "images_per_second"}


def test_shuffled_labels_are_as_many_of_each_class(dataset: Dataset) -> None:
    labels = dataset.train_labels
    mixed = data.shuffled_labels(labels, 0)
    assert torch.equal(mixed.bincount(), labels.bincount())
    assert (mixed == labels).float().mean() < 0.2
    assert torch.equal(mixed, data.shuffled_labels(labels, 0))
    assert not torch.equal(mixed, data.shuffled_labels(labels, 1))


def test_the_untrained_network_stays_as_it_is_while_its_gradients_are_measured(dataset: Dataset) -> None:
    config = replace(TINY, batch_norm="on", dropout=0.5, epochs=1)
    first = train(config, dataset)[0]
    assert all(torch.equal(first.weights[name], weight) for name, weight in fresh_start(config).weights.items())
    assert first.metrics["grad_norm/c1"] > 0


def test_a_schedule_is_recorded_and_nothing_else_is_for_a_constant_rate(dataset: Dataset) -> None:
    config = replace(TINY, limit_train=100)
    assert "learning_rate" not in train(config, dataset)[-1].metrics
    rates = [each.metrics.get("learning_rate") for each in train(replace(config, schedule="step"), dataset)[1:]]
    assert rates == pytest.approx([0.05, 0.05 * (5 * 0.1 + 5 * 0.01) / 10])


def held_out(dataset: Dataset, config: RunConfig, result: EpochResult) -> tuple[float, float]:
    """Loss and accuracy on the last pictures of the training set, as somebody would write it."""
    module = build(config.architecture, config.activation, config.pooling)
    module.load_state_dict(result.weights)
    images, labels = dataset.train_images[-config.validation :], dataset.train_labels[-config.validation :]
    with torch.no_grad():
        logits = module(data.normalise(images))
    return float(functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())


@pytest.mark.parametrize("method", ["autograd", "eager"])
def test_held_out_pictures_are_tested_on_and_never_trained_on(method: str, dataset: Dataset) -> None:
    config = replace(TINY, limit_train=0, validation=200)
    alike = replace(dataset, train_images=dataset.train_images[:300], train_labels=dataset.train_labels[:300])
    found = together(train_stack([config], dataset, method=method))
    plain = together(train_stack([replace(TINY, limit_train=300)], alike, method=method))
    assert [each.epoch for each in found] == [0, 1, 2]
    for one, other in zip(found, plain, strict=True):
        assert all(torch.equal(one.weights[name], weight) for name, weight in other.weights.items())
        assert one.metrics.keys() - other.metrics.keys() == {"val_loss", "val_accuracy"}
        loss, accuracy = held_out(dataset, config, one)
        assert one.metrics["val_loss"] == pytest.approx(loss, rel=1e-4)
        assert one.metrics["val_accuracy"] == pytest.approx(accuracy)


def patient(dataset: Dataset, method: str, configs: list[RunConfig], **options: object) -> dict[int, list[EpochResult]]:
    found: dict[int, list[EpochResult]] = {}
    for result in together(train_stack(configs, dataset, method=method, **options)):  # type: ignore[arg-type]
        found.setdefault(result.member, []).append(result)
    return found


def seen(losses: list[float], epoch: int) -> Watched:
    """After that epoch of these validation losses, the first of the untrained network."""
    return watched(enumerate(losses[1 : epoch + 1], 1), 0)


@pytest.mark.parametrize("method", ["autograd", "eager"])
def test_training_stops_once_its_patience_has_run_out(method: str, dataset: Dataset) -> None:
    config = replace(TINY, limit_train=100, validation=100, lr=0.2, activation="relu", epochs=12)
    endless = patient(dataset, method, [config])[0]
    losses = [each.metrics["val_loss"] for each in endless]
    lowest = min(range(1, 13), key=lambda epoch: losses[epoch])
    (stopped,) = patient(dataset, method, [replace(config, patience=2)]).values()
    end = next(at for at in range(13) if seen(losses, at).has_run_out(at, 2))
    assert lowest < end < 12  # noise cannot be learned: the loss turns
    assert [each.epoch for each in stopped] == list(range(end + 1))
    assert [each.is_last for each in stopped] == [False] * end + [True]
    assert "train_loss_exact" in stopped[-1].metrics
    for one, other in zip(stopped, endless, strict=False):
        assert all(torch.equal(one.weights[name], weight) for name, weight in other.weights.items())
    for epoch in (0, end - 1, end):  # resumed, it stops there, too
        start = Start(epoch, stopped[epoch].weights, stopped[epoch].slots, method, seen(losses, epoch))
        again = patient(dataset, method, [replace(config, patience=2)], starts=[start]).get(0, [])
        assert [each.epoch for each in again] == list(range(epoch + 1, end + 1))
        for one, other in zip(again, stopped[epoch + 1 :], strict=True):
            assert all(torch.equal(one.weights[name], weight) for name, weight in other.weights.items())


def test_a_network_leaves_its_stack_once_its_patience_has_run_out(dataset: Dataset) -> None:
    config = replace(TINY, limit_train=100, validation=100, lr=0.2, activation="relu", epochs=6, patience=1)
    quiet = replace(config, lr=1e-5, patience=0)
    found = patient(dataset, "eager", [config, quiet])
    assert len(found[0]) < len(found[1]) == 7
    assert [each.is_last for each in found[0]].index(True) == len(found[0]) - 1
    assert found[1][-1].stack == (1,)


def test_figures_of_a_block_are_its_convolutions_and_its_sum_s(dataset: Dataset) -> None:
    last = train(replace(TINY, model=BLOCKS, limit_train=100, epochs=1), dataset)[-1].metrics
    for kind, names in (("grad_norm", "c1 c2 c3 c5 c6 fc10 fc11"), ("saturation", "c1 c2 a4 c5 a7 fc10")):
        assert {name for name in last if name.startswith(kind)} == {f"{kind}/{name}" for name in names.split()}


def test_which_way_a_run_takes_follows_from_its_configuration(dataset: Dataset) -> None:
    alone = replace(TINY, dropout=0.2, limit_train=100)
    assert ways.fastest([alone], "cpu") == ways.fastest([alone], "mps") == "autograd"
    assert ways.possible([alone], "cuda") == ["autograd graph", "autograd"]
    assert ways.fastest([replace(TINY, init="he")], "cpu") == "eager"
    assert [each.method for each in together(train_stack([alone], dataset))] == ["autograd"] * 3
    with pytest.raises(ConfigError, match="one network at a time"):
        next(train_stack([alone, alone], dataset))
    for ignorant in ("eager", "kernel", "compiled", "graph"):
        with pytest.raises(ConfigError, match=f"only autograd trains, not the method '{ignorant}'"):
            next(train_stack([alone], dataset, method=ignorant))
