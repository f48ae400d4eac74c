"""The command line, as a user types it."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn import metrics

from cnnviz import __main__ as command_line
from cnnviz import data, paths
from cnnviz.architectures import architecture, build, initial_weights
from cnnviz.config import RunConfig
from cnnviz.store import artifacts, changes, reading
from tests.helpers.processes import Started, run_warm


def main(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = command_line.main(words)
    except SystemExit as left:
        status = int(left.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def trained(model: str = "lenet5x5") -> str:
    config = RunConfig(model=model, dataset="synthetic", epochs=1)
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
        ["mistakes", "nothing"],
        ["mistakes"],
        ["mistakes", "one", "two", "three"],
        ["mistakes", "nothing", "--epoch", "last"],
        ["export", "nothing"],
        ["export"],
        ["export", "nothing", "--as", "sculpture"],
        ["export", "nothing", "--as", "notebook", "--epoch", "3"],
        ["report"],
        ["report", "nothing"],
        ["report", "nothing", "--study"],
        ["report", "--study", "--out", "report.docx"],
        ["report", "--study", "--out", "no/such/folder/report.html"],
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


def test_training_in_the_foreground(few_pictures: Path) -> None:
    words = ["--model", "c4k5-s2-f12", "--loss", "mse,cross_entropy", "--epochs", "2", "--dataset", "synthetic"]
    command = [sys.executable, "-m", "cnnviz", "train", *words, "--limit-train", "500"]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("FINISHED") == 2
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr  # no terminal: a line an epoch, no bar
    assert [line.split(",")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert len(lines) <= 12, done.stderr  # one more whenever a shard goes from one thing to the next
    assert len(reading.runs()) == 2


def test_a_terminal_gets_a_bar(few_pictures: Path) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    words = ["--model", "f12", "--epochs", "1", "--dataset", "synthetic", "--limit-train", "100"]
    with Started("cnnviz", "train", *words, stderr=theirs) as process:
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
    done = run_warm("train", *words, timeout=1200)
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


def test_the_sheet(capsys: pytest.CaptureFixture[str], tmp_path: Path, few_pictures: Path) -> None:
    run_id, out = trained(), tmp_path / "sheet.png"
    status, said, _ = main(capsys, "features", run_id[:8], "--images", "test:0-9", "--layer", "c3", "--out", str(out))
    assert status == 0
    assert said.count("predicted") == 10
    with Image.open(out) as drawn:
        assert drawn.width > 500
    picture = tmp_path / "mine.png"
    Image.new("RGB", (50, 40), "red").save(picture)
    assert main(capsys, "features", run_id, "--images", str(picture), "--out", str(out))[0] == 0


def test_test_pictures_and_files_on_one_sheet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, few_pictures: Path
) -> None:
    """In the order in which they are named; of a file, nobody knows the class."""
    Image.new("RGB", (50, 40), "red").save(tmp_path / "mine.png")
    images = ["test:7,3", str(tmp_path / "mine.png"), "test:0-1"]
    status, said, _ = main(capsys, "features", trained(), "--images", *images, "--out", str(tmp_path / "sheet.png"))
    assert status == 0
    labels = data.load("synthetic").test_labels
    truths = [re.findall(r", true (\d)", line) for line in said.splitlines()[:-1]]
    assert truths == [[str(int(labels[7]))], [str(int(labels[3]))], [], [str(int(labels[0]))], [str(int(labels[1]))]]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP")]
)
def test_a_sheet_is_of_the_format_that_its_name_ends_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, few_pictures: Path, name: str, kind: str
) -> None:
    assert main(capsys, "features", trained(), "--images", "test:0", "--out", str(tmp_path / name))[0] == 0
    with Image.open(tmp_path / name) as drawn:
        assert drawn.format == kind


@pytest.mark.parametrize(
    ("model", "layer"), [("f84", "fc1_activation"), ("f20-f12", "fc2_activation"), ("c4k5", "c1_activation")]
)
def test_every_network_has_a_sheet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, few_pictures: Path, model: str, layer: str
) -> None:
    run_id, out = trained(model), str(tmp_path / "sheet.png")
    status, said, _ = main(capsys, "features", run_id, "--images", "test:0-2", "--out", out)
    assert status == 0
    assert said.splitlines()[-1].startswith(f"{layer} of {model} ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--images", "test:9-3"], "write test:0-9"),
        (["--images", "test:0-1000"], "write test:0-9"),
        (["--images", "test:" + 5000 * "9"], "write test:0-9"),
        (["--images", "test:"], "write test:0-9"),
        (["--images", "test:0-100"], "more than the 100 pictures a sheet shows: name fewer"),
        (["--images", "test:0-999," + 9 * "0-999," + "0"], "more than the 100 pictures a sheet shows: name fewer"),
        (["--images", "test:0-98", "test:1,2"], "more than the 100 pictures a sheet shows: name fewer"),
        (["--images", *101 * ["not-there.png"]], "more than the 100 pictures a sheet shows: name fewer"),
        (["--images", "not-there.png"], "cannot be read"),
        (["--images", __file__], "is not a JPEG"),
        (["--layer", "c9"], "choose one of"),
        (["--epoch", "7"], ""),
        (["--out", "/nowhere/at/all.png"], "choose another --out"),
        (["--out", "sheet.tiff"], "choose one of .png, .jpg, .jpeg, .webp"),
        (["--out", "sheet"], "choose one of .png, .jpg, .jpeg, .webp"),
    ],
)
def test_what_a_sheet_cannot_be_made_of(
    capsys: pytest.CaptureFixture[str], few_pictures: Path, words: list[str], why: str
) -> None:
    status, _, err = main(capsys, "features", trained(), *words)
    assert status == 2
    assert err.count("\n") == 1
    assert why in err


def test_data(capsys: pytest.CaptureFixture[str], cifar10_root: Path) -> None:
    assert "right checksum" in main(capsys, "data", "--check")[1]
    os.environ["CNNVIZ_DATA"] = "/nowhere"
    assert "--fetch" in main(capsys, "data")[1]
    status, _, err = main(capsys, "data", "--check")
    assert (status, err.count("\n")) == (2, 1)


def test_mistakes_of_one_run_and_of_two(capsys: pytest.CaptureFixture[str], few_pictures: Path) -> None:
    run_id, dataset = trained(), data.load("synthetic")
    module = build(architecture("lenet5x5"), "tanh", "max")
    module.load_state_dict(initial_weights(architecture("lenet5x5"), 0))
    with torch.no_grad():
        expected = module((dataset.test_images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5).argmax(1)
    one = json.loads(main(capsys, "mistakes", run_id[:8], "--json")[1])
    assert (one["run"], one["epoch"], one["classes"]) == (run_id, 1, list(dataset.classes))
    assert one["confusion"] == metrics.confusion_matrix(dataset.test_labels, expected, labels=range(10)).tolist()
    assert one["accuracy"] == metrics.accuracy_score(dataset.test_labels, expected)
    two = json.loads(main(capsys, "mistakes", run_id, run_id, "--epoch", "1", "--json")[1])
    assert two["a"] == two["b"] == one
    right = sum(one["confusion"][at][at] for at in range(10))
    assert [two[name] for name in ("both_right", "only_a", "only_b", "both_wrong", "p")] == [
        right,
        0,
        0,
        1_000 - right,
        1,
    ]
    status, said, err = main(capsys, "mistakes", run_id)
    assert (status, err) == (0, "")
    assert f"{right:,} of 1,000 test pictures right" in said
    status, _, err = main(capsys, "mistakes", run_id, "--epoch", "7")
    assert (status, err.count("\n")) == (2, 1)
    assert "no checkpoint of epoch 7; kept are: 1" in err
    other = changes.schedule([RunConfig(model="lenet5x5")], "cpu")[0]
    assert "different data sets" in main(capsys, "mistakes", run_id, other)[2]


def test_export(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = trained()
    monkeypatch.chdir(tmp_path)
    status, out, _ = main(capsys, "export", run_id[:8])
    assert status == 0
    assert f"run_{run_id[:8]}.py" in out
    compile(Path(f"run_{run_id[:8]}.py").read_text(encoding="utf-8"), "run.py", "exec")
    assert main(capsys, "export", run_id)[0] == 0, "the same again overwrites nothing"
    Path(f"run_{run_id[:8]}.py").write_text("mine")
    status, out, err = main(capsys, "export", run_id)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "exists: choose another --out, or overwrite it with --force" in err
    assert main(capsys, "export", run_id, "--force")[0] == 0
    assert main(capsys, "export", run_id, "--as", "notebook", "--out", "it.ipynb")[0] == 0
    assert main(capsys, "export", run_id, "--as", "report", "--out", "it.html")[0] == 0
    assert Path("it.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "it.html exists" in main(capsys, "export", run_id, "--as", "report", "--out", "it.html")[2]
    assert json.loads(Path("it.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4
    status, out, _ = main(capsys, "export", run_id, "--as", "weights", "--out", "it's.safetensors")
    assert status == 0
    assert """load_file("it's.safetensors")""" in out
    assert Path("it's.safetensors").stat().st_size > 4 * 62_006
    assert "kept are: 1" in main(capsys, "export", run_id, "--as", "weights", "--epoch", "7", "--out", "x")[2]
    assert "cannot write" in main(capsys, "export", run_id, "--out", "nowhere/run.py")[2]
    assert not Path("x").exists()
    (waiting,) = changes.schedule([RunConfig()], "cpu")
    assert "has no checkpoint yet" in main(capsys, "export", waiting, "--as", "weights")[2]


def test_a_forks_script_comes_with_the_weights_it_starts_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forked = changes.fork(trained(), 1, {"lr": 0.5}, 3, "cpu")
    status, out, _ = main(capsys, "export", forked, "--out", "mine.py")
    assert status == 0
    start = f"run_{forked[:8]}-start.safetensors"
    assert start in out
    assert {path.name for path in tmp_path.iterdir()} >= {"mine.py", start}
    assert start in Path("mine.py").read_text(encoding="utf-8")
    assert main(capsys, "export", forked, "--as", "notebook", "--out", "mine.ipynb")[0] == 0
    Path(start).write_text("mine")
    assert f"{start} exists" in main(capsys, "export", forked, "--out", "other.py")[2]
    assert not Path("other.py").exists(), "nothing is written if not all may be"
