"""Grad-CAM and occlusion against their definitions, and that nothing of them stays in a network."""

import threading
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from cnnviz import data
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import NORMALISATIONS
from cnnviz.errors import ConfigError
from cnnviz.inspection.attribution import PATCH, STRIDE, grad_cam, occlusion
from cnnviz.inspection.edits import ablated
from cnnviz.inspection.network import Network, last_maps, load_network, predict
from cnnviz.modules import Addition
from tests.helpers.architectures import BLOCKS

IMAGES = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(model: str = "lenet5x5", activation: str = "tanh") -> Network:
    arch = architecture(model)
    weights = {name: 2 * weight for name, weight in initial_weights(arch, 0).items()}
    return load_network(arch, activation, arch.pooling, weights)


def hooks(net: Network) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.module.modules() for kind in kinds)


def cam_by_hand(net: Network, image: torch.Tensor, target: int, step: str) -> torch.Tensor:
    x, maps = image.permute(2, 0, 1)[None].float() / 127.5 - 1, None
    brought: dict[str, torch.Tensor] = {}
    for name, module in net.module.named_children():
        x = module(x, brought[module.source]) if isinstance(module, Addition) else module(x)
        if name == step:
            maps = x = x.detach().requires_grad_()
        brought[name] = x
    assert maps is not None
    (gradient,) = torch.autograd.grad(x[0, target], maps)
    return F.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1))[0].detach()


@pytest.mark.parametrize(
    ("model", "step"),
    [("lenet5x5", "c3_activation"), ("lenet5x5", "c1"), ("conv5", "s10"), (BLOCKS, "a7_activation"), (BLOCKS, "c1")],
)
def test_grad_cam_is_the_paper_s_formula(model: str, step: str) -> None:
    net = network(model)
    for target in (0, 7):
        expected = cam_by_hand(net, IMAGES[0], target, step)
        torch.testing.assert_close(grad_cam(net, IMAGES[0], target, step), expected, rtol=1e-4, atol=1e-6)
    assert grad_cam(net, IMAGES[0], 0).shape == net.arch.conv_layers[-1].output[1:]
    torch.testing.assert_close(grad_cam(net, IMAGES[0], 0), cam_by_hand(net, IMAGES[0], 0, last_maps(net.arch)))


@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_occlusion_is_the_mean_drop_over_the_patches_that_cover_a_pixel(normalise: str) -> None:
    scale, target = data.scale_of(normalise, "cifar10"), 3
    net = replace(network(), scale=scale)
    before = predict(net, IMAGES[:1]).probabilities[0, target]
    pixels, grey = data.normalise(IMAGES[:1], scale), scale.grey().view(3, 1, 1)
    drops, covers = torch.zeros(32, 32), torch.zeros(32, 32)
    for top in range(0, 32 - PATCH + 1, STRIDE):
        for left in range(0, 32 - PATCH + 1, STRIDE):
            covered = pixels.clone()
            covered[:, :, top : top + PATCH, left : left + PATCH] = grey
            drop = before - net.module(covered).softmax(1)[0, target]
            drops[top : top + PATCH, left : left + PATCH] += drop
            covers[top : top + PATCH, left : left + PATCH] += 1
    torch.testing.assert_close(occlusion(net, IMAGES[0], target), drops / covers, rtol=1e-3, atol=1e-6)


def test_both_see_through_a_switched_off_channel() -> None:
    net = ablated(network(), "c3", range(16))
    assert (grad_cam(net, IMAGES[0], 0, "s4") == 0).all()
    assert occlusion(net, IMAGES[0], 0).abs().max() < 1e-6


def test_nothing_stays_behind_after_an_exception_with_two_sessions_on_one_network() -> None:
    net = network()
    expected = [grad_cam(net, image, 5) for image in IMAGES]
    started, wrong = threading.Barrier(len(IMAGES) + 1), []

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("in the middle")

    broken = load_network(net.arch, net.activation, net.pooling, dict(net.module.state_dict()))
    broken.module.fc6 = Broken()

    def look(index: int) -> None:
        started.wait()
        for _ in range(10):
            if not torch.allclose(grad_cam(net, IMAGES[index], 5), expected[index], atol=1e-6):
                wrong.append(index)

    threads = [threading.Thread(target=look, args=(index,)) for index in range(len(IMAGES))]
    for thread in threads:
        thread.start()
    started.wait()
    for _ in range(10):
        with pytest.raises(RuntimeError, match="in the middle"):
            grad_cam(broken, IMAGES[0], 5)
        with pytest.raises(RuntimeError, match="in the middle"):
            occlusion(broken, IMAGES[0], 5)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert hooks(net) == hooks(broken) == 0
    assert not any(weight.requires_grad or weight.grad is not None for weight in net.module.parameters())


@pytest.mark.parametrize(
    ("model", "target", "step", "message"),
    [
        ("f30", 0, "", "has no convolution"),
        ("lenet5x5", 10, "", "there is no class 10"),
        ("lenet5x5", 0, "fc5", "fc5 has no maps: choose one of c1"),
    ],
)
def test_what_cannot_be_attributed_is_one_line(model: str, target: int, step: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grad_cam(network(model), IMAGES[0], target, step)


def test_a_picture_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be uint8"):
        occlusion(network(), IMAGES, 0)
