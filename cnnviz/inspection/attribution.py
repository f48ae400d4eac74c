"""Which parts of a picture support a class: Grad-CAM and occlusion, both by Captum."""

import copy

import torch
from captum.attr import LayerGradCam, Occlusion
from torch import Tensor, nn

from cnnviz import data
from cnnviz.architectures import CLASSES, IMAGE_SIZE
from cnnviz.errors import ConfigError
from cnnviz.inspection.network import Network, last_maps, layer_name, step_names

PATCH = 6  # pixels a side of what occlusion greys out
STRIDE = 2  # pixels between two such patches
AT_ONCE = 64  # occluded pictures per batch


def grad_cam(network: Network, image: Tensor, target: int, step: str = "") -> Tensor:
    """How much each cell of a convolution's maps supports the class: (height, width) of the maps, at least 0.

    Selvaraju et al., "Grad-CAM", ICCV 2017, on the logit. image: uint8 (32, 32, 3); step: by default the last
    convolution's, or residual block's, after its activation.

    Raises ConfigError for a network or a step without maps, a class or a picture that does not fit.
    """
    steps = [name for name in step_names(network.arch) if len(network.arch.layer(layer_name(name)).output) == 3]
    if not steps:
        raise ConfigError(f"{network.arch.name} has no convolution, so Grad-CAM has no maps: choose another network")
    step = step or last_maps(network.arch)
    if step not in steps:
        raise ConfigError(f"{step} has no maps: choose one of {', '.join(steps)}")
    _check_target(target)
    module = _own_modules(network)
    pixels = _input(network, image).requires_grad_()
    cam = LayerGradCam(module, module.get_submodule(step)).attribute(pixels, target, relu_attributions=True)
    return cam[0, 0].detach()


@torch.no_grad()
def occlusion(network: Network, image: Tensor, target: int) -> Tensor:
    """How much the class's probability drops when a pixel is covered with grey: (32, 32), negative if it rises.

    Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. A pixel's value is the mean over
    the patches that cover it. image: uint8 (32, 32, 3). Raises ConfigError for a class or a picture that does not fit.
    """
    _check_target(target)
    probabilities = nn.Sequential(network.module, nn.Softmax(1))
    shown = _input(network, image)
    grey = network.scale.grey().to(shown.device).view(1, 3, 1, 1)
    drop = Occlusion(probabilities).attribute(
        shown,
        sliding_window_shapes=(3, PATCH, PATCH),
        strides=(3, STRIDE, STRIDE),
        baselines=grey.expand_as(shown).contiguous(),
        target=target,
        perturbations_per_eval=AT_ONCE,
    )
    return drop[0, 0].detach()


def _own_modules(network: Network) -> nn.Module:
    """A copy of the modules that shares the weights: Captum's hooks are put on the copy and vanish with it."""
    shared = {id(weight): weight for weight in network.module.parameters()}
    return copy.deepcopy(network.module, shared)


def _input(network: Network, image: Tensor) -> Tensor:
    if image.dtype != torch.uint8 or image.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise ConfigError(f"the picture must be uint8 (32, 32, 3), not {str(image.dtype)[6:]} {tuple(image.shape)}")
    return data.normalise(image[None].to(next(network.module.parameters()).device), network.scale)


def _check_target(target: int) -> None:
    if not 0 <= target < CLASSES:
        raise ConfigError(f"there is no class {target}: choose from 0 to {CLASSES - 1}")
