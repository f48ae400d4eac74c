"""Whatever is wrong with a C++ compiler costs time, never a training, and never a bit of what is trained."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from cnnviz.config import RunConfig
from cnnviz.data import Dataset
from cnnviz.train import compiled, dense, loop, native
from tests.helpers.noise import noise
from tests.helpers.training import together

GXX = shutil.which("g++") or ""
pytestmark = pytest.mark.skipif(not GXX, reason="no g++ here to break")
HONEST = 'case "$*" in *--version*|*-dumpversion*|"-v") exec {gxx} "$@" ;; esac\n'  # it introduces itself
BROKEN = {
    "it says nothing": HONEST + "exit 1",
    "it complains in no known encoding": HONEST + "printf 'caf\\xe9.cpp:1: error: out of coffee\\n' >&2; exit 1",
    "it makes nothing": HONEST + "exit 0",
    "it makes nonsense": HONEST + 'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"',
    "it is killed": HONEST + "kill -9 $$",
    "it makes another library": HONEST + 'while [ "$1" != -o ]; do shift; done\n'
    'echo "int x;" > "$2.c"; exec {gxx} -x c -shared -fPIC -o "$2" "$2.c"',
    "it does not even start": "exit 127",
    "it takes for ever": "sleep 600",  # in a process of its own, as cc1plus is
    "it introduces itself and takes for ever": HONEST + "sleep 600",
}
SMALL = RunConfig(model="c2k5-s2-c3k3-s2-f12", epochs=1, batch_size=10, limit_train=100)
LARGE = replace(SMALL, model="c2k5-s2-f300-f900")  # its second fully connected layer has a library of its own
DENSE = replace(LARGE, model="f300-f900")  # without a convolution PyTorch gets to the compiler in half the time


@pytest.fixture
def data_set() -> Dataset:
    return noise(100, 50)


@pytest.fixture(autouse=True)
def _nothing_compiled_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setattr(native, "troubles", [])
    monkeypatch.setattr(compiled, "_failed", False)

    def forget() -> None:
        torch._dynamo.reset()
        native.library.cache_clear()
        native.silence.cache_clear()
        dense._compiled.cache_clear()

    forget()
    yield
    forget()


@contextlib.contextmanager
def installed(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch._inductor.config as settings

    path = folder / "g++"
    path.write_text(f"#!/bin/bash\n{script.format(gxx=GXX)}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    with settings.patch({"cpp.cxx": (None, str(path))}):
        yield


def weights(config: RunConfig, data_set: Dataset, method: str, in_fact: str = "") -> dict[str, torch.Tensor]:
    *_, last = together(loop.train_stack([config], data_set, method=method))
    assert (last.epoch, last.method) == (1, in_fact or method)
    return last.weights


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_compiler_leaves_the_plain_step(
    fault: str, data_set: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "for ever" in fault:
        monkeypatch.setattr(native, "ANSWER_SECONDS", 0.5)
    methods = {DENSE: "compiled", SMALL: "kernel"}
    with installed(BROKEN[fault], tmp_path, monkeypatch):
        ours = {config: weights(config, data_set, method, "eager") for config, method in methods.items()}
    assert sorted(line.split(" cannot ")[0] for line in native.troubles) == ["PyTorch", "dense.cpp", "lenet.cpp"]
    assert not any("\n" in line or len(line) > 400 for line in native.troubles)
    for config, trained in ours.items():
        assert equal(trained, weights(config, data_set, "eager"))


def test_what_takes_a_kernels_place_may_fail_as_well(
    data_set: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installed(BROKEN["it says nothing"], tmp_path, monkeypatch):
        ours = weights(SMALL, data_set, "kernel", "eager")
    assert [line.split(" cannot ")[0] for line in native.troubles] == ["lenet.cpp", "PyTorch"]
    assert equal(ours, weights(SMALL, data_set, "eager"))


def test_a_whole_compiler_is_used_and_nothing_is_said(data_set: Dataset) -> None:
    weights(LARGE, data_set, "compiled")
    assert (native.troubles, compiled._failed) == ([], False)


def test_a_step_that_fails_half_way_is_taken_back(data_set: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(step: object, **_: object) -> object:
        def fail(images: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> None:
            stack = step.__self__  # type: ignore[attr-defined]
            for each in stack.state():
                each.add_(1)
            raise RuntimeError("the compiled code fails")

        return fail

    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", half)
        ours = weights(SMALL, data_set, "compiled", "eager")
    (line,) = native.troubles
    assert line == "PyTorch cannot compile the step (the compiled code fails): it runs without, slower"
    assert equal(ours, weights(SMALL, data_set, "eager"))


def test_a_compiler_that_takes_for_ever_over_one_file_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "COMPILE_SECONDS", 0.5)
    slow = 'case "$*" in *dense.cpp*) sleep 604 ;; *) exec {gxx} "$@" ;; esac'
    with (
        installed(slow, tmp_path, monkeypatch),
        pytest.raises(native.CnnvizError, match=r"dense\.cpp cannot be compiled: it took more than 0\.5 s"),
    ):
        native.library("dense.cpp", UNITS=5, PICTURES=2)
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "604"]], (
        "its work goes on"
    )
