import json
import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

from cnnviz.architectures import (
    ACTIVATIONS,
    ARCHITECTURES,
    INITS,
    Architecture,
    Conv,
    Interval,
    architecture,
    build,
    flat_word,
    initial_weights,
    normalised,
    wider,
)
from cnnviz.errors import ConfigError
from cnnviz.modules import walk
from tests.helpers.architectures import BLOCKS, STUDY, spelled, with_blocks

PARAMETERS = {
    "lenet5x5": {"c1": 456, "c3": 2_416, "fc5": 48_120, "fc6": 10_164, "fc7": 850},
    "lenet3x3": {"c1": 168, "c3": 880, "fc5": 69_240, "fc6": 10_164, "fc7": 850},
    "conv5": {
        "c1": 168,
        "c3": 660,
        "c5": 2_616,
        "c7": 10_416,
        "c9": 41_568,
        "fc11": 8_398_200,
        "fc12": 10_164,
        "fc13": 850,
    },
}
NAMES = {
    "lenet5x5": "c1 s2 c3 s4 fc5 fc6 fc7",
    "lenet3x3": "c1 s2 c3 s4 fc5 fc6 fc7",
    "conv5": "c1 s2 c3 s4 c5 s6 c7 s8 c9 s10 fc11 fc12 fc13",
}


@pytest.mark.parametrize("name", STUDY)
def test_layer_tables_are_the_studys(name: str) -> None:
    arch = architecture(name)
    assert {layer.name: layer.parameters for layer in arch.weight_layers} == PARAMETERS[name]
    assert " ".join(layer.name for layer in arch.layers) == NAMES[name]


def test_lenet3x3_has_81302_parameters_and_576_inputs_to_fc5() -> None:
    assert architecture("lenet3x3").parameters == 81_302
    assert architecture("lenet3x3").weight_shapes["fc5.weight"] == (120, 576)


def check_layer_table(name: str) -> None:
    arch = architecture(name)
    module = build(arch, "tanh", arch.pooling)
    shapes: dict[str, tuple[int, ...]] = {}
    adds: dict[str, int] = {}
    x = torch.zeros(1, 3, 32, 32)

    def note(name: str, child: nn.Module, y: Tensor) -> None:
        shapes[name] = tuple(y.shape[1:])
        if isinstance(child, nn.Conv2d | nn.Linear):
            adds[name] = child.weight.numel() * y[0].numel() // child.weight.shape[0]

    for name_, child in module.named_children():
        child.register_forward_hook(lambda child, _, y, name=name_: note(name, child, y))
    module(x)
    for layer in arch.layers:
        assert layer.output == shapes[layer.name]
        assert layer.multiply_adds == adds.get(layer.name, 0)
    assert arch.parameters == sum(each.numel() for each in module.parameters())
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == arch.weight_shapes


@pytest.mark.parametrize("name", [*ARCHITECTURES, "c8k3p1-c8k3-s1-c4k5p2-s2-f30", "f50", "c5k32"])
def test_layer_table_agrees_with_the_module(name: str) -> None:
    check_layer_table(name)


@given(spelled | with_blocks)
@settings(max_examples=60)
def test_any_layer_table_agrees_with_the_module(name: str) -> None:
    check_layer_table(name)


def seen_by(cell: Tensor, picture: Tensor) -> tuple[Interval, Interval]:
    """Rows and columns of the picture at which the cell's gradient is not zero; (0, 0) if there are none."""
    (grad,) = torch.autograd.grad(cell, picture, retain_graph=True)
    touched = grad[0].abs().sum(0)
    spans = [touched.sum(dim).nonzero().flatten().tolist() for dim in (1, 0)]
    rows, columns = ((span[0], span[-1] + 1) if span else (0, 0) for span in spans)
    return rows, columns


