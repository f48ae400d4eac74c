"""Training mode, against plain PyTorch modules in train() mode and against training itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cnnviz import data
from cnnviz.architectures import build, initial_weights
from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.errors import CheckpointError
from cnnviz.inspection.training_mode import TrainingMode, has_modes, layers_of
from cnnviz.train.single import Dropout, Single
from tests.helpers.architectures import BLOCKS
from tests.helpers.noise import noise

TINY = RunConfig(model="c4k5-s2-c6k3p1-s2-f12", batch_size=10, limit_train=40, dataset="synthetic", seed=3)
DROPPING = replace(TINY, dropout=0.4, dropout_at="both")
NORMING = replace(TINY, batch_norm="on")
BOTH = replace(DROPPING, batch_norm="on", model=BLOCKS, augment="flip+shift", normalise="standard")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise(50, 10)


def weights_of(config: RunConfig) -> dict[str, Tensor]:
    """With running statistics that are not those of any batch."""
    weights = initial_weights(config.architecture, 0)
    return {name: weight + 0.5 * ("running" in name) for name, weight in weights.items()}


def oracle(config: RunConfig) -> nn.Sequential:
    module = build(config.architecture, config.activation, config.pooling, config.dropout, config.dropout_at)
    module.load_state_dict(weights_of(config), strict=False)
    return module.train()


def test_batch_norm_is_as_a_plain_module_in_train_mode_has_it(dataset: Dataset) -> None:
    looked, module = TrainingMode(NORMING, weights_of(NORMING), 2), oracle(NORMING)
    batch = looked.batch(dataset, 2, dataset.test_images[0])
    found = looked.step(batch, 2)
    entering: dict[str, Tensor] = {}
    for name, child in module.named_children():
        if name.endswith("_norm"):
            child.register_forward_pre_hook(lambda _, args, name=name: entering.update({name[:-5]: args[0]}))
    torch.testing.assert_close(found.prediction.logits[0], module(batch)[0])
    assert [each.name for each in found.statistics] == list(entering) == ["c1", "c3", "fc5"]
    for each in found.statistics:
        x = entering[each.name].transpose(0, 1).flatten(1)
        torch.testing.assert_close(each.mean, x.mean(1))
        torch.testing.assert_close(each.deviation, (x.var(1, correction=0) + 1e-5).sqrt())
        torch.testing.assert_close(each.running_mean, weights_of(NORMING)[f"{each.name}_norm.running_mean"])
        assert float(each.shift.abs().max()) > 0.01
        assert each.ratio.shape == each.mean.shape
    evaluated = module.eval()
    evaluated.load_state_dict(weights_of(NORMING), strict=False)  # a step has moved its running statistics
    torch.testing.assert_close(found.evaluated["fc6"], evaluated(batch[:1])[0])
    again = looked.step(batch, 2)  # but not those of the network that is looked at
    torch.testing.assert_close(again.evaluated["fc6"], found.evaluated["fc6"])


@pytest.mark.parametrize("config", [DROPPING, BOTH])
def test_a_step_is_that_of_the_training(config: RunConfig, dataset: Dataset) -> None:
    """Its third step in epoch 3, of the picture that is first in its batch: a training's masks and its pictures."""
    trained = Single(config, weights_of(config))
    for child in trained.module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.momentum = 0.0
    trained.optimizer.step = lambda *_: None  # type: ignore[method-assign,assignment]
    part = dataset.limited(config.limit_train)
    order = data.batch_order(config.seed, 3, len(part.train_labels))
    trained.begin_epoch(3, len(order))
    logits: list[Tensor] = []
    masked: list[Tensor] = []
    trained.module.register_forward_hook(lambda _, __, output: logits.append(output.detach()))
    last = next(child for child in reversed(list(trained.module.children())) if isinstance(child, Dropout))
    last.register_forward_hook(lambda _, __, output: masked.append(output.detach()))
    for rows in order.split(10)[:3]:
        trained.step(part.train_images, part.train_labels, rows)
    looked = TrainingMode(config, weights_of(config), 2)
    picture = part.train_images[order[20]]
    batch = looked.batch(dataset, 3, picture)
    if config.augment == "none":
        found = looked.step(batch, 3)
        torch.testing.assert_close(found.prediction.logits[0], logits[2][0])
    else:  # the first of the batch is not augmented when it is looked at: here it is, as all others are
        drawn = data.augment.draws(config.seed, 3, len(order))[20:30]
        changed = data.augment.augmented(part.train_images[order[20:30]], drawn, config.augment, looked.scale)
        torch.testing.assert_close(batch[1:], changed[1:])
        found = looked.step(changed, 3)
        torch.testing.assert_close(found.prediction.logits[0], logits[2][0])
    name = [each for each in found.values if each.endswith("_dropout")][-1]
    torch.testing.assert_close(found.values[name], masked[2][0])
    mask = found.masks[name.removesuffix("_dropout")]
    assert mask.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]


def test_masks_spread_a_prediction_about_as_a_plain_module_does(dataset: Dataset) -> None:
    looked, module = TrainingMode(DROPPING, weights_of(DROPPING), 2), oracle(DROPPING)
    picture = dataset.test_images[0]
    found = looked.spread(picture, 2000)
    assert found.masked.logits.shape == (2000, 10)
    x = data.normalise(picture[None]).expand(2000, -1, -1, -1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        plain = module(x)
    error = plain.std(0) / 2000**0.5
    assert bool(((found.masked.logits.mean(0) - plain.mean(0)).abs() < 6 * error).all())
    torch.testing.assert_close(found.masked.logits.std(0), plain.std(0), rtol=0.15, atol=0)
    torch.testing.assert_close(found.evaluated.logits, module.eval()(x[:1]))
    best = int(found.evaluated.classes[0])
    assert found.agreeing == int((found.masked.classes == best).sum())
    assert found.shares(best).shape == (2000,)


def test_what_training_mode_changes() -> None:
    assert not has_modes(TINY)
    assert has_modes(DROPPING)
    assert has_modes(NORMING)
    with pytest.raises(CheckpointError, match="choose a run or epoch"):
        TrainingMode(NORMING, weights_of(TINY), 1)


def test_layers_in_their_order(dataset: Dataset) -> None:
    config = replace(DROPPING, batch_norm="on")
    looked = TrainingMode(config, weights_of(config), 0)
    step = looked.step(looked.batch(dataset, 1, dataset.test_images[0]))
    assert list(layers_of(step)) == [
        ("c1", "batch norm", "c1_activation"),
        ("c1", "dropout", "c1_dropout"),
        ("c3", "batch norm", "c3_activation"),
        ("c3", "dropout", "c3_dropout"),
        ("fc5", "batch norm", "fc5_activation"),
        ("fc5", "dropout", "fc5_dropout"),
    ]
    assert (looked.steps, step.epoch, step.number, step.pictures) == (4, 1, 1, 10)
