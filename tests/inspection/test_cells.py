"""Cells, receptive fields and scans against arithmetic done again, slowly."""

import math

import pytest
import torch
from torch import Tensor

from cnnviz.architectures import architecture, initial_weights
from cnnviz.errors import ConfigError
from cnnviz.inspection import cells
from cnnviz.inspection.cells import Box, explain, kernel, receptive_field, scan
from cnnviz.inspection.edits import ablated, held_at
from cnnviz.inspection.network import Network, activations, load_network, step_names
from cnnviz.modules import walk
from tests.helpers.architectures import BLOCKS, STUDY

IMAGES = torch.randint(0, 256, (40, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(model: str = "lenet5x5", activation: str = "tanh", pooling: str = "max", gain: float = 2) -> Network:
    arch = architecture(model)
    weights = {name: gain * weight for name, weight in initial_weights(arch, seed=0).items()}
    return load_network(arch, activation, pooling, weights)


@pytest.mark.parametrize(
    ("model", "activation", "pooling"),
    [
        ("lenet5x5", "tanh", "max"),
        ("lenet3x3", "relu", "avg"),
        ("conv5", "sigmoid", "avg"),
        ("f30", "gelu", "max"),
        (BLOCKS, "relu", "max"),
    ],
)
def test_what_a_cell_was_made_of_adds_up_to_the_cell(model: str, activation: str, pooling: str) -> None:
    net = network(model, activation, pooling)
    for step, maps in activations(net, IMAGES[:1]).items():
        shape = maps.layer.output
        corners = [(0, 0), (shape[1] - 1, shape[2] - 1), (shape[1] // 2, 1)] if len(shape) == 3 else [(0, 0)]
        for row, column in corners:
            channel = shape[0] - 1
            cell = explain(net, IMAGES[0], step, channel, row, column)
            shown = maps.values[0][(channel, row, column)[: len(shape)]].item()
            assert cell.value == shown
            if cell.operation == "max pooling":
                assert cell.inputs.max().item() == shown
            elif cell.operation in ("average pooling", "global average pooling"):
                assert cell.inputs.mean().item() == pytest.approx(shown, abs=1e-6)
            else:
                assert sum(term for _, term in cell.terms) == pytest.approx(cell.summed, abs=1e-5)
                assert cell.expected == pytest.approx(shown, abs=1e-6)


def test_a_cell_is_written_out_in_numbers_that_can_be_added_up() -> None:
    net = network()
    text = explain(net, IMAGES[0], "c1_activation", 2, 5, 7).written_out().replace("−", "-")
    line, after = text.splitlines()
    where, arithmetic = line.split(": ")
    assert where == "c1[2] at row 5, column 7"
    left, right = arithmetic.split(" = ")
    numbers = [float(part.split(" [")[0]) for part in left.split(" + ")]
    assert [part.split("[")[1] for part in left.split(" + ")] == ["red]", "green]", "blue]", "bias]"]
    assert sum(numbers) == pytest.approx(float(right), rel=1e-3, abs=1e-3)
    assert after.startswith(f"tanh({right}) = ")
    assert float(after.split(" = ")[1]) == pytest.approx(math.tanh(float(right)), abs=1e-3)


def test_a_long_sum_names_its_largest_terms_and_adds_up_the_rest() -> None:
    text = explain(network(), IMAGES[0], "fc6", 3).written_out(most=4).replace("−", "-")
    left, right = text.split(": ")[1].split(" = ")
    assert "116 smaller" in left
    assert sum(float(part.split(" [")[0]) for part in left.split(" + ")) == pytest.approx(float(right), abs=2e-3)


def test_a_pooled_cell_is_written_out() -> None:
    text = explain(network(), IMAGES[0], "s2", 0, 1, 1).written_out()
    assert text.startswith("s2[0] at row 1, column 1 = max(")


def test_a_cell_of_a_block_s_sum_names_what_is_added() -> None:
    net = network(BLOCKS)
    before, brought = (activations(net, IMAGES[:1])[step].values[0] for step in ("c6", "a4_activation"))
    text = explain(net, IMAGES[0], "a7", 3, 1, 2).written_out().replace("−", "-")
    own, passed = float(before[3, 1, 2]), float(brought[3, 2, 4])
    assert text.startswith(f"a7[3] at row 1, column 2: {own:.4g} [map 3 of c6] + {passed:.4g} [map 3 of a4] = ")
    assert float(text.split(" = ")[1]) == pytest.approx(own + passed, rel=1e-3, abs=1e-3)
    text = explain(net, IMAGES[0], "a7", 5, 1, 2).written_out()
    assert "+ 0 [a4 has no map 5]" in text
    text = explain(net, IMAGES[0], "g9", 5).written_out()
    assert text.startswith("g9[5] = mean of all 4×4 cells of map 5 = ")


def test_a_channel_switched_off_or_held_says_so() -> None:
    cell = explain(ablated(network(), "c1", [2]), IMAGES[0], "c1_activation", 2, 5, 7)
    assert not cell.intact
    assert cell.written_out().endswith("switched off: 0")
    cell = explain(held_at(network(), "c1", {2: 0.25}), IMAGES[0], "c1_activation", 2, 5, 7)
    assert not cell.intact
    assert cell.written_out().endswith("held at 0.25")
    assert explain(network(), IMAGES[0], "c1_activation", 2, 5, 7).intact


@pytest.mark.parametrize("model", [*STUDY, BLOCKS])
def test_a_receptive_field_is_what_moves_the_cell_and_nothing_else(model: str) -> None:
    net = network(model, pooling="avg", gain=1)
    for layer in net.arch.conv_layers:
        row, column = layer.output[1] // 2, layer.output[2] - 1
        box = receptive_field(layer, row, column)
        pixels = torch.zeros(32, 32, dtype=torch.bool)
        pixels[box.top : box.bottom, box.left : box.right] = True
        image = IMAGES[0].float().div(127.5).sub(1).permute(2, 0, 1)[None].requires_grad_()
        for name, _, x in walk(net.module, image):  # noqa: B007
            if name == layer.name:
                break
        (gradient,) = torch.autograd.grad(x[0, :, row, column].sum(), image)
        assert torch.equal(gradient[0].abs().sum(0) > 0, pixels)


def test_a_receptive_field_ends_at_the_border() -> None:
    corner = receptive_field(architecture("conv5").layer("c1"), 0, 0)
    assert corner == Box(0, 0, 2, 2)
    assert str(corner) == "2×2 pixels, columns 0 to 1, rows 0 to 1"
    assert receptive_field(architecture("lenet5x5").layer("c3"), 0, 9) == Box(18, 0, 32, 14)
    assert receptive_field(architecture("lenet3x3").layer("fc5")) == Box(0, 0, 30, 30)
    alone = receptive_field(architecture("c3k1p1-s2").layer("c1"), 0, 5)
    assert alone.is_empty
    assert str(alone) == "no pixel: padding alone"


def test_kernels_are_the_weights_and_pooling_has_none() -> None:
    net = network()
    assert torch.equal(kernel(net, "c3", 4), net.module.get_parameter("c3.weight")[4])
    with pytest.raises(ConfigError, match="s2 has no kernel"):
        kernel(net, "s2", 0)


@pytest.mark.parametrize(
    ("step", "at"), [("c1", (6, 0, 0)), ("c1", (0, 28, 0)), ("fc5", (120, 0, 0)), ("c9", (0, 0, 0))]
)
def test_a_cell_that_is_not_there_is_one_line(step: str, at: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="has no"):
        explain(network(), IMAGES[0], step, *at)


@pytest.mark.parametrize(
    ("model", "step"),
    [
        *(("lenet5x5", step) for step in ("c1_activation", "s4", "fc6_activation", "fc7")),
        *((BLOCKS, step) for step in ("c3", "a4_activation", "s8", "g9")),
    ],
)
def test_a_scan_finds_the_top_pictures_and_counts_every_cell(
    model: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "BATCH", 16)  # three batches, the last one smaller
    net = network(model, activation="tanh")
    values = activations(net, IMAGES)[step].values
    flat = values.flatten(2) if values.ndim == 4 else values[:, :, None]
    reported: list[float] = []
    found = scan(net, IMAGES, step, reported.append)
    assert found.pictures == len(IMAGES)
    assert reported[-1] == 1
    peaks, order = flat.amax(2).T.topk(9)
    torch.testing.assert_close(found.peaks, peaks)
    for channel in range(flat.shape[1]):
        assert found.top[channel].tolist() == order[channel].tolist()
        picture, (row, column) = int(found.top[channel, 0]), found.places[channel, 0].tolist()
        cell = values[picture, channel, row, column] if values.ndim == 4 else values[picture, channel]
        assert cell == found.peaks[channel, 0]
        counted = torch.histogram(flat[:, channel].flatten(), found.edges).hist
        # a value on an edge may fall to either side of it
        assert (counted.long().cumsum(0) - found.counts[channel].cumsum(0)).abs().max() <= 2
        assert found.counts[channel].sum() == flat[:, channel].numel()
    assert torch.equal(found.low, flat.amin((0, 2)))


def test_saturated_units_are_ranked_by_their_sums() -> None:
    net = network(activation="tanh", gain=60)
    sums, values = (activations(net, IMAGES)[name].values for name in ("c3", "c3_activation"))
    assert int((values.flatten(2).amax(2)[:, 3] == 1).sum()) > 9, "many pictures are equal after the activation"
    found, pooled = scan(net, IMAGES, "c3_activation"), scan(net, IMAGES, "s4")
    order = sums.flatten(2).amax(2).T.topk(9).indices
    assert torch.equal(found.top, order)
    assert torch.equal(pooled.top, order)
    assert not found.tied.any()
    cell = found.places[3, 0].tolist()
    assert found.peaks[3, 0] == values[found.top[3, 0], 3, cell[0], cell[1]]


def test_a_choice_among_equal_pictures_is_said_to_be_arbitrary() -> None:
    net = network()
    net.module.get_parameter("c1.weight")[4] = 0
    found = scan(net, IMAGES, "c1_activation")
    assert found.tied.tolist() == [False] * 4 + [True, False]
    assert not scan(net, IMAGES[:9], "c1_activation").tied.any(), "all pictures are shown"


def test_a_scan_of_few_pictures_of_a_dead_and_a_diverged_channel() -> None:
    net = network(activation="relu")
    weights: dict[str, Tensor] = {name: weight.clone() for name, weight in net.module.state_dict().items()}
    weights["c1.bias"][0] = -1e3
    weights["c1.bias"][1] = math.nan
    found = scan(load_network(net.arch, "relu", "max", weights), IMAGES[:4], "c1_activation")
    assert found.top.shape == (6, 4)
    assert [found.is_dead(channel) for channel in range(3)] == [True, False, False]
    assert found.counts[1].sum() == 0
    assert found.counts[0].sum() == 4 * 28 * 28


def test_a_scan_reads_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SCAN_PICTURES", 8)
    monkeypatch.setattr(cells, "SCAN_CELLS", 20 * 6 * 28 * 28)
    assert scan(network(), IMAGES, "c1").pictures == 20


def test_every_step_has_a_name() -> None:
    net = network("conv5")
    assert step_names(net.arch) == tuple(activations(net, IMAGES[:1]))
    assert step_names(architecture("f30")) == ("fc1", "fc1_activation", "fc2")
