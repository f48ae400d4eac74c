"""Recorded networks come back, and no more of them stay than may."""

import pytest
import torch

from cnnviz import data
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError
from cnnviz.inspection import edits, recorded
from cnnviz.inspection.cells import as_input
from cnnviz.inspection.network import predict
from cnnviz.store import artifacts, changes, reading
from cnnviz.store.runs import Run


def trained(epochs: int) -> Run:
    (run_id,) = changes.schedule([RunConfig(model="lenet3x3", activation="relu")], "cpu")
    for epoch in range(epochs):
        artifacts.save_checkpoint(run_id, epoch, initial_weights(architecture("lenet3x3"), epoch), {})
    return reading.run(run_id)


def test_a_network_comes_back_and_stays() -> None:
    run = trained(2)
    network = recorded.load(run, 1)
    assert (network.arch.name, network.activation) == ("lenet3x3", "relu")
    expected = initial_weights(architecture("lenet3x3"), 1)["c3.weight"]
    assert torch.equal(network.module.get_parameter("c3.weight"), expected)
    assert recorded.load(run, 1) is network
    assert recorded.load(run, 0) is not network


def test_a_network_is_shown_pixels_as_it_was_trained_on() -> None:
    (run_id,) = changes.schedule([RunConfig(normalise="standard", dataset="synthetic")], "cpu")
    weights = initial_weights(architecture("lenet5x5"), 0)
    artifacts.save_checkpoint(run_id, 0, weights, {})
    network = recorded.load(reading.run(run_id), 0)
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = data.normalise(images, data.scale_of("standard", "synthetic"))
    assert torch.equal(predict(network, images).logits, network.module(x))
    assert torch.equal(as_input(network, images[0]), x[0])
    off = edits.ablated(network, "c1", [0])
    assert torch.equal(predict(off, images).logits, off.module(x))


def test_the_least_recently_used_networks_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(3)
    monkeypatch.setattr(recorded, "MOST_BYTES", 2 * 4 * run.architecture.parameters)
    first, second = recorded.load(run, 0), recorded.load(run, 1)
    assert recorded.load(run, 0) is first
    recorded.load(run, 2)
    assert recorded.load(run, 0) is first
    assert recorded.load(run, 1) is not second
    monkeypatch.setattr(recorded, "MOST_BYTES", 0)
    assert recorded.load(run, 2) is recorded.load(run, 2)


def test_an_epoch_that_was_not_kept_is_one_line() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 7; kept are: 0, 1"):
        recorded.load(trained(2), 7)


@pytest.mark.parametrize(("wanted", "nearest"), [(0, 2), (2, 2), (5, 4), (99, 9)])
def test_the_nearest_epoch_is_the_last_one_before(wanted: int, nearest: int) -> None:
    assert recorded.nearest_epoch([2, 4, 9], wanted) == nearest
