"""Our kernels as programs: made for another processor and run in an emulator, or made to watch their own steps."""

import ctypes
import functools
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from cnnviz.train import native

SECONDS = 300  # for a compiler or a program, on a machine that is busy
PICTURE = 3 * 32 * 32
PROGRAM = Path(__file__).with_name("program.cpp")


class Machine(NamedTuple):
    compiler: str
    words: tuple[str, ...]
    lanes: int  # floats in a vector
    emulator: tuple[str, ...] = ()

    @functools.cache  # noqa: B019
    def missing(self) -> str:
        """Why nothing can be tried on it; "" if it can."""
        for name in (self.compiler, *self.emulator):
            if not shutil.which(name):
                return f"no {name} here"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "least.cpp"
            source.write_text("int main() {}\n")
            command = [self.compiler, *self.words, str(source), "-o", f"{folder}/least"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return f"{self.compiler}: {native.first_error(done.stderr)}" if done.returncode else ""


ARM = Machine("aarch64-linux-gnu-g++", ("-O3", "-fopenmp", "-static"), 4, ("qemu-aarch64-static",))
WATCHED = Machine("g++", ("-O0", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"), 8)


class Program:
    """Stands in for the library that native.library makes: the same functions on the same memory."""

    def __init__(self, machine: Machine, folder: Path, **constants: int | str) -> None:
        self.machine, self.folder, self.made = machine, folder, folder / "program"
        self.layers = str(constants.get("FC", "")).count(",") + 2
        for name in native.FUNCTIONS["dense.cpp" if "UNITS" in constants else "lenet.cpp"]:
            setattr(self, name, functools.partial(getattr(self, f"_{name}")))  # which takes argtypes, as a library's
        self.constants = constants
        defined = [f"-D{name}={value}" for name, value in constants.items()]
        self._run([machine.compiler, "-std=c++17", *machine.words, *defined, str(PROGRAM), "-o", str(self.made)])

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _call(self, function: str, numbers: Sequence[int], *arrays: tuple[int, int]) -> None:
        """With arrays of (address, bytes)."""
        files = [self.folder / str(index) for index in range(len(arrays))]
        for file, (address, size) in zip(files, arrays, strict=True):
            file.write_bytes(ctypes.string_at(address, size))
        self._run([*self.machine.emulator, str(self.made), str(self.folder), function, *map(str, numbers)])
        for file, (address, size) in zip(files, arrays, strict=True):
            ctypes.memmove(address, file.read_bytes(), size)
            file.unlink()

    # -- lenet.cpp -------------------------------------------------------------------------------

    @functools.cache  # noqa: B019
    def _floats(self) -> int:
        return int(self._run([*self.machine.emulator, str(self.made), str(self.folder), "floats"]))

    def _walk(
        self, weights: int, runs: int, kinds: int, mse: int, rates: int, steps: int, images: int, labels: int,
        order: int, pictures: int, totals: int,
    ) -> None:  # fmt: skip
        rows = struct.unpack(f"{pictures}q", ctypes.string_at(order, 8 * pictures))
        given = max(rows) + 1
        arrays = (weights, 4 * runs * self._floats()), (kinds, 4 * runs), (mse, runs), (rates, 12 * runs)
        data = (steps, 4 * runs), (images, PICTURE * given), (labels, 8 * given), (order, 8 * pictures)
        self._call("walk", [runs, pictures], *arrays, *data, (totals, 4 * runs * (2 + 2 * self.layers)))

    def _judge_all(
        self, weights: int, runs: int, kinds: int, mse: int, images: int, labels: int, pictures: int, totals: int
    ) -> None:
        arrays = (weights, 4 * runs * self._floats()), (kinds, 4 * runs), (mse, runs)
        data = (images, PICTURE * pictures), (labels, 8 * pictures), (totals, 16 * runs)
        self._call("judge_all", [runs, pictures], *arrays, *data)

    # -- dense.cpp -------------------------------------------------------------------------------

    def _sizes(self, inputs: int) -> tuple[int, int, int]:
        """Bytes of the weights, of what enters, and of the values."""
        units, pictures = int(self.constants["UNITS"]), int(self.constants["PICTURES"])
        return 4 * inputs * units, 4 * pictures * inputs, 4 * pictures * units

    def _forward(self, weights: int, bias: int, entering: int, values: int, inputs: int) -> None:
        large, enters, leaves = self._sizes(inputs)
        arrays = (weights, large), (bias, 4 * int(self.constants["UNITS"])), (entering, enters), (values, leaves)
        self._call("forward", [inputs], *arrays)

    def _back_and_learn(self, weights: int, entering: int, grad: int, before: int, inputs: int, rate: float) -> float:
        large, enters, leaves = self._sizes(inputs)
        norm, step = ctypes.c_float(), ctypes.c_float(rate)
        numbers = (ctypes.addressof(norm), 4), (ctypes.addressof(step), 4)
        arrays = (weights, large), (entering, enters), (grad, leaves), (before, enters)
        self._call("back_and_learn", [inputs], *arrays, *numbers)
        return norm.value


def installed(machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are made for that machine from here on; skips where it cannot be."""
    if why := machine.missing():
        pytest.skip(why)
    made: dict[str, Program] = {}

    def library(source: str, *words: str, **constants: int | str) -> Program:
        name = " ".join(map(str, constants.values()))
        if name not in made:
            own = folder / str(len(made))
            own.mkdir()
            made[name] = Program(machine, own, **constants)
        return made[name]

    monkeypatch.setattr(native, "library", library)
    monkeypatch.setattr(native, "compiler", lambda: machine.compiler)
    monkeypatch.setattr("cnnviz.train.lenet.LANES", machine.lanes)
