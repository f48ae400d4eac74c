"""Maps and predictions against a forward pass written out by hand."""

import itertools
import math
import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cnnviz import data
from cnnviz.architectures import (
    ACTIVATIONS,
    ARCHITECTURES,
    POOLINGS,
    architecture,
    build,
    initial_weights,
    normalised,
)
from cnnviz.errors import CheckpointError, ConfigError
from cnnviz.inspection.network import (
    LayerMaps,
    Network,
    accuracy,
    activations,
    channel_facts,
    layer_maps,
    load_network,
    predict,
    step_names,
)
from tests.helpers.architectures import BLOCKS, STUDY
from tests.helpers.drawn import maps_of

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "relu": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x / 2 * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + (-x).exp()),
}
SLOPES = {
    "sigmoid": lambda x: FUNCTIONS["sigmoid"](x) * (1 - FUNCTIONS["sigmoid"](x)) / 0.25,
    "tanh": lambda x: 1 - FUNCTIONS["tanh"](x) ** 2,
    "relu": lambda x: (x > 0).double(),
}
IMAGES = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def weights_of(model: str) -> dict[str, Tensor]:
    # Three times PyTorch's weights: its own hardly bend an activation.
    return {name: 3 * weight for name, weight in initial_weights(architecture(model), seed=0).items()}


def network(model: str = "lenet5x5", activation: str = "tanh", pooling: str = "max") -> Network:
    return load_network(architecture(model), activation, pooling, weights_of(model))


