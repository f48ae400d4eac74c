import torch

from cnnviz.architectures import architecture, initial_weights
from cnnviz.inspection.film import MOST_CHANNELS, frame
from cnnviz.inspection.network import activations, load_network, predict

PICTURE = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_frame_is_what_the_network_does_with_the_picture() -> None:
    weights = initial_weights(architecture("lenet5x5"), 0)
    network = load_network(architecture("lenet5x5"), "tanh", "max", weights)
    seen = frame(network, 3, PICTURE)
    assert seen.kernels is not None
    assert torch.equal(seen.kernels, weights["c1.weight"])
    assert seen.maps is not None
    assert torch.equal(seen.maps, activations(network, PICTURE[None])["c1_activation"].values[0])
    ((best, probability),) = predict(network, PICTURE[None]).top(1)[0]
    assert (seen.epoch, seen.predicted) == (3, best)
    assert abs(seen.probability - probability) < 1e-6


def test_a_diverged_network_predicts_nothing_and_one_without_convolutions_has_no_maps() -> None:
    weights = initial_weights(architecture("lenet5x5"), 0)
    weights["fc7.bias"] = torch.full_like(weights["fc7.bias"], float("nan"))
    assert frame(load_network(architecture("lenet5x5"), "relu", "max", weights), 1, PICTURE).predicted is None
    dense = architecture("f20")
    seen = frame(load_network(dense, "tanh", "max", initial_weights(dense, 0)), 0, PICTURE)
    assert (seen.kernels, seen.maps) == (None, None)
    assert seen.predicted is not None


def test_of_a_wide_layer_the_first_channels_are_shown() -> None:
    wide = architecture("c12k3-s2-f20")
    seen = frame(load_network(wide, "relu", "max", initial_weights(wide, 0)), 0, PICTURE)
    assert seen.kernels is not None
    assert seen.maps is not None
    assert len(seen.kernels) == len(seen.maps) == MOST_CHANNELS
