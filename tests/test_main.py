"""The command line, as a user types it."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnnviz import __main__ as command_line
from cnnviz import paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.store import artifacts, changes, reading


def main(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = command_line.main(words)
    except SystemExit as left:
        status = int(left.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def trained(dataset: str = "synthetic") -> str:
    config = RunConfig(dataset=dataset, epochs=1)
    (run_id,) = changes.schedule([config], "cpu")
    artifacts.save_checkpoint(run_id, 1, initial_weights(architecture(config.model), 0), {})
    for epoch, accuracy in enumerate((0.1, 0.25)):
        changes.record(run_id, epoch, {"test_accuracy": accuracy, "test_loss": 2.0}, [])
    changes.finish(run_id, "FINISHED")
    return run_id


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--lr", "fast"],
        ["train", "--epochs", "0"],
        ["train", "--epochs", "2.5"],
        ["train", "--model", "c6k40"],
        ["train", "--activation", "tanh,cube"],
        ["train", "--colour", "red"],
        ["train", "--device", "abacus"],
        ["continue", "nothing", "--epochs", "3"],
        ["continue", "nothing"],
        ["stop", "nothing"],
        ["features", "nothing"],
        ["dance"],
        [],
    ],
)
def test_bad_arguments_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = main(capsys, *words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_readmes_reference_is_what_help_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Word for word; how lines are broken is the terminal's and Python's affair."""
    (reference,) = re.findall(r"```text\n(usage.*?)```", (paths.PROJECT / "README.md").read_text(), re.DOTALL)
    status, out, _ = main(capsys, "train", "--help")
    assert status == 0
    assert "".join(reference.split()) == "".join(out.split())


def test_training_in_the_foreground(synthetic_root: Path) -> None:
    words = ["--model", "c4k5-s2-f12", "--loss", "mse,cross_entropy", "--epochs", "2", "--dataset", "synthetic"]
    command = [sys.executable, "-m", "cnnviz", "train", *words, "--limit-train", "500"]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("FINISHED") == 2
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr  # no terminal: a line an epoch, no bar
    assert [line.split(",")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert len(lines) <= 8, done.stderr
    assert len(reading.runs()) == 2


def test_a_terminal_gets_a_bar(synthetic_root: Path) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    words = ["--model", "f12", "--epochs", "1", "--dataset", "synthetic", "--limit-train", "100"]
    with subprocess.Popen(
        [sys.executable, "-m", "cnnviz", "train", *words], cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux says so if the other end is closed
            while some := os.read(terminal, 4096):
                shown += some
    os.close(terminal)
    assert process.returncode == 0
    assert shown.count(b"\r") > 2
    assert b"|" in shown


def test_real_cifar10_one_epoch_of_the_studys_network(cifar10_root: Path) -> None:
    """0.42 to 0.60 after one epoch, with steps 0 and 1 of every metric."""
    words = ["--model", "lenet5x5", "--activation", "tanh", "--loss", "cross_entropy", "--lr", "0.01", "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "cnnviz", "train", *words], cwd=paths.PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (run,) = reading.runs()
    assert run.status == "FINISHED"
    assert 0.42 <= run.accuracy[1] <= 0.60
    for metric in reading.metric_names(run.id):
        assert reading.history([run.id], [metric]).epoch.tolist() == [0, 1], metric


def test_runs_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no runs yet" in main(capsys, "runs")[1]
    run_id = trained()
    assert "25.00%" in main(capsys, "runs")[1]
    (row,) = json.loads(main(capsys, "runs", "--json")[1])
    assert (row["id"], row["status"], row["best_epoch"], row["params"]["lr"]) == (run_id, "FINISHED", 1, 0.01)


def test_the_sheet(capsys: pytest.CaptureFixture[str], tmp_path: Path, synthetic_root: Path) -> None:
    run_id, out = trained(), tmp_path / "sheet.png"
    status, said, _ = main(capsys, "features", run_id[:8], "--images", "test:0-9", "--layer", "c3", "--out", str(out))
    assert status == 0
    assert said.count("predicted") == 10
    with Image.open(out) as drawn:
        assert drawn.width > 500
    picture = tmp_path / "mine.png"
    Image.new("RGB", (50, 40), "red").save(picture)
    assert main(capsys, "features", run_id, "--images", str(picture), "--out", str(out))[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--images", "test:9-3"],
        ["--images", "test:0-10000"],
        ["--images", "not-there.png"],
        ["--images", __file__],
        ["--layer", "c9"],
        ["--epoch", "7"],
        ["--out", "/nowhere/at/all.png"],
    ],
)
def test_what_a_sheet_cannot_be_made_of(
    capsys: pytest.CaptureFixture[str], synthetic_root: Path, words: list[str]
) -> None:
    status, _, err = main(capsys, "features", trained(), *words)
    assert status == 2
    assert err.count("\n") == 1


def test_data(capsys: pytest.CaptureFixture[str], cifar10_root: Path) -> None:
    assert "right checksum" in main(capsys, "data", "--check")[1]
    os.environ["CNNVIZ_DATA"] = "/nowhere"
    assert "--fetch" in main(capsys, "data")[1]
    status, _, err = main(capsys, "data", "--check")
    assert (status, err.count("\n")) == (2, 1)
