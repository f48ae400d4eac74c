"""A way of running steps that lies, fails or hangs is found, left out, and the run ends as the plain step has it."""

import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.train import lenet, native, shards, tried, ways
from cnnviz.train.loop import EpochResult, Start, Trainer, fresh_start, train_stack
from cnnviz.train.planning import Room, Shard
from cnnviz.train.shards import Done, Message, ShardFailed, ShardStarted, Trying
from tests.helpers.noise import noise
from tests.helpers.training import together

LENET = RunConfig(model="c2k5-s2-c3k3-s2-f12", epochs=1, batch_size=10, lr=0.05, limit_train=200)
STACK = [LENET, replace(LENET, activation="relu", loss="mse"), replace(LENET, lr=0.01)]
ON_GPU = Shard((0,), 1, "cuda")
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "much momentum": {"momentum": 0.99, "weight_decay": 0.001},
    "adam": {"optimizer": "adam"},
}
PLAIN: dict[tuple[str, str, int], tuple[ways.Trial, float]] = {}  # trials of the plain step, the same for every lie
needs_kernel = pytest.mark.skipif(not lenet.fits([LENET]), reason="no kernel here: no AVX2, or no compiler")


@pytest.fixture
def data_set() -> Dataset:
    return noise(200, 100)


@pytest.fixture(autouse=True)
def _short_runs_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "KERNEL_FROM_STEPS", 1)
    monkeypatch.setattr(native, "troubles", [])


def trained(data_set: Dataset, **options: Any) -> dict[int, EpochResult]:
    return {result.member: result for result in together(train_stack(STACK, data_set, **options)) if result.epoch == 1}


def equal(ours: dict[int, EpochResult], theirs: dict[int, EpochResult]) -> bool:
    return all(
        torch.equal(weight, ours[member].weights[name])
        for member, its in theirs.items()
        for name, weight in its.weights.items()
    )


def trouble_of_the_kernel(rule: str, activation: str = "tanh", seed: int = 0) -> str:
    data_set = noise(400, 100, seed)
    base = replace(LENET, model="lenet5x5", activation=activation, **RULES[rule])

    def make(way: str, configs: Sequence[RunConfig], weights: Sequence[Mapping[str, torch.Tensor]]) -> Trainer:
        return Trainer(configs, [Start(0, each) for each in weights], data_set, "cpu", way)

    configs = [replace(base, loss=loss, lr=lr) for loss in ("mse", "cross_entropy") for lr in (0.1, 0.01, 0.001)]
    choice = ways.Choice(configs, "cpu", 400, make)
    if (rule, activation, seed) in PLAIN:
        choice.plain, choice.plain_seconds = PLAIN[rule, activation, seed]
    way, verdict, _ = choice._verdict("kernel")
    assert way == "kernel"
    assert choice.plain is not None
    PLAIN[rule, activation, seed] = choice.plain, choice.plain_seconds
    return verdict.trouble


def methods(results: dict[int, EpochResult]) -> set[str]:
    return {result.method for result in results.values()}


# -- the default --------------------------------------------------------------------------------------


def test_the_way_that_is_expected_follows_from_the_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(lenet, "fits", lambda configs: True)
    long, short = RunConfig(epochs=20), RunConfig(epochs=1, limit_train=1000)
    assert ways.fastest([long], "cpu") == "kernel"
    assert ways.fastest([short], "cpu") == "eager"
    assert ways.fastest([long], "cuda") == "graph"
    assert ways.fastest([long], "mps") == "eager"
    monkeypatch.setattr(lenet, "fits", lambda configs: False)
    assert ways.fastest([long], "cpu") == ("compiled" if ways.has_compiler() else "eager")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "")
    assert ways.fastest([long], "cpu") == "eager"


