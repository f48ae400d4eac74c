"""Changes as text, and as the network with its weights changed by hand."""

import pytest
import torch
from torch import Tensor

from cnnviz.architectures import architecture, initial_weights
from cnnviz.errors import ConfigError
from cnnviz.inspection.edits import Change, changed, parse, transplanted
from cnnviz.inspection.network import Network, activations, load_network, predict

IMAGES = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def weights(seed: int, model: str = "lenet5x5") -> dict[str, Tensor]:
    return {name: 2 * weight for name, weight in initial_weights(architecture(model), seed).items()}


def network(seed: int = 0, model: str = "lenet5x5") -> Network:
    return load_network(architecture(model), "tanh", "max", weights(seed, model))


@pytest.mark.parametrize("text", ["c3.12:off", "fc5.0:other", "s2.1:off", "c1.0:epoch-4"])
def test_a_change_is_its_text(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", ["", "c3", "c3.x:off", "c3.1:epoch", "c3.1:off;rm", "../c3.1:off"])
def test_other_text_is_no_change(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a change: write"):
        parse(text)


def test_a_change_in_words() -> None:
    assert parse("c3.12:epoch-4").words == "c3 · 12 from epoch 4"
    assert parse("c3.12:other").words == "c3 · 12 from the other network"
    assert parse("c3.12:off").words == "c3 · 12 off"


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
    seen = changed(network(0), changes, donor)
    torch.testing.assert_close(predict(seen, IMAGES).logits, expected, rtol=1e-5, atol=1e-5)
    assert [change.epoch for change in asked] == [4]
    assert changed(network(0), [], donor).arch == network(0).arch


def test_a_channel_both_replaced_and_off_is_off() -> None:
    seen = changed(network(0), [parse("c1.2:off"), parse("c1.2:other")], lambda change: network(1))
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
