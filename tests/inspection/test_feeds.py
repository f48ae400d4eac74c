"""What a channel is made from, against a cell's own arithmetic."""

import torch

from cnnviz.architectures import architecture, initial_weights
from cnnviz.inspection.cells import explain
from cnnviz.inspection.feeds import STRONGEST, feeds
from cnnviz.inspection.network import activations, load_network, step_names
from tests.helpers.architectures import BLOCKS

IMAGE = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_feeds_are_those_of_the_arithmetic_of_a_cell() -> None:
    for model in ("lenet5x5", BLOCKS, "f30"):
        arch = architecture(model)
        net = load_network(arch, "tanh", "max", initial_weights(arch, seed=0))
        found = feeds(net, IMAGE, activations(net, IMAGE[None]))
        assert list(found) == list(step_names(arch))
        for step, feed in found.items():
            cell = explain(net, IMAGE, step, 3)
            if feed.kind == "same":
                assert cell.operation.endswith("pooling") or cell.operation == "addition" or cell.activation
                sums = {"a4": "c1_activation", "a7": "a4_activation"} if model == BLOCKS else {}
                assert feed.shortcut == sums.get(step, "")
            elif feed.kind == "kernels":
                assert feed.kernels is not None
                assert cell.weights is not None
                assert torch.equal(feed.kernels[3], cell.weights)
            else:
                assert feed.sources is not None
                assert feed.shares is not None
                terms = [term for name, term in cell.terms if name != "bias"]
                whole = sum(abs(term) for term in terms)
                strongest = sorted(range(len(terms)), key=lambda index: -abs(terms[index]))[:STRONGEST]
                assert feed.sources[3].tolist() == strongest
                expected = torch.tensor([terms[index] / whole for index in strongest])
                torch.testing.assert_close(feed.shares[3], expected, rtol=1e-3, atol=1e-4)
    assert {feed.kind for feed in found.values()} == {"same", "shares"}
