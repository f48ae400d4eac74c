"""Matches and similarities against networks whose relation is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnviz.architectures import ARCHITECTURES, architecture, initial_weights
from cnnviz.errors import ConfigError
from cnnviz.inspection import matching
from cnnviz.inspection.matching import cka_table, correlation, linear_cka, match, matched_channels, paired_steps
from cnnviz.inspection.network import Network, activations, load_network

IMAGES = torch.randint(0, 256, (30, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
ORDER = [3, 5, 0, 1, 4, 2]


def weights(model: str = "lenet5x5", seed: int = 0) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in initial_weights(architecture(model), seed).items()}


def network(model: str = "lenet5x5", seed: int = 0, activation: str = "tanh") -> Network:
    return load_network(architecture(model), activation, "max", weights(model, seed))


def test_correlations_are_numpys() -> None:
    first, second = network(seed=0), network(seed=1)
    a, b = (activations(net, IMAGES)["c1"].values for net in (first, second))
    rows = [x.transpose(0, 1).flatten(1).double().numpy() for x in (a, b)]
    both = np.corrcoef(rows[0], rows[1])
    np.testing.assert_allclose(correlation(a, b).numpy(), both[:6, 6:], atol=1e-9)


def test_shuffled_channels_find_each_other_again() -> None:
    shuffled = weights()
    for name in ("c1.weight", "c1.bias"):
        shuffled[name] = shuffled[name][ORDER]
    other = load_network(ARCHITECTURES["lenet5x5"], "tanh", "max", shuffled)
    found = matched_channels(network(), other, IMAGES, ("c1_activation", "c1_activation"))
    assert {each.first: each.second for each in found} == {ORDER[index]: index for index in range(6)}
    assert [each.correlation for each in found] == pytest.approx([1] * 6)


def test_an_inverted_channel_is_a_match_with_its_sign() -> None:
    inverted = weights()
    inverted["c1.weight"][2] *= -1
    inverted["c1.bias"][2] *= -1
    other = load_network(ARCHITECTURES["lenet5x5"], "tanh", "max", inverted)
    found = {each.first: each for each in matched_channels(network(), other, IMAGES, ("c1", "c1"))}
    assert found[2].second == 2
    assert found[2].correlation == pytest.approx(-1)


def test_what_has_no_counterpart_is_said_to_have_none() -> None:
    found = match(torch.tensor([[0.1, 0.9], [math.nan, math.nan], [0.8, 0.85]]))
    assert [(each.first, each.second) for each in found] == [(0, 1), (2, 0), (1, None)]
    assert math.isnan(found[-1].correlation)
    assert [each.second for each in match(torch.tensor([[0.2]]))] == [None]


def test_constant_and_diverged_channels_correlate_with_nothing() -> None:
    values = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    values[:, 1] = 0.7
    values[3, 2, 0, 0] = math.nan
    r = correlation(values, values)
    assert r[0, 0] == pytest.approx(1)
    assert r[1:].isnan().all()


def test_maps_of_two_sizes_are_compared_at_the_smaller() -> None:
    found = matched_channels(network("lenet5x5"), network("lenet3x3"), IMAGES, ("c3", "c3"))
    assert len(found) == 16


def test_maps_and_units_do_not_compare() -> None:
    with pytest.raises(ConfigError, match="maps with maps"):
        matched_channels(network(), network(), IMAGES, ("c1", "fc5"))


def hsic(k: Tensor, m: Tensor) -> Tensor:
    """The unbiased estimator as Song et al. (2012) write it."""
    n, ones = len(k), torch.ones(len(k), dtype=torch.double)
    k, m = k - k.diag().diag(), m - m.diag().diag()
    whole = (k @ m).trace() + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (whole - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def test_linear_cka_is_the_papers_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 7, generator=generator), torch.randn(50, 4, generator=generator) + 3
    k, m = (z.double() @ z.double().T for z in (x, y))
    expected = hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt()
    assert linear_cka(x, y) == pytest.approx(expected.item(), rel=1e-4)


def test_linear_cka_sees_through_rotation_and_size_but_not_through_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1, abs=1e-5)
    assert math.isnan(linear_cka(x, torch.ones(60, 2)))
    assert math.isnan(linear_cka(x[:3], x[:3]))


def test_wide_layers_of_noise_are_not_alike() -> None:
    """The plain estimator says 0.6 or more of them."""
    generator = torch.Generator().manual_seed(0)
    found = [
        linear_cka(torch.randn(300, 500, generator=generator), torch.randn(300, 500, generator=generator))
        for _ in range(20)
    ]
    assert max(map(abs, found)) < 0.02
    assert min(found) < 0 < max(found)


def test_a_cka_table_compares_every_layer_with_every_other() -> None:
    first, second = network(seed=0), network("lenet3x3", seed=1)
    steps = (["c1", "s4", "fc7"], ["c1", "c3", "s4", "fc5"])
    table = cka_table(first, second, IMAGES, steps)
    assert table.values.shape == table.errors.shape == (3, 4)
    expected = linear_cka(activations(first, IMAGES)["s4"].values, activations(second, IMAGES)["c3"].values)
    assert table.values[1, 1].item() == pytest.approx(expected, rel=1e-4)
    same = cka_table(first, first, IMAGES, (["c1"], ["c1"]))
    assert (same.values.item(), same.errors.item()) == pytest.approx((1, 0), abs=1e-5)


def test_the_error_of_a_cka_is_how_far_it_varies_over_pictures() -> None:
    first, second = network(seed=0), network(seed=1)
    generator = torch.Generator().manual_seed(2)
    tables = [
        cka_table(
            first,
            second,
            torch.randint(0, 256, (60, 1, 1, 3), dtype=torch.uint8, generator=generator).expand(-1, 32, 32, -1),
            (["s4"], ["s4"]),
        )
        for _ in range(40)
    ]
    spread = torch.stack([table.values for table in tables]).std()
    claimed = torch.stack([table.errors for table in tables]).mean()
    assert 0.5 < float(claimed / spread) < 2


def test_a_cka_of_large_networks_is_of_fewer_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = 2 * 6 * 28 * 28
    monkeypatch.setattr(matching, "CKA_PRODUCTS", 25 * 25 * cells)
    assert cka_table(network(), network(), IMAGES, (["c1"], ["c1"])).pictures == 25


def test_steps_are_paired_from_both_ends() -> None:
    pairs = paired_steps(ARCHITECTURES["lenet5x5"], ARCHITECTURES["conv5"])
    assert pairs[:3] == [("c1", "c1"), ("c1_activation", "c1_activation"), ("s2", "s2")]
    assert pairs[6] == (None, "c5")
    assert pairs[-5:] == [
        ("fc5", "fc11"),
        ("fc5_activation", "fc11_activation"),
        ("fc6", "fc12"),
        ("fc6_activation", "fc12_activation"),
        ("fc7", "fc13"),
    ]
    plain, residual = architecture("c4k3p1-c4k3p1-c4k3p1-c5k3-g"), architecture("c4k3p1-r4-c5k3-g")
    both = ["c1", "c1_activation", "c2", "c2_activation", "c3"]
    assert paired_steps(plain, residual) == [
        *zip(both, both, strict=True),
        (None, "a4"),
        ("c3_activation", "a4_activation"),
        ("c4", "c5"),
        ("c4_activation", "c5_activation"),
        ("g5", "g6"),
        ("fc6", "fc7"),
    ]
    assert all(one == other for one, other in paired_steps(residual, residual))
    assert paired_steps(architecture("f30"), ARCHITECTURES["lenet5x5"])[-1] == ("fc2", "fc7")
    assert paired_steps(architecture("f30"), ARCHITECTURES["lenet5x5"])[0] == (None, "c1")