@needs_kernel
def test_a_right_kernel_trains_as_if_it_had_never_been_tried(
    data_set: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    stream = torch.get_rng_state()
    ours = trained(data_set)
    assert torch.equal(torch.get_rng_state(), stream)
    assert (methods(ours), native.troubles) == ({"kernel"}, [])
    assert equal(ours, trained(data_set, method="kernel"))
    monkeypatch.setattr(ways.Choice, "_try", None)  # what was found is kept
    assert equal(trained(data_set), ours)


@needs_kernel
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("rule", RULES)
def test_a_right_kernel_is_not_taken_for_a_wrong_one(rule: str, activation: str) -> None:
    """Whatever an optimizer makes of two cells of a pool that are nearly equal."""
    assert [trouble_of_the_kernel(rule, activation, seed) for seed in range(3)] == [""] * 3


# -- lies ---------------------------------------------------------------------------------------------


def flip(bit: int, run: int) -> Any:
    write_back = lenet.Kernel.write_back

    def wrong(kernel: lenet.Kernel) -> None:
        write_back(kernel)
        weights = kernel.stack.weights[4][run].numpy().view("uint32")  # of a fully connected layer
        weights[2, 3] ^= 1 << bit

    return "write_back", wrong


def raising() -> Any:
    def wrong(*_: object) -> None:
        raise RuntimeError("no such vector\nwith details")

    return "walk", wrong


def misjudging() -> Any:
    evaluate = lenet.Kernel.evaluate

    def wrong(kernel: lenet.Kernel, *arguments: Any) -> list[dict[str, float]]:
        return [run | {"loss": run["loss"] * 1.1} for run in evaluate(kernel, *arguments)]

    return "evaluate", wrong


def forgetful() -> Any:
    write_back = lenet.Kernel.write_back

    def wrong(kernel: lenet.Kernel) -> None:
        before = [each.clone() for each in kernel.stack.weights]
        write_back(kernel)
        for weight, was in zip(kernel.stack.weights, before, strict=True):
            weight.copy_(was)

    return "write_back", wrong


def mixing_up() -> Any:
    write_back = lenet.Kernel.write_back

    def wrong(kernel: lenet.Kernel) -> None:
        write_back(kernel)
        for slot in kernel.stack.remembered().values():
            slot.copy_(slot.flip(-1))

    return "write_back", wrong


LIES = {
    "a sign": (lambda: flip(31, 0), "makes other weights than the plain step"),
    "an exponent": (lambda: flip(23, 1), "makes other weights than the plain step"),
    "a high bit of the fraction": (lambda: flip(20, 0), "makes other weights than the plain step"),
    "the lowest bit of a network that does not learn": (lambda: flip(0, 2), "changes a network while it trains"),
    "an exception": (raising, "fails (RuntimeError: no such vector)"),
    "figures": (misjudging, "reports another loss than the plain step"),
}


@needs_kernel
@pytest.mark.parametrize("lie", LIES)
def test_a_kernel_that_is_wrong_is_left_out(lie: str, data_set: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    make, why = LIES[lie]
    name, wrong = make()
    monkeypatch.setattr(lenet.Kernel, name, wrong)
    ours = trained(data_set)
    (line,) = native.troubles
    assert line.startswith(f"LeNet's own kernel {why}")
    assert line.endswith(": steps are run without it")
    assert methods(ours) == {"eager"}
    assert equal(ours, trained(data_set, method="eager"))


@needs_kernel
@pytest.mark.parametrize("bit", [31, 23, 20])
@pytest.mark.parametrize("rule", RULES)
def test_so_is_one_that_flips_a_bit_whatever_the_optimizer(
    rule: str, bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lenet.Kernel, *flip(bit, 0))
    assert trouble_of_the_kernel(rule).startswith("makes other weights than the plain step")


@needs_kernel
@pytest.mark.parametrize("rule", RULES)
def test_so_is_one_that_learns_nothing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenet.Kernel, *forgetful())
    assert re.search("makes other weights|learns something else", trouble_of_the_kernel(rule))


@needs_kernel
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "sgd"])
def test_so_is_one_that_mixes_up_the_optimizers_state(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenet.Kernel, *mixing_up())
    assert trouble_of_the_kernel(rule) == "keeps another state of the optimizer than the plain step"


@needs_kernel
def test_what_is_wrong_is_said_again_but_not_tried_again_for_a_day(
    data_set: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lenet.Kernel, *raising())
        trained(data_set)
    first = native.troubles[:]
    native.troubles.clear()
    assert methods(trained(data_set)) == {"eager"}  # though the kernel is right now
    assert native.troubles == first
    tomorrow = time.time() + tried.TROUBLE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert methods(trained(data_set)) == {"kernel"}


