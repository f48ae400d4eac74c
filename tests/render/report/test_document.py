"""What is in a report: sections of what is recorded; what is missing is named, with the way to have it."""

from pathlib import Path

import pytest

from cnnviz.config import RunConfig
from cnnviz.errors import StoreError
from cnnviz.presets import PRESETS
from cnnviz.render.report import document, sections
from cnnviz.render.report.document import Document
from cnnviz.render.report.pieces import Charts, Commands, Figures, Matrix, Table, Text
from cnnviz.render.report.sections import parts
from cnnviz.store import changes, reports
from tests.helpers.runs import seed
from tests.render.report.conftest import Made


def _said(made: Document, key: str) -> str:
    (chapter,) = [each for each in made.chapters if each.key == key]
    return " ".join(each.text for each in chapter.pieces if isinstance(each, Text | Commands))


def test_every_section_shows_something(made: Made) -> None:
    kinds = {chapter.key: {type(piece) for piece in chapter.pieces} for chapter in made.document.chapters}
    assert kinds["runs"] >= {Table}
    assert kinds["curves"] >= {Charts}
    assert kinds["flow"] >= {Charts}
    assert kinds["pictures"] >= {Figures}
    assert kinds["contrast"] >= {Figures}
    assert kinds["kernels"] >= {Figures}
    assert kinds["mistakes"] >= {Matrix, Table, Figures}
    missing = [
        (chapter.key, piece.text)
        for chapter in made.document.chapters
        for piece in chapter.pieces
        if isinstance(piece, Text) and piece.kind == "missing"
    ]
    assert [key for key, _ in missing] == ["predictions"]


def test_progress_rises(made: Made) -> None:
    assert made.steps == sorted(made.steps)
    assert made.steps[0] == 0
    assert made.steps[-1] < 1


def test_ten_pictures_have_predictions_in_words(made: Made) -> None:
    (chapter,) = [each for each in made.document.chapters if each.key == "pictures"]
    (figures,) = [piece for piece in chapter.pieces if isinstance(piece, Figures)]
    assert len(figures.figures) == 10
    assert figures.steps == ["epoch 0", "epoch 1", "epoch 2"]
    for label, figure in enumerate(figures.figures):
        for caption in figure.captions:
            assert caption.startswith("predicted: ")
            assert f"true: {label} " in caption


def test_the_study_with_nothing_trained_says_what_to_train(few_pictures: Path) -> None:
    made = document.make(reports.load())
    assert [chapter.key for chapter in made.chapters] == [section.key for section in sections.STUDY]
    assert "Part 1a still lacks 12 networks" in _said(made, "runs")
    assert (
        "python -m cnnviz train --model lenet5x5 --activation sigmoid,tanh --loss mse,cross_entropy --lr 0.1,0.01,0.001"
        in _said(made, "runs")
    )
    assert "--model conv5" in _said(made, "deeper")
    for chapter in made.chapters:
        assert chapter.pieces, chapter.key


def test_commands_train_what_is_missing() -> None:
    configs = PRESETS["1a"].configs(dataset="synthetic")
    (one,) = parts.commands(configs)
    assert one.endswith("--dataset synthetic")
    assert len(parts.commands(configs[:5])) == 5  # no grid
    assert parts.commands([RunConfig(epochs=3)]) == ["python -m cnnviz train --model lenet5x5 --epochs 3"]


def test_runs_without_weights_or_epochs_are_said_in_a_line(few_pictures: Path) -> None:
    ids = changes.schedule([RunConfig(dataset="synthetic")], "cpu")
    made = document.make(reports.load(ids))
    assert all(chapter.pieces for chapter in made.chapters)
    (gone,) = seed([0.1, 0.2])
    from cnnviz import paths

    for file in (paths.home() / "artifacts" / gone).rglob("*.safetensors"):
        file.unlink()
    assert "has no checkpoint" in _said(document.make(reports.load([gone])), "pictures")


def test_a_run_that_is_gone_is_named() -> None:
    with pytest.raises(StoreError, match="no longer there"):
        document.make(reports.load(["0" * 32]))


def test_the_order_is_the_chosen_one() -> None:
    report = reports.Report("study", order=("code", "setup"))
    assert [section.key for section in document.template(report)][:1] == ["code"]
    assert document.title_of(report) == document.STUDY_TITLE
    assert document.title_of(reports.Report("x", title=" My \n title ")) == "My title"
