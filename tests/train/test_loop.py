import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from cnnviz import data, paths
from cnnviz.architectures import architecture, build
from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.errors import ConfigError
from cnnviz.train import loop, ways
from cnnviz.train.loop import EpochResult, LateFigures, Progress, Start, train_stack
from tests.helpers.noise import noise
from tests.helpers.training import together

TINY = RunConfig(model="c4k5-s2-f12", epochs=2, batch_size=10, lr=0.05, limit_train=95)


@pytest.fixture
def dataset() -> Dataset:
    return noise(200, 100)


def train(configs: list[RunConfig], dataset: Dataset, **options: object) -> list[EpochResult]:
    return together(train_stack(configs, dataset, **options))  # type: ignore[arg-type]


def same(one: EpochResult, other: EpochResult) -> bool:
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights) and all(
        torch.equal(one.slots[name], other.slots[name]) for name in one.slots
    )


def test_an_epoch_is_a_plain_loop_over_batch_order(dataset: Dataset) -> None:
    results = train([TINY], dataset)
    module = build(architecture(TINY.model), TINY.activation, TINY.pooling)
    module.load_state_dict(results[0].weights)
    optimizer = torch.optim.SGD(module.parameters(), TINY.lr)
    images, labels = dataset.train_images[:95], dataset.train_labels[:95]
    for epoch in (1, 2):
        total = 0.0
        for rows in data.batch_order(TINY.seed, epoch, 95).split(10):
            loss = functional.cross_entropy(module(data.normalise(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        result = results[epoch]
        with torch.no_grad():
            logits = module(data.normalise(dataset.test_images))
        assert result.metrics["train_loss"] == pytest.approx(total / 95, rel=1e-4)
        assert result.metrics["test_loss"] == pytest.approx(
            float(functional.cross_entropy(logits, dataset.test_labels)), rel=1e-4
        )
        for name, weight in module.state_dict().items():
            assert torch.allclose(result.weights[name], weight, atol=1e-5)


def test_every_metric_has_step_0_and_1(dataset: Dataset) -> None:
    before, first, last = train([TINY], dataset)
    always = {"train_loss", "test_loss", "train_accuracy", "test_accuracy", "epoch_seconds", "images_per_second"}
    layers = {f"{kind}/{layer}" for kind in ("grad_norm", "update_ratio") for layer in ("c1", "fc3", "fc4")}
    exact = {"train_loss_exact", "train_accuracy_exact"}
    assert set(first.metrics) == always | layers | {"saturation/c1", "saturation/fc3"}
    assert set(before.metrics) == set(last.metrics) == set(first.metrics) | exact
    assert [each.epoch for each in (before, first, last)] == [0, 1, 2]
    assert before.metrics["train_loss"] == before.metrics["train_loss_exact"]
    assert before.metrics["epoch_seconds"] == 0 < first.metrics["epoch_seconds"]
    assert before.metrics["grad_norm/c1"] > 0
    assert all(isinstance(value, float) for value in first.metrics.values())


TRAIN = {"train_loss", "train_accuracy", "train_loss_exact", "train_accuracy_exact"}


def test_the_first_point_does_not_wait_for_the_training_pictures(dataset: Dataset) -> None:
    configs = [replace(TINY, validation=100, epochs=1, lr=lr) for lr in (0.01, 0.02)]
    found = list(train_stack(configs, dataset))
    assert [(type(each), each.member, each.epoch) for each in found] == [
        *((EpochResult, member, 0) for member in (0, 1)),
        *((LateFigures, member, 0) for member in (0, 1)),
        *((EpochResult, member, 1) for member in (0, 1)),
    ]
    module = build(architecture(TINY.model), TINY.activation, TINY.pooling)
    images, labels = dataset.train_images[:95], dataset.train_labels[:95]
    for first, late, trained in zip(found[:2], found[2:4], found[4:], strict=True):
        assert {"test_loss", "val_loss", "grad_norm/c1"} <= first.metrics.keys()
        assert not TRAIN & first.metrics.keys()
        assert late.metrics.keys() == TRAIN
        assert first.metrics.keys() | TRAIN == trained.metrics.keys()
        assert isinstance(first, EpochResult)
        module.load_state_dict(first.weights)
        with torch.no_grad():
            logits = module(data.normalise(images))
        expected = float(functional.cross_entropy(logits, labels))
        assert late.metrics["train_loss"] == late.metrics["train_loss_exact"] == pytest.approx(expected, rel=1e-4)
        right = float((logits.argmax(1) == labels).double().mean())
        assert late.metrics["train_accuracy"] == late.metrics["train_accuracy_exact"] == pytest.approx(right)


def test_what_is_stopped_behind_its_first_point_has_no_late_figures(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    configs, stopped = [replace(TINY, lr=lr) for lr in (0.01, 0.02, 0.03)], set[int]()
    whole = {(each.member, each.epoch): each for each in train(configs, dataset)}
    found = []
    for result in train_stack(configs, dataset, stopped=lambda: stopped):
        found.append(result)
        if len(found) == 3:  # the results of epoch 0
            stopped.update({0, 1})  # so that the stack would be worth making anew
    assert [(each.member, each.epoch) for each in found[3:]] == [(2, 0), (2, 1), (2, 2)]
    assert [each.stack for each in found if isinstance(each, EpochResult)] == [(0, 1, 2)] * 3 + [(2,), (2,)]
    assert isinstance(found[4], EpochResult)
    assert same(found[4], whole[2, 1])  # trained as the stack that was named
    assert found[3].metrics.items() <= whole[2, 0].metrics.items()


@pytest.mark.parametrize("pictures", [0, 500])
def test_all_stopped_behind_the_first_point_ends_their_evaluation(
    pictures: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of it: a large network's takes minutes."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    reported, found, many = list[Progress](), list[EpochResult | LateFigures](), noise(3000, 100)
    asked = pictures and (100 + pictures) / 3100  # of all that an untrained network is shown
    for result in train_stack(
        [replace(TINY, limit_train=3000)],
        many,
        stopped=lambda: {0} if found and reported[-1].fraction >= asked else set(),
        on_progress=reported.append,
    ):
        found.append(result)
    assert [type(each) for each in found] == [EpochResult]
    assert reported[-1].phase == "evaluating"
    assert asked <= reported[-1].fraction < 1


def test_a_network_that_its_evaluation_changes_is_kept_behind_all_of_it(dataset: Dataset) -> None:
    """A mistake made on purpose: batch norm goes on to average. Resumed, it has the same statistics."""
    config = replace(TINY, batch_norm="on", mistake="no-eval", limit_train=90)
    first, *rest = train_stack([config], dataset)
    assert isinstance(first, EpochResult)
    assert first.metrics.keys() >= TRAIN
    again = train_stack([config], dataset, [Start(0, first.weights, first.slots, first.method)])
    for one, other in zip(again, rest, strict=True):
        assert isinstance(one, EpochResult)
        assert isinstance(other, EpochResult)
        assert same(one, other)


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0)])
def test_resumed_is_as_if_never_stopped(dataset: Dataset, optimizer: str, momentum: float) -> None:
    config = replace(TINY, optimizer=optimizer, momentum=momentum, lr=0.01, epochs=4)
    configs = [config, replace(config, loss="mse")]
    whole = {(each.member, each.epoch): each for each in train(configs, dataset)}
    starts = [Start(2, whole[run, 2].weights, whole[run, 2].slots) for run in (0, 1)]
    for result in train(configs, dataset, starts=starts):
        assert same(result, whole[result.member, result.epoch])
        assert result.epoch in (3, 4)


def test_a_continued_run_takes_its_steps_as_before(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which way is the fastest depends on how many steps are left: a run's ways are rounded differently."""
    first = train([replace(TINY, epochs=1)], dataset)[-1]
    assert first.method == "eager"
    monkeypatch.setattr(ways, "possible", lambda *_: ["compiled"])
    start = Start(1, first.weights, first.slots, first.method)
    assert [each.method for each in train([TINY], dataset, starts=[start])] == ["eager"]
    for odd in ("graph", "kernel"):  # another machine's: TINY is not of the kernel's family, nor is this a GPU
        monkeypatch.setattr(ways, "possible", lambda *_: ["eager"])
        assert [each.method for each in train([TINY], dataset, starts=[replace(start, method=odd)])] == ["eager"]
    with pytest.raises(ConfigError, match="cannot share a stack"):
        train([TINY, TINY], dataset, starts=[start, replace(start, method="compiled")])


def test_a_run_that_stops_or_ends_early_leaves_the_rest_alone(dataset: Dataset) -> None:
    configs = [replace(TINY, epochs=5, lr=lr) for lr in (0.01, 0.02, 0.03)] + [replace(TINY, epochs=2)]
    whole = {(each.member, each.epoch): each for each in train(configs, dataset)}
    assert max(epoch for run, epoch in whole if run == 3) == 2
    stopped: set[int] = set()
    seen: dict[tuple[int, int], EpochResult] = {}
    for result in train_stack(configs, dataset, stopped=lambda: stopped):
        if isinstance(result, EpochResult):
            seen[result.member, result.epoch] = result
        if result.epoch == 1:
            stopped.add(1)
    assert max(epoch for run, epoch in seen if run == 1) == 1
    for run in (0, 2):
        assert [epoch for each, epoch in seen if each == run] == [0, 1, 2, 3, 4, 5]
        alone = train([configs[run]], dataset)
        for epoch in range(6):
            # once half have left the stack is made smaller, and a sum may be rounded in another order
            for name, weight in whole[run, epoch].weights.items():
                assert torch.allclose(seen[run, epoch].weights[name], weight, atol=1e-6)
                assert torch.allclose(alone[epoch].weights[name], weight, atol=1e-6)


def test_all_stopped_ends_at_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "STEPS_AT_ONCE", 1)
    reported: list[Progress] = []
    results = train(
        [replace(TINY, epochs=1000)],
        dataset,
        method="eager",
        stopped=lambda: {0} if any(each.epoch and 0 < each.fraction < 1 for each in reported) else set(),
        on_progress=reported.append,
    )
    assert [each.epoch for each in results] == [0]


def test_progress_is_reported(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    reported: list[Progress] = []
    train([TINY], dataset, on_progress=reported.append)
    fractions = [each.fraction for each in reported if each.epoch == 1 and each.phase == "training"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert reported[-1].images_per_second > 0


def test_speeds_are_those_of_the_networks_that_are_trained(dataset: Dataset) -> None:
    """Not of all that the stack began with."""
    reported: list[Progress] = []
    configs = [replace(TINY, epochs=epochs, activation=each) for epochs, each in ((1, "tanh"), (4, "relu"))]
    train(configs, dataset, method="eager", on_progress=reported.append)
    speeds = {each.epoch: each.speed for each in reported if each.speed}  # the last one of an epoch
    stacks = {epoch: speed.stack for epoch, speed in speeds.items()}
    assert stacks[1] == loop.speed_key(configs, "eager")
    assert stacks[4] == loop.speed_key(configs[1:], "eager")
    assert stacks[1].startswith("c4k5-s2-f12 relu+tanh max, sgd, batch 10, eager, x 2")
    for epoch in (1, 4):
        assert (speeds[epoch].step_seconds or 0) > 0
        assert (speeds[epoch].picture_seconds or 0) > 0


def test_cudnns_settings_are_put_back(dataset: Dataset) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    training = train_stack([TINY], dataset)
    next(training)
    assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
    training.close()  # type: ignore[attr-defined]
    assert (cudnn.allow_tf32, cudnn.deterministic) == before


def test_runs_that_cannot_share_a_stack(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="cannot share a stack"):
        train([TINY, replace(TINY, seed=1)], dataset)


def test_a_finished_run_trains_no_more(dataset: Dataset) -> None:
    (*_, last) = train([TINY], dataset)
    assert train([TINY], dataset, starts=[Start(2, last.weights)]) == []


def test_compiled_is_the_same_training(dataset: Dataset) -> None:
    if not ways.has_compiler():
        pytest.skip("no C++ compiler here: training is eager")
    configs = [replace(TINY, epochs=1), replace(TINY, epochs=1, loss="mse")]
    for compiled, eager in zip(
        train(configs, dataset, method="compiled"), train(configs, dataset, method="eager"), strict=True
    ):
        for name in eager.weights:
            assert torch.allclose(compiled.weights[name], eager.weights[name], atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.filterwarnings("ignore:Plan failed with a cudnnException")
@pytest.mark.parametrize("method", ["eager", "graph", "compiled graph", "reduce-overhead"])
@pytest.mark.parametrize(
    "change",
    [{}, {"momentum": 0.9}, {"optimizer": "adam", "lr": 0.002}, {"pooling": "avg"}, {"model": "c8k3p1-s1-c6k3-s2-f64"}],
    ids=str,
)
def test_on_a_cuda_device_it_is_the_same_training(dataset: Dataset, method: str, change: dict[str, object]) -> None:
    """Whole graphs and single steps, batches that are not full, a stack that shrinks."""
    config = replace(TINY, limit_train=0, batch_size=4, **change)  # type: ignore[arg-type]
    configs = [config, replace(config, loss="mse"), replace(config, activation="sigmoid", epochs=1)]
    there = train(configs, dataset, device="cuda", method=method)
    for ours, expected in zip(there, train(configs, dataset, method="eager"), strict=True):
        assert (ours.member, ours.epoch) == (expected.member, expected.epoch)
        for name in expected.weights:
            assert torch.allclose(ours.weights[name], expected.weights[name], atol=1e-4)


def test_the_core_runs_where_only_torch_is_installed() -> None:
    """In a fresh process that refuses to import the rest."""
    program = """
import sys
for name in ("streamlit", "mlflow", "altair", "pandas", "safetensors", "psutil"):
    sys.modules[name] = None
from cnnviz import architectures, config, data
from cnnviz.inspection import network
from cnnviz.train import dense, lenet, loop, memory, ops, preload, stack
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