@needs_kernel
def test_a_home_that_cannot_be_written_is_done_without(
    data_set: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CNNVIZ_HOME", str(tmp_path / "file" / "home"))
    assert methods(trained(data_set)) == {"kernel"}


@needs_kernel
def test_a_way_that_is_slower_does_not_train(data_set: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = lenet.Kernel.walk

    def slow(*arguments: Any) -> None:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        walk(*arguments)

    monkeypatch.setattr(lenet.Kernel, "walk", slow)
    assert (methods(trained(data_set)), native.troubles) == ({"eager"}, [])


@needs_kernel
def test_a_resumed_run_repeats_what_is_recorded_if_it_is_right(
    data_set: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [replace(config, epochs=2) for config in STACK]
    whole = {(result.member, result.epoch): result for result in together(train_stack(configs, data_set))}

    def resumed(method: str) -> dict[int, EpochResult]:
        starts = [Start(1, whole[member, 1].weights, method=method) for member in range(len(configs))]
        return {result.member: result for result in together(train_stack(configs, data_set, starts))}

    monkeypatch.setattr(tried, "read", lambda file: {})
    ours = resumed("kernel")
    assert methods(ours) == {"kernel"}
    assert equal(ours, {member: whole[member, 2] for member in range(len(configs))})
    with monkeypatch.context() as patch:
        patch.setattr(ways, "FASTER", 0.0)  # nothing is ever fast enough to take another's place
        assert methods(resumed("kernel")) == {"kernel"}
    assert methods(resumed("eager")) == {"eager"}
    monkeypatch.setattr(lenet.Kernel, *raising())
    assert methods(resumed("kernel")) == {"eager"}


# -- compiled ways, without a compiler ----------------------------------------------------------------


class Made:
    """A way that takes so long a step, and may be wrong."""

    def __init__(self, method: str, step_seconds: float, weight: float) -> None:
        self.method, self.is_cold, self.step_seconds, self.weight = method, False, step_seconds, weight

    def trial(self, order: torch.Tensor, judged: int) -> ways.Trial:
        weights = [torch.full((1, 3), self.weight)]
        return ways.Trial(weights, weights, [], [{"loss": 1.0}], self.step_seconds)


def chosen(seconds: dict[str, float], wrong: Collection[str] = (), epochs: int = 20, recorded: str = "") -> str:
    tries: list[str] = []

    def make(way: str, configs: Sequence[RunConfig], weights: object) -> Made:
        tries.append(way)
        return Made(way, seconds[way], 0.5 + (way in wrong))

    config = RunConfig(epochs=epochs)
    way, made = ways.Choice([config], "cpu", 100, make).among([*seconds], {}, recorded)
    assert made is None or made.method == way
    return way


@pytest.mark.parametrize(
    ("seconds", "wrong", "expected"),
    [
        ({"graph": 1e-3, "compiled graph": 5e-4, "eager": 4e-3}, (), "compiled graph"),
        ({"graph": 1e-3, "compiled graph": 9.5e-4, "eager": 4e-3}, (), "graph"),  # not worth another's last bits
        ({"graph": 1e-4, "compiled graph": 5e-5, "eager": 4e-3}, (), "graph"),  # it ends before that is compiled
        ({"graph": 1e-3, "compiled graph": 5e-4, "eager": 4e-3}, ("compiled graph",), "graph"),
        ({"graph": 1e-3, "eager": 4e-3}, ("graph",), "eager"),
        ({"graph": 5e-3, "eager": 4e-3}, (), "eager"),
        ({"kernel": 1e-2, "compiled": 1e-3, "eager": 5e-2}, (), "kernel"),  # compiling is measured to be no faster
        ({"kernel": 1e-2, "compiled": 1e-3, "eager": 5e-2}, ("kernel",), "compiled"),
    ],
)
def test_the_fastest_right_way_trains(seconds: dict[str, float], wrong: tuple[str, ...], expected: str) -> None:
    for _ in range(2):  # as it is tried, and as it is kept
        assert chosen(seconds, wrong) == expected


def test_weights_that_are_no_numbers_are_wrong() -> None:
    plain, nan = ([torch.full((1, 3), value)] for value in (0.5, float("nan")))
    trials = [ways.Trial(weights, weights, [], [{"loss": 1.0}], 1.0) for weights in (nan, plain)]
    assert ways.difference(trials[0], trials[1], [0.1]) == "makes weights that are not finite"
    worse = ways.Trial(plain, plain, [], [{"loss": float("nan")}], 1.0)
    assert ways.difference(worse, trials[1], [0.1]).startswith("reports another loss")


# -- what hangs, and what ends its process ------------------------------------------------------------


class Scripted:
    """A shard that sends what it is given, and then nothing."""

    def __init__(self, shard: Shard, starts: Sequence[Start], messages: list[Message]) -> None:
        self.shard, self.starts, self.messages, self.was_killed = shard, starts, messages, False

    def leave_out(self, members: Collection[int]) -> None: ...

    def end(self) -> None: ...

    def kill(self) -> None:
        self.was_killed = True


class Engine:
    """Starts shards that send what a function says of what they start from."""

    room = Room("cuda", 1, gpus=1)

    def __init__(self, script: Any) -> None:
        self.script, self.started = script, list[Scripted]()

    def start(self, shard: Shard, configs: object, starts: Sequence[Start], working: Collection[Scripted]) -> Any:
        if working:
            return None
        its = [starts[member] for member in shard.members]
        self.started.append(Scripted(shard, its, self.script(shard, its)))
        return self.started[-1]

    def messages(self, working: Collection[Scripted], seconds: float) -> Iterator[tuple[Scripted, Message]]:
        for each in list(working):
            if each.messages:
                yield each, each.messages.pop(0)

    def troubles(self) -> Sequence[str]:
        return ()


def events(script: Any, many: int = 1) -> tuple[Engine, list[Any]]:
    engine, configs = Engine(script), [LENET] * many
    shard = Shard(tuple(range(many)), 1, "cuda")
    found = list(shards.train(configs, [fresh_start(LENET)] * many, "cuda", shards=[shard], engine=engine))
    return engine, [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ([], "does not answer within 0 s"),
        ([ShardFailed(ON_GPU, "killed", died=True)], "ends the process that tries it"),
        (
            [ShardFailed(ON_GPU, "RuntimeError: illegal address")],
            "fails (RuntimeError: illegal address)",
        ),
    ],
    ids=["hangs", "dies", "fails"],
)
def test_a_shard_goes_on_without_the_way_that_it_did_not_survive(last: list[Message], why: str) -> None:
    def script(shard: Shard, starts: Sequence[Start]) -> list[Message]:
        if starts[0].left_out:
            return [Trying(shard, "compiled graph", 100.0), Trying(shard, "", 0.0), Done()]
        return [Trying(shard, "graph", 0.0), *last]

    engine, found = events(script)
    assert [each.starts[0].left_out for each in engine.started] == [{}, {"graph": why}]
    assert engine.started[0].was_killed == (not last)
    assert found == []  # nobody else need know


def test_what_dies_when_nothing_is_tried_has_failed() -> None:
    failed = ShardFailed(ON_GPU, "was killed", died=True)
    for messages in ([failed], [Trying(failed.shard, "graph", 9.0), Trying(failed.shard, "", 0.0), failed]):
        engine, found = events(lambda shard, starts, messages=messages: messages[:])
        assert (len(engine.started), found) == (1, [failed])
    for elsewhere in (replace(failed, is_lost=True), replace(failed, was_killed=True)):  # nothing says it was the way
        messages = [Trying(failed.shard, "graph", 9.0), elsewhere]
        assert events(lambda shard, starts, messages=messages: messages[:])[1] == [elsewhere]


def test_too_little_memory_halves_the_stack_and_says_so() -> None:
    def script(shard: Shard, starts: Sequence[Start]) -> list[Message]:
        if len(shard.members) > 3:
            many = f"{len(shard.members)} networks at once: launch fewer together"
            return [ShardFailed(shard, f"the memory of cuda is too small for {many}", lacks_memory=True)]
        return [ShardStarted(shard), Done()]

    engine, found = events(script, 10)
    assert [each.shard.members for each in found] == [(0, 1, 2), (3, 4), (5, 6, 7), (8, 9)]
    assert engine.started[-1].starts[0].notes == (
        "the memory of cuda is too small for 10 networks at once: 5 are trained at a time",
        "the memory of cuda is too small for 5 networks at once: 3 are trained at a time",
    )
    alone = ShardFailed(ON_GPU, "the memory of cuda is too small", lacks_memory=True)
    assert events(lambda shard, starts: [alone])[1] == [alone]


GXX = shutil.which("g++") or ""
# It compiles lenet.cpp with a walk that never ends.
HANGING = """#!/bin/bash
arguments=()
for each; do
  case "$each" in
    */lenet.cpp)
      made="$(mktemp --suffix=.cpp)"
      printf '#define walk honest_walk\\n#include "%s"\\n#undef walk\\n#include <unistd.h>\\n' "$each" > "$made"
      printf 'extern "C" void walk() {{ for (;;) pause(); }}\\n' >> "$made"
      each="$made" ;;
  esac
  arguments+=("$each")
done
exec {gxx} "${{arguments[@]}}"
"""


@needs_kernel
@pytest.mark.usefixtures("few_pictures")
def test_a_kernel_that_hangs_is_ended_and_the_run_ends_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, as all training is."""
    path = tmp_path / "g++"
    path.write_text(HANGING.format(gxx=GXX))
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    note = shards._Trials.note

    def at_once(trials: Any, shard: Shard, message: Trying) -> None:  # but for compiling
        note(trials, shard, replace(message, seconds=1.0) if message.seconds < ways.READY_SECONDS else message)

    monkeypatch.setattr(shards._Trials, "note", at_once)
    config = replace(LENET, dataset="synthetic", limit_train=1000, batch_size=1)
    found = list(shards.train([config]))
    (result,) = [each for each in found if isinstance(each, EpochResult) and each.epoch == 1]
    assert result.method == "eager"
    (line,) = {line for each in found if isinstance(each, shards.ShardProgress) for line in each.progress.troubles}
    assert line == "LeNet's own kernel does not answer within 1 s: steps are run without it"
