"""Changes as text, and as the network with its weights changed by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import ARCHITECTURES, architecture, initial_weights
from cnnviz.errors import ConfigError
from cnnviz.inspection.cells import scan
from cnnviz.inspection.edits import Change, ablated, changeable, changed, parse, transplanted
from cnnviz.inspection.network import Network, activations, load_network, output_step, predict
from cnnviz.modules import Addition
from tests.helpers.architectures import BLOCKS, STUDY

IMAGES = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def weights(seed: int, model: str = "lenet5x5") -> dict[str, Tensor]:
    return {name: 2 * weight for name, weight in initial_weights(architecture(model), seed).items()}


def network(seed: int = 0, model: str = "lenet5x5") -> Network:
    return load_network(architecture(model), "tanh", "max", weights(seed, model))


def no_means(layer: str) -> Tensor:
    raise AssertionError(f"nobody holds a channel of {layer} at its mean")


@pytest.mark.parametrize("text", ["c3.12:off", "c3.2:mean", "fc5.0:other", "s2.1:off", "c1.0:epoch-4"])
def test_a_change_is_its_text(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", ["", "c3", "c3.x:off", "c3.1:epoch", "c3.1:off;rm", "../c3.1:off"])
def test_other_text_is_no_change(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a change: write"):
        parse(text)


def test_a_change_in_words() -> None:
    assert parse("c3.12:epoch-4").words == "c3 · 12 from epoch 4"
    assert parse("c3.12:other").words == "c3 · 12 from the other network"
    assert parse("c3.12:off").words == "c3 · 12 off (zero)"
    assert parse("c3.12:mean").words == "c3 · 12 held at its mean"


@pytest.mark.parametrize("layer", ["c1", "c3", "fc5", "fc7"])
def test_a_transplant_is_the_weights_copied_by_hand(layer: str) -> None:
    mine, theirs = weights(0), weights(1)
    for name in (f"{layer}.weight", f"{layer}.bias"):
        mine[name][[0, 3]] = theirs[name][[0, 3]]
    expected = predict(load_network(architecture("lenet5x5"), "tanh", "max", mine), IMAGES).logits
    host, donor = network(0), network(1)
    before = predict(host, IMAGES).logits
    seen = predict(transplanted(host, donor, layer, [3, 0]), IMAGES).logits
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(predict(host, IMAGES).logits, before)
    assert not torch.allclose(seen, before)


def test_changes_of_several_kinds_go_together() -> None:
    mine, theirs = weights(0), weights(1)
    for name in ("c1.weight", "c1.bias"):
        mine[name][2] = theirs[name][2]
    mine["c3.weight"][:, 4] = 0
    mine["fc6.weight"][:, [7, 9]] = 0
    expected = predict(load_network(architecture("lenet5x5"), "tanh", "max", mine), IMAGES).logits
    asked: list[Change] = []

    def donor(change: Change) -> Network:
        asked.append(change)
        return network(1)

    changes = [parse(text) for text in ("fc5.7:off", "c1.2:epoch-4", "c1.4:off", "fc5.9:off")]
    seen = changed(network(0), changes, donor, no_means)
    torch.testing.assert_close(predict(seen, IMAGES).logits, expected, rtol=1e-5, atol=1e-5)
    assert [change.epoch for change in asked] == [4]
    assert changed(network(0), [], donor, no_means).arch == network(0).arch


def test_a_channel_both_replaced_and_off_is_off() -> None:
    seen = changed(network(0), [parse("c1.2:off"), parse("c1.2:other")], lambda change: network(1), no_means)
    assert (activations(seen, IMAGES)["c1_activation"].values[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("layer", "channel", "donor", "message"),
    [
        ("s2", 0, "lenet5x5", "has no weights"),
        ("c1", 0, "lenet3x3", "does not fit"),
        ("fc5", 0, "f30", "does not fit"),
        ("c1", 6, "lenet5x5", "has no channel 6"),
    ],
)
def test_what_cannot_be_transplanted(layer: str, channel: int, donor: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transplanted(network(), network(1, donor), layer, [channel])


def larger(model: str) -> dict[str, Tensor]:
    # Three times PyTorch's weights: its own hardly bend an activation.
    return {name: 3 * weight for name, weight in initial_weights(architecture(model), seed=0).items()}


@pytest.mark.parametrize("model", STUDY)
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_silenced_channel_is_one_whose_outgoing_weights_are_zero(model: str, activation: str) -> None:
    arch, silent = ARCHITECTURES[model], [0, 2]
    net = load_network(arch, activation, arch.pooling, larger(model))
    layers = arch.weight_layers
    for layer, following in itertools.pairwise(layers):
        weights = larger(model)
        incoming = weights[f"{following.name}.weight"]
        # A channel's columns of a fully connected layer lie together.
        by_channel = incoming.view(incoming.shape[0], layer.output[0], -1)
        by_channel[:, silent] = 0
        quiet = ablated(net, layer.name, silent)
        expected = predict(load_network(arch, activation, arch.pooling, weights), IMAGES).logits
        torch.testing.assert_close(predict(quiet, IMAGES).logits, expected, rtol=1e-5, atol=1e-5)
        assert (activations(quiet, IMAGES)[f"{layer.name}_activation"].values[:, silent] == 0).all()
        assert not torch.allclose(expected, predict(net, IMAGES).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["c1", "c2", "c3", "a4", "c6", "a7", "g9", "fc10"])
def test_a_silenced_channel_of_a_network_with_blocks_is_zero_wherever_it_is_read(layer: str) -> None:
    arch = architecture(BLOCKS)
    net = load_network(arch, "sigmoid", "max", larger(BLOCKS))
    quiet = ablated(net, layer, [1, 2])
    steps: dict[str, Tensor] = {}
    x = data.normalise(IMAGES)
    for name, child in net.module.named_children():
        x = child(x, steps[child.source]) if isinstance(child, Addition) else child(x)
        if name == output_step(arch.layer(layer)):
            x[:, [1, 2]] = 0
        steps[name] = x
    torch.testing.assert_close(predict(quiet, IMAGES).logits, x)
    assert not torch.allclose(x, predict(net, IMAGES).logits, rtol=1e-5, atol=1e-5)


def test_a_transplant_into_a_block_is_the_weights_copied_by_hand() -> None:
    mine, theirs = larger(BLOCKS), weights(1, BLOCKS)
    host, donor = (load_network(architecture(BLOCKS), "tanh", "max", each) for each in (mine, theirs))
    for name in ("c6.weight", "c6.bias"):
        mine[name][[0, 3]] = theirs[name][[0, 3]]
    expected = predict(load_network(architecture(BLOCKS), "tanh", "max", mine), IMAGES).logits
    torch.testing.assert_close(predict(transplanted(host, donor, "c6", [3, 0]), IMAGES).logits, expected)
    with pytest.raises(ConfigError, match="a4 has no weights to replace"):
        transplanted(host, donor, "a4", [0])
    names = [layer.name for layer in changeable(architecture(BLOCKS))]
    assert names == ["c1", "c2", "c3", "a4", "c5", "c6", "a7", "fc10"]


def test_ablations_add_up_and_pooled_maps_can_be_silenced_too() -> None:
    net = load_network(ARCHITECTURES["lenet5x5"], "tanh", "max", larger("lenet5x5"))
    together = predict(ablated(net, "c3", [1, 5]), IMAGES).logits
    one_by_one = predict(ablated(ablated(net, "c3", [5]), "c3", [1]), IMAGES).logits
    torch.testing.assert_close(together, one_by_one)
    torch.testing.assert_close(together, predict(ablated(net, "s4", [1, 5]), IMAGES).logits)
    torch.testing.assert_close(predict(ablated(net, "c1", []), IMAGES).logits, predict(net, IMAGES).logits)


@pytest.mark.parametrize("layer", ["c1", "c3", "s4", "fc5"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_a_channel_held_at_its_mean_adds_what_it_adds_on_average(layer: str, activation: str) -> None:
    """By hand: its outgoing weights are zero, and what they made of its mean is in the next biases."""
    arch = ARCHITECTURES["lenet5x5"]
    net = load_network(arch, activation, "max", larger("lenet5x5"))
    step = layer if layer == "s4" else f"{layer}_activation"
    means = scan(net, IMAGES, step).means
    every = activations(net, IMAGES)[step].values
    torch.testing.assert_close(means, every.mean((0, 2, 3) if every.ndim == 4 else 0), rtol=1e-5, atol=1e-6)
    held = changed(
        net, [parse(f"{layer}.2:mean")], lambda change: net, lambda name: means if name == layer else means * 0
    )
    following = {"c1": "c3", "c3": "fc5", "s4": "fc5", "fc5": "fc6"}[layer]
    weights = larger("lenet5x5")
    incoming = weights[f"{following}.weight"]
    by_channel = incoming.view(incoming.shape[0], arch.layer(layer).output[0], -1)
    weights[f"{following}.bias"] += means[2] * by_channel[:, 2].sum(1)
    by_channel[:, 2] = 0
    expected = predict(load_network(arch, activation, "max", weights), IMAGES).logits
    torch.testing.assert_close(predict(held, IMAGES).logits, expected, rtol=1e-4, atol=1e-4)
    assert (activations(held, IMAGES)[step].values[:, 2] == means[2]).all()


def test_a_silenced_channel_hides_its_nan() -> None:
    weights = larger("lenet5x5")
    weights["c1.bias"][2] = math.nan
    net = load_network(ARCHITECTURES["lenet5x5"], "relu", "max", weights)
    assert predict(net, IMAGES).logits.isnan().all()
    assert predict(ablated(net, "c1", [2]), IMAGES).logits.isfinite().all()


@pytest.mark.parametrize(
    ("layer", "channels", "message"),
    [
        ("fc7", [0], "holds the logits"),
        ("c1", [6], "has no channel 6: choose from 0 to 5"),
        ("c9", [0], "no layer 'c9'"),
    ],
)
def test_what_cannot_be_silenced(layer: str, channels: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ablated(network(), layer, channels)


def test_a_channel_that_is_not_there_cannot_be_held_at_its_mean() -> None:
    with pytest.raises(ConfigError, match="has no channel 6"):
        changed(network(), [parse("c1.6:mean")], lambda change: network(), no_means)