def check_receptive_fields(name: str) -> None:
    """Of the corners, the middle and a few cells more of every layer."""
    arch = architecture(name)
    module = build(arch, "sigmoid", "avg").double()
    for weight in module.parameters():  # positive, and small enough for no slope to vanish
        nn.init.constant_(weight, 1 / weight[0].numel())
    picture = torch.rand(1, 3, 32, 32, dtype=torch.double, requires_grad=True)
    for step, _, x in walk(module, picture):
        layer = next((each for each in arch.layers if each.name == step), None)
        if layer is None:
            continue
        if x.ndim == 2:
            assert seen_by(x[0, -1], picture) == layer.fields * 2, layer.name
            continue
        last = x.shape[2] - 1
        sample = sorted({0, 1, last // 3, last // 2, last - 1, last} & set(range(last + 1)))
        for row, column in [*zip(sample, sample, strict=True), (0, last), (last, last // 2)]:
            found = seen_by(x[0, 0, row, column], picture)
            expected = (layer.fields[row], layer.fields[column])
            if (0, 0) in expected:  # padding alone, in one direction at least
                expected = ((0, 0), (0, 0))
            assert found == expected, (layer.name, row, column)


@pytest.mark.parametrize(
    "name", ["lenet5x5", "lenet3x3", "conv5", "c8k3p1-s2-c8k3p1-s1-c4k5p2-s2-f30", "c3k1p1-s2", BLOCKS]
)
def test_receptive_fields_are_where_the_gradient_reaches(name: str) -> None:
    check_receptive_fields(name)


@given(spelled | with_blocks)
@settings(max_examples=60)
def test_receptive_fields_of_any_network_are_where_the_gradient_reaches(name: str) -> None:
    check_receptive_fields(name)


def test_pooling_may_leave_the_border_of_the_picture_out() -> None:
    sizes = {layer.name: layer.receptive_field for layer in architecture("lenet3x3").layers}
    assert sizes == {"c1": 3, "s2": 4, "c3": 8, "s4": 10, "fc5": 30, "fc6": 30, "fc7": 30}


def test_an_architecture_survives_json() -> None:
    for arch in (architecture("conv5"), normalised(architecture(BLOCKS))):
        assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    older = architecture("conv5").to_dict()
    del older["global_pooling"]
    for conv in older["convs"]:
        del conv["stride"], conv["residual"]
    assert Architecture.from_dict(older) == architecture("conv5")
    with pytest.raises(ConfigError):
        Architecture.from_dict({"name": "x"})


def test_spelled_out_lenet_is_lenet() -> None:
    assert architecture("c6k5-s2-c16k5-s2-f120-f84").weight_shapes == architecture("lenet5x5").weight_shapes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "not known"),
        ("", "not known"),
        ("c6k33", "larger than its 32×32 input"),
        ("c6k5-s2-c6k5-s2-c6k5-c6k5", "larger than its 1×1 input"),
        ("c6k32-s2", "1×1 map to pool"),
        ("s2-c6k5", "not known"),
        ("f10-c6k5", "not known"),
        ("c0k3", "1 to 1024 channels"),
        ("c6k0", "kernel of at least 1×1"),
        ("f0", "1 to 10,000 units"),
        ("c1024k3p1-f10000", "more than the"),
        ("r16", "begin with a convolution such as c16k3p1"),
        ("c16k3p1-r8", "a block of 8 maps cannot take over 16 from before it: give it 16 or more"),
        ("c16k3p1-r2000", "1 to 1024 channels"),
        ("c16k3p1t3", "not known"),
        ("g", "put a convolution before it, as in c16k3p1-g"),
        ("g-c16k3p1", "not known"),
        ("c16k3p1-f5-g", "not known"),
        ("c16k3p1-g-r16", "not known"),
        ("c16k3p1-g-s2", "not known"),
    ],
)
def test_impossible_architectures_say_why(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        architecture(name)
    assert "\n" not in str(caught.value)


def test_initial_weights_are_pytorchs_and_leave_the_generator_alone() -> None:
    torch.manual_seed(7)
    expected = build(architecture("lenet5x5"), "relu", "max").state_dict()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    weights = initial_weights(architecture("lenet5x5"), 7)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(expected[name], weights[name]) for name in expected)


def test_a_block_is_he_and_others() -> None:
    """Written out: batch norm after each convolution, a shortcut without weights, the activation after the sum."""
    arch = normalised(architecture("c4k3p1-r6t2-g"))
    assert [layer.name for layer in arch.layers] == ["c1", "c2", "c3", "a4", "g5", "fc6"]
    module = build(arch, "relu", "max").double().train()
    found = dict(module.named_children())
    images = torch.rand(4, 3, 32, 32, dtype=torch.double)
    x = functional.relu(found["c1_norm"](found["c1"](images)))
    y = found["c3_norm"](found["c3"](functional.relu(found["c2_norm"](found["c2"](x)))))
    brought = torch.zeros_like(y)
    brought[:, :4] = x[:, :, ::2, ::2]
    expected = found["fc6"](functional.relu(y + brought).mean((2, 3)))
    torch.testing.assert_close(module(images), expected)


def test_named_networks_are_what_they_are_named_after() -> None:
    assert (
        architecture("resnet-small").weight_shapes
        == architecture("c16k3p1-r16-r16-r32t2-r32-r64t2-r64-g").weight_shapes
    )
    vgg = architecture("c32k3p1-c32k3p1-s2-c64k3p1-c64k3p1-s2-c128k3p1-c128k3p1-s2-f128")
    assert architecture("vgg-small").layers == vgg.layers
    assert vgg.parameters == 550_570
    for depth in (8, 14):
        plain, residual = architecture(f"plain-{depth}"), architecture(f"residual-{depth}")
        assert len(plain.weight_layers) == len(residual.weight_layers) == depth
        assert (plain.parameters, plain.multiply_adds) == (residual.parameters, residual.multiply_adds)


def test_layer_by_name() -> None:
    assert architecture("lenet5x5").layer("c3").output == (16, 10, 10)
    with pytest.raises(ConfigError, match="c1, s2, c3"):
        architecture("lenet5x5").layer("c9")
    assert Conv(6, 5).padding == 0


def test_a_wider_network_has_twice_the_maps_and_units_of_all_but_the_logits() -> None:
    assert wider("lenet5x5") == "c12k5-s2-c32k5-s2-f240-f168"
    assert wider(BLOCKS) == "c8k3p1t2-r8-r12t2-s2-g-f14"
    for name in (*ARCHITECTURES, "c3k3p1-c4k5-s2-f9", "f20", "c2k3", BLOCKS):
        narrow, wide = architecture(name), architecture(wider(name))
        assert [layer.output[0] for layer in wide.layers[:-1]] == [2 * layer.output[0] for layer in narrow.layers[:-1]]
        assert [layer.output[1:] for layer in wide.layers] == [layer.output[1:] for layer in narrow.layers]
        assert wide.layers[-1].output == (10,)
    with pytest.raises(ConfigError, match="1 to 1024 channels"):
        wider("c600k3-f10")


def test_flat_units_are_saturated_only_between_two_ends() -> None:
    assert {name for name in ACTIVATIONS if flat_word(name) == "saturated"} == {"sigmoid", "tanh"}
    assert {flat_word(name) for name in ACTIVATIONS} == {"saturated", "inactive"}


@pytest.mark.parametrize("name", ["lenet5x5", "conv5", "c4k3p1-f20", "f10", BLOCKS])
def test_batch_norm_counts_and_is_in_the_checkpoint(name: str) -> None:
    arch = normalised(architecture(name))
    module = build(arch, "relu", arch.pooling, dropout=0.2, dropout_at="both")
    state = {key: tuple(value.shape) for key, value in module.state_dict().items() if "tracked" not in key}
    assert state == arch.weight_shapes
    assert arch.parameters == sum(weight.numel() for weight in module.parameters())
    assert Architecture.from_dict(arch.to_dict()) == arch
    older = {key: value for key, value in arch.to_dict().items() if key != "batch_norm"}
    assert Architecture.from_dict(older) == architecture(name)
    norms = [key for key in dict(module.named_children()) if key.endswith("_norm")]
    assert norms == [f"{layer.name}_norm" for layer in arch.weight_layers[:-1]]
    logits = module(torch.rand(4, 3, 32, 32))
    assert logits.shape == (4, 10)


def test_dropout_stands_behind_what_it_is_asked_for() -> None:
    arch = architecture("lenet5x5")
    for at, expected in (
        ("hidden", {"fc5_dropout", "fc6_dropout"}),
        ("maps", {"c1_dropout", "c3_dropout"}),
        ("both", {"c1_dropout", "c3_dropout", "fc5_dropout", "fc6_dropout"}),
    ):
        names = list(dict(build(arch, "tanh", "max", 0.5, at).named_children()))
        assert {name for name in names if name.endswith("_dropout")} == expected
        if "c1_dropout" in expected:
            assert names[names.index("s2") + 1] == "c1_dropout"
    names = list(dict(build(architecture(BLOCKS), "tanh", "max", 0.5, "maps").named_children()))
    assert [name for name in names if name.endswith("_dropout")] == [
        "c1_dropout",
        "c2_dropout",
        "a4_dropout",
        "c5_dropout",
        "a7_dropout",
    ]
    assert names[names.index("s8") + 1] == "a7_dropout"


@pytest.mark.parametrize("init", INITS)
def test_initial_weights_have_the_spread_that_their_name_says(init: str) -> None:
    weights = initial_weights(architecture("conv5"), 3, init)
    wide = weights["fc11.weight"]
    inputs, outputs = wide.shape[1], wide.shape[0]
    he = math.sqrt(2 / inputs)
    expected = {
        "default": 1 / math.sqrt(3 * inputs),
        "xavier": math.sqrt(2 / (inputs + outputs)),
        "he": he,
        "orthogonal": 1 / math.sqrt(inputs),
        "small": 0.1 * he,
        "large": 3 * he,
        "zero": 0.0,
    }[init]
    assert float(wide.std()) == pytest.approx(expected, rel=0.01)
    if init == "orthogonal":
        assert torch.allclose(wide @ wide.T, torch.eye(outputs), atol=1e-4)
    if init != "default":
        assert not any(bool(each.any()) for name, each in weights.items() if name.endswith("bias"))
