"""Every stack is checked against a plain nn.Module and torch.optim loop."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cnnviz import data
from cnnviz.architectures import ACTIVATIONS, POOLINGS, architecture, build, initial_weights
from cnnviz.config import LOSSES, STACKED_OPTIMIZERS, RunConfig
from cnnviz.inspection.network import activations, channel_facts, load_network
from cnnviz.train.stack import Stack
from tests.helpers.architectures import spelled
from tests.helpers.plain_torch import furthest, order, pictures, plain_loop

# More padding than the next kernel reaches over, too.
WIDELY_PADDED = "c4k3-s2-c4k3p3-s1-c3k1p2-s2-c4k3p4"
SMALL = "c4k5p1-s2-c6k3-s1-c4k3-f12"  # every kind of layer, odd sizes, overlapping pooling, padding


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Twice the digits, so that rounding hides no mistake."""
    plain = data.normalise
    monkeypatch.setattr(data, "normalise", lambda images, *how: plain(images, *how).double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def stacked(configs: list[RunConfig], seeds: list[int]) -> Stack:
    arch = architecture(configs[0].model)
    return Stack(arch, configs, [initial_weights(arch, seed) for seed in seeds])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("optimizer", STACKED_OPTIMIZERS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_run_is_the_run_it_would_be_alone(pooling: str, optimizer: str) -> None:
    configs = [
        RunConfig(
            model=SMALL,
            activation=activation,
            loss=loss,
            pooling=pooling,
            optimizer=optimizer,
            lr=(0.05 if optimizer == "sgd" else 0.002) * (1 + index % 3),
            momentum=0.9 * (index % 2) if optimizer == "sgd" else 0.0,
            weight_decay=0.01 * (index % 4 == 3),
        )
        for index, (activation, loss) in enumerate((a, loss) for a in ACTIVATIONS for loss in LOSSES)
    ]
    stack, batches = stacked(configs, list(range(len(configs)))), order(30, 5)
    images, labels = pictures()
    for rows in batches:
        stack.step(images, labels, rows)
    for run, config in enumerate(configs):
        assert furthest(plain_loop(config, run, batches), stack.weights_of(run)) < 1e-9, config.name


@pytest.mark.parametrize("model", ["lenet5x5", "lenet3x3", "f30", "c8k7-s2", "c8k3p1-s1-f64", WIDELY_PADDED])
def test_in_single_precision_too(model: str) -> None:
    configs = [RunConfig(model=model, lr=0.01), RunConfig(model=model, lr=0.02, loss="mse")]
    stack, batches = stacked(configs, [3, 4]), order(30, 10)
    images, labels = pictures()
    for rows in batches:
        stack.step(images, labels, rows)
    for run, config in enumerate(configs):
        assert furthest(plain_loop(config, 3 + run, batches), stack.weights_of(run)) < 5e-6


@given(
    spelled,
    st.lists(st.tuples(st.sampled_from(ACTIVATIONS), st.sampled_from(LOSSES)), min_size=1, max_size=3),
    st.sampled_from(POOLINGS),
)
@settings(max_examples=25)
def test_any_network_takes_the_steps_of_the_plain_module(
    model: str, kinds: list[tuple[str, str]], pooling: str
) -> None:
    configs = [
        RunConfig(model=model, activation=activation, loss=loss, pooling=pooling, lr=0.01)
        for activation, loss in sorted(kinds)
    ]
    stack, batches = stacked(configs, list(range(len(configs)))), order(2, 3)
    for rows in batches:
        stack.step(*pictures(), rows)
    for run, config in enumerate(configs):
        assert furthest(plain_loop(config, run, batches), stack.weights_of(run)) < 2e-5


def test_conv5_alone() -> None:
    config, batches = RunConfig(model="conv5", activation="relu", lr=0.01), order(2, 4)
    stack = stacked([config], [0])
    for rows in batches:
        stack.step(*pictures(), rows)
    assert furthest(plain_loop(config, 0, batches), stack.weights_of(0)) < 1e-5


def test_a_diverging_run_changes_no_other_runs_bits() -> None:
    tame = [RunConfig(lr=0.01, activation="relu"), RunConfig(lr=0.02, activation="relu", loss="mse")]
    wild = replace(tame[0], lr=900.0)
    with_wild, without = stacked([tame[0], wild, tame[1]], [0, 1, 2]), stacked([tame[0], tame[0], tame[1]], [0, 1, 2])
    images, labels = pictures()
    for rows in order(60, 10):
        with_wild.step(images, labels, rows)
        without.step(images, labels, rows)
    assert not all(bool(each.isfinite().all()) for each in with_wild.weights_of(1).values())
    for run in (0, 2):
        ours, theirs = with_wild.weights_of(run), without.weights_of(run)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    figures = with_wild.evaluate(images, labels)
    assert figures[1]["loss"] != figures[1]["loss"]
    assert figures[0] == without.evaluate(images, labels)[0]


@pytest.mark.parametrize("optimizer", STACKED_OPTIMIZERS)
def test_taken_apart_and_put_together_it_goes_on_bit_for_bit(optimizer: str) -> None:
    config = RunConfig(model=SMALL, optimizer=optimizer, lr=0.002, momentum=0.9 if optimizer == "sgd" else 0.0)
    configs, (images, labels), batches = [config, replace(config, loss="mse")], pictures(), order(20, 5)
    through = stacked(configs, [0, 1])
    for rows in batches[:10]:
        through.step(images, labels, rows)
    again = Stack(
        through.arch, configs, [through.weights_of(run) for run in (0, 1)], [through.slots_of(run) for run in (0, 1)]
    )
    for rows in batches[10:]:
        through.step(images, labels, rows)
        again.step(images, labels, rows)
    for run in (0, 1):
        assert furthest(through.weights_of(run), again.weights_of(run)) == 0
        assert furthest(through.slots_of(run), again.slots_of(run)) == 0


def test_the_epochs_figures() -> None:
    """Mean loss and accuracy over the pictures as they were trained on; norms against autograd's gradients."""
    config = RunConfig(lr=0.05)
    stack, (images, labels) = stacked([config], [0]), pictures()
    batches = [torch.arange(0, 8), torch.arange(8, 12)]  # the last one smaller
    module = build(stack.arch, "tanh", "max")
    module.load_state_dict(stack.weights_of(0))
    optimizer = torch.optim.SGD(module.parameters(), config.lr)
    losses, right, norms, changes = 0.0, 0, 0.0, 0.0
    stack.begin_epoch()
    for rows in batches:
        stack.step(images, labels, rows)
        logits = module(data.normalise(images[rows]))
        loss = functional.cross_entropy(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        gradient = dict(module.named_parameters())["c3.weight"].grad
        assert gradient is not None
        losses += float(loss.detach()) * len(rows)
        right += int((logits.argmax(1) == labels[rows]).sum())
        norms += float(gradient.norm())
        changes += config.lr * float(gradient.norm())
        optimizer.step()
    (figures,) = stack.epoch_figures(12, 2)
    weight = dict(module.named_parameters())["c3.weight"]
    assert figures["train_loss"] == pytest.approx(losses / 12, rel=1e-5)
    assert figures["train_accuracy"] == pytest.approx(right / 12)
    assert figures["grad_norm/c3"] == pytest.approx(norms / 2, rel=1e-4)
    assert figures["update_ratio/c3"] == pytest.approx(changes / 2 / float(weight.detach().norm()), rel=1e-4)
    assert {name for name in figures if "/" in name} == {
        f"{kind}/{layer}" for kind in ("grad_norm", "update_ratio") for layer in ("c1", "c3", "fc5", "fc6", "fc7")
    }


def test_looking_learns_nothing() -> None:
    stack = stacked([RunConfig(lr=1.0, momentum=0.5)], [0])
    before = [each.clone() for each in (*stack.weights, *stack.slots["momentum"])]
    stack.begin_epoch()
    stack.probe(*pictures(), torch.arange(10))
    (figures,) = stack.epoch_figures(10, 1)
    assert figures["grad_norm/c1"] > 0
    assert figures["update_ratio/c1"] == 0
    assert all(torch.equal(*pair) for pair in zip(before, (*stack.weights, *stack.slots["momentum"]), strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_evaluation(activation: str, pooling: str) -> None:
    config = RunConfig(activation=activation, pooling=pooling)
    wide = {name: 4 * weight for name, weight in initial_weights(architecture("lenet5x5"), 0).items()}
    stack, (images, labels) = Stack(architecture("lenet5x5"), [config, config], [wide, wide]), pictures(600)
    module = build(stack.arch, activation, pooling)
    module.load_state_dict(wide)
    x = data.normalise(images)
    with torch.no_grad():
        logits = module(x)
    figures = stack.evaluate(images, labels)
    assert figures[0] == figures[1]
    assert figures[0]["loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
    assert figures[0]["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    # saturation: autograd's slope of all units before pooling, against the steepest found on a fine grid
    grid = torch.linspace(-6, 6, 10_001, requires_grad=True)
    (slopes,) = torch.autograd.grad(module.get_submodule("fc6_activation")(grid).sum(), grid)
    for name in ("c1", "c3", "fc5", "fc6"):
        value = module[: list(dict(module.named_children())).index(name) + 1](x).detach().requires_grad_()
        (slope,) = torch.autograd.grad(module.get_submodule(f"{name}_activation")(value).sum(), value)
        expected = float((slope.abs() < 0.05 * slopes.abs().max()).double().mean())
        assert figures[0][f"saturation/{name}"] == pytest.approx(expected, abs=1e-3)


def test_saturation_is_the_same_beside_any_neighbour_and_on_the_page() -> None:
    """Max pooling comes before a monotone activation, and behind it beside one that is not."""
    config = RunConfig(activation="relu")
    arch, (images, labels) = architecture(config.model), pictures()
    weights = {name: 4 * weight for name, weight in initial_weights(arch, 0).items()}
    alone = Stack(arch, [config], [weights])
    beside = Stack(arch, [config, replace(config, activation="gelu")], [weights, weights])
    assert (alone.pool_first, beside.pool_first) == (True, False)
    figures = alone.evaluate(images, labels)[0]
    assert beside.evaluate(images, labels)[0] == pytest.approx(figures, abs=1e-6)
    maps = activations(load_network(arch, "relu", "max", weights), images)
    for name in ("c1", "c3", "fc5", "fc6"):
        shares = [fact.saturated for fact in channel_facts(maps[name], "relu")]
        assert figures[f"saturation/{name}"] == pytest.approx(sum(shares) / len(shares), abs=1e-6)