def by_hand(model: str, activation: str, pooling: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    act, pool = FUNCTIONS[activation], F.max_pool2d if pooling == "max" else F.avg_pool2d
    w = {name: weight.double() for name, weight in weights.items()}
    x = IMAGES.permute(0, 3, 1, 2).double() / 127.5 - 1
    maps: dict[str, Tensor] = {}
    brought = x
    if model == BLOCKS:
        for c, stride, block in (("c1", 2, 0), ("c2", 1, 1), ("c3", 1, 2), ("c5", 2, 1), ("c6", 1, 2)):
            brought = brought if block == 2 else x
            maps[c] = x = F.conv2d(x, w[f"{c}.weight"], w[f"{c}.bias"], stride, 1)
            if block == 2:
                every = brought.shape[2] // x.shape[2]
                cut = brought[:, :, ::every, ::every]
                c = f"a{int(c[1:]) + 1}"
                x = x.clone()
                x[:, : cut.shape[1]] += cut
                maps[c] = x
            maps[f"{c}_activation"] = x = act(x)
        maps["s8"] = pool(x, 2, 2)
        maps["g9"] = maps["s8"].mean((2, 3))
        maps["fc10"] = maps["g9"] @ w["fc10.weight"].T + w["fc10.bias"]
        maps["fc10_activation"] = act(maps["fc10"])
        maps["fc11"] = maps["fc10_activation"] @ w["fc11.weight"].T + w["fc11.bias"]
        return maps
    stride, padding = (1, 1) if model == "conv5" else (2, 0)
    convs, pools, fcs = {
        "conv5": (["c1", "c3", "c5", "c7", "c9"], ["s2", "s4", "s6", "s8", "s10"], ["fc11", "fc12", "fc13"]),
    }.get(model, (["c1", "c3"], ["s2", "s4"], ["fc5", "fc6", "fc7"]))
    for c, s in zip(convs, pools, strict=True):
        maps[c] = F.conv2d(x, w[f"{c}.weight"], w[f"{c}.bias"], padding=padding)
        maps[f"{c}_activation"] = act(maps[c])
        maps[s] = x = pool(maps[f"{c}_activation"], 2, stride)
    x = x.reshape(len(x), -1)
    for fc in fcs:
        maps[fc] = x = x @ w[f"{fc}.weight"].T + w[f"{fc}.bias"]
        if fc != fcs[-1]:
            maps[f"{fc}_activation"] = x = act(x)
    return maps


@pytest.mark.parametrize(
    ("model", "activation", "pooling"), list(itertools.product((*STUDY, BLOCKS), ACTIVATIONS, POOLINGS))
)
def test_every_map_is_what_the_arithmetic_says(model: str, activation: str, pooling: str) -> None:
    expected = by_hand(model, activation, pooling, weights_of(model))
    seen = activations(network(model, activation, pooling), IMAGES)
    assert list(seen) == list(expected)
    for name, maps in seen.items():
        scale = expected[name].abs().max()
        torch.testing.assert_close(maps.values.double() / scale, expected[name] / scale, rtol=1e-5, atol=1e-5)
        assert maps.name == name
        assert maps.layer.name == name.split("_")[0]
        assert maps.values.shape[1:] == maps.layer.output
        assert (maps.low, maps.high) == (maps.values.min(), maps.values.max())


def test_predictions_are_the_last_maps_and_sum_to_one() -> None:
    net = network()
    prediction = predict(net, IMAGES)
    torch.testing.assert_close(prediction.logits, activations(net, IMAGES)["fc7"].values)
    exponentials = prediction.logits.double().exp()
    expected = exponentials / exponentials.sum(1, keepdim=True)
    torch.testing.assert_close(prediction.probabilities.double(), expected, rtol=1e-5, atol=1e-6)
    for row, top in zip(expected.tolist(), prediction.top(3), strict=True):
        order = sorted(range(10), key=lambda index: -row[index])[:3]
        assert [index for index, _ in top] == order
        assert [share for _, share in top] == pytest.approx([row[index] for index in order], abs=1e-6)
    assert prediction.classes.tolist() == [top[0][0] for top in prediction.top(1)]


def test_a_perfect_network_trained_with_mse_has_a_flat_softmax() -> None:
    # The 23 % that the docstring of Prediction.probabilities names.
    assert torch.eye(10).softmax(1).max().item() == pytest.approx(0.232, abs=1e-3)


def test_many_pictures_go_through_in_batches() -> None:
    net, many = network(), IMAGES.repeat(121, 1, 1, 1)
    logits = predict(net, many).logits
    torch.testing.assert_close(logits, predict(net, IMAGES).logits.repeat(121, 1))
    labels = logits.argmax(1)
    labels[::4] = (labels[::4] + 1) % 10
    assert accuracy(net, many, labels) == pytest.approx(1 - 152 / 605)


def test_threads_on_one_network_each_get_their_own_maps() -> None:
    net = network("lenet3x3", "relu")
    expected = [activations(net, image[None])["c3"].values for image in IMAGES]
    wrong: list[int] = []

    def look(index: int) -> None:
        for _ in range(20):
            if not torch.allclose(activations(net, IMAGES[index, None])["c3"].values, expected[index], atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=look, args=(index,)) for index in range(len(IMAGES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_step_alone_is_that_step_and_its_name_must_be_right() -> None:
    net = network("lenet3x3", "relu")
    every = activations(net, IMAGES)
    for step in step_names(net.arch):
        assert torch.equal(layer_maps(net, IMAGES, step).values, every[step].values)
    with pytest.raises(ConfigError, match="no step 'c9': choose one of c1, c1_activation, s2"):
        layer_maps(net, IMAGES, "c9")


def test_spread_is_what_varies_within_a_map() -> None:
    layer = ARCHITECTURES["lenet5x5"].layers[0]
    flat = torch.tensor([0.1, 0.9]).view(1, 2, 1, 1).expand(1, 2, 4, 4)  # two maps, each of one value
    assert LayerMaps("c1", layer, flat).spread == 0
    stripes = torch.tensor([-1.0, 1.0]).expand(1, 2, 3, 2)
    assert LayerMaps("c1", layer, stripes).spread == pytest.approx(1)
    assert LayerMaps("c1", layer, torch.cat([flat[..., :2], stripes[..., :1, :].expand(1, 2, 4, 2)], 1)).spread == (
        pytest.approx(math.sqrt(0.5))
    )
    assert LayerMaps("fc7", layer, torch.tensor([[1.0, 3.0]])).spread == pytest.approx(1)
    assert math.isnan(LayerMaps("c1", layer, torch.full((1, 2, 3, 3), math.nan)).spread)


def test_looking_leaves_nothing_behind() -> None:
    weights, generator = weights_of("lenet5x5"), torch.get_rng_state()
    net = load_network(ARCHITECTURES["lenet5x5"], "tanh", "max", weights)
    activations(net, IMAGES)
    assert torch.equal(torch.get_rng_state(), generator)
    for module in net.module.modules():
        assert not module._forward_hooks
        assert not module.training
    assert not any(parameter.requires_grad for parameter in net.module.parameters())
    weights["c1.weight"].zero_()
    assert net.module.get_parameter("c1.weight").abs().max() > 0


def test_channel_facts_of_a_dead_a_constant_and_a_diverged_channel() -> None:
    weights = weights_of("lenet5x5")
    weights["c1.bias"][0] = -100.0
    weights["c1.weight"][1] *= 1e-4  # varies, but by less than a colour shows
    weights["c1.bias"][1] = 0.5
    weights["c1.bias"][2] = math.nan
    net = load_network(ARCHITECTURES["lenet5x5"], "relu", "max", weights)
    one = channel_facts(activations(net, IMAGES[:1])["c1"], "relu")
    assert [fact.dead for fact in one] == [True, False, False, False, False, False]
    assert [fact.constant for fact in one] == [True, True, False, False, False, False]
    assert [fact.diverged for fact in one] == [False, False, True, False, False, False]
    assert one[0].badges == ("zero on this picture",)
    assert one[1].badges == ("one value all over this picture",)
    assert one[2].badges == ("not finite on this picture",)
    assert channel_facts(activations(net, IMAGES)["c1"], "relu")[0].badges == ("zero on these 5 pictures",)


@pytest.mark.parametrize("activation", SLOPES)
@pytest.mark.parametrize("layer", ["c1", "fc5"])
def test_saturation_is_the_share_of_flat_cells(activation: str, layer: str) -> None:
    net = network(activation=activation)
    maps = activations(net, IMAGES)
    facts = channel_facts(maps[layer], activation)
    values = maps[layer].values.double()
    flat = (SLOPES[activation](values) < 0.05).double().transpose(0, 1).flatten(1).mean(1)
    assert [fact.saturated for fact in facts] == pytest.approx(flat.tolist(), abs=1e-3)
    outputs = FUNCTIONS[activation](values).transpose(0, 1).flatten(1)
    assert [fact.mean for fact in facts] == pytest.approx(outputs.mean(1).tolist(), abs=1e-5)
    assert [fact.high for fact in facts] == pytest.approx(outputs.amax(1).tolist(), abs=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_flat_cells_are_saturated_or_inactive_by_their_activation(activation: str) -> None:
    values = torch.full((1, 1, 2, 2), -9.0)
    values[0, 0, 0, 0] = 9.0  # in part, so that it is neither dead nor constant
    (fact,) = channel_facts(maps_of(values), activation)
    word = "saturated" if activation in ("sigmoid", "tanh") else "inactive"
    share = "100 %" if activation in ("sigmoid", "tanh") else "75 %"
    assert fact.badges == (f"{share} {word} on this picture",)


def test_one_unit_on_one_picture_is_not_called_constant() -> None:
    facts = channel_facts(activations(network(), IMAGES[:1])["fc5"], "tanh")
    assert not any(fact.constant for fact in facts)


@pytest.mark.parametrize("name", ["s2", "c1_activation"])
def test_facts_need_the_maps_before_an_activation(name: str) -> None:
    with pytest.raises(ConfigError, match="has no activation after it"):
        channel_facts(activations(network(), IMAGES)[name], "tanh")


def test_the_range_of_diverged_maps_is_that_of_their_finite_values() -> None:
    weights = weights_of("lenet5x5")
    weights["c1.bias"][2] = math.nan
    maps = activations(load_network(ARCHITECTURES["lenet5x5"], "relu", "max", weights), IMAGES)
    assert maps["c1"].high == pytest.approx(maps["c1"].values.nan_to_num(-1e9).max().item())
    assert (maps["fc7"].low, maps["fc7"].high) == (0.0, 0.0)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"not lenet3x3's \(c1\.weight differs\): choose"):
        load_network(ARCHITECTURES["lenet3x3"], "tanh", "max", weights_of("lenet5x5"))


@pytest.mark.parametrize("images", [IMAGES[0], IMAGES.float(), IMAGES.permute(0, 3, 1, 2)])
def test_pictures_of_another_shape_or_kind_are_refused(images: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"must be uint8 \(N, 32, 32, 3\), not"):
        predict(network(), images)


@pytest.mark.parametrize("model", ["lenet5x5", "conv5", "f30-f20"])
def test_batch_norm_is_folded_into_the_weights(model: str) -> None:
    """Every step in evaluation mode, against the module with batch norm."""
    arch = normalised(architecture(model))
    module = build(arch, "tanh", arch.pooling).eval()
    generator = torch.Generator().manual_seed(0)
    weights = {name: 3 * each for name, each in initial_weights(arch, 0).items()}
    for name in weights:
        if "norm" in name:
            weights[name] = 0.2 + torch.rand(weights[name].shape, generator=generator)
    module.load_state_dict(weights, strict=False)
    network = load_network(arch, "tanh", arch.pooling, weights)
    assert network.arch == architecture(model)
    x, expected = data.normalise(IMAGES), {}
    with torch.no_grad():
        for name, child in module.named_children():
            x = child(x)
            expected[name.removesuffix("_norm")] = x
    found = activations(network, IMAGES)
    assert found.keys() == expected.keys() - {"flatten"}
    for name, maps in found.items():
        assert torch.allclose(maps.values, expected[name], atol=1e-4, rtol=1e-4), name


def test_a_checkpoint_without_its_batch_norm_does_not_fit() -> None:
    arch = normalised(ARCHITECTURES["lenet5x5"])
    with pytest.raises(CheckpointError, match=r"norm.* differs"):
        load_network(arch, "tanh", "max", weights_of("lenet5x5"))
