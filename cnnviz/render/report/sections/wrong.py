"""What the best network gets wrong."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from cnnviz.inspection import gallery
from cnnviz.render import mistake_tables
from cnnviz.render.heat import shades
from cnnviz.render.mistake_tables import Result
from cnnviz.render.report.pieces import Figure, Figures, Heading, Matrix, Piece, Table, Text
from cnnviz.render.report.sources import Sources, best
from cnnviz.store.runs import Run
from cnnviz.wording import count

MOST = 6  # pictures of a cell
COLUMNS = 40  # of the sprite
CONFIDENT = 10  # mistakes shown
SIDE = 32


def mistakes(sources: Sources) -> Iterator[Piece]:
    """Confusion matrix, figures by class, the most confident mistakes."""
    run = best(sources.of_part("1a"))
    if run is not None:
        yield from of_run(sources, run)


def result(sources: Sources, run: Run) -> Result:
    dataset, epoch = sources.dataset(run), sources.epochs(run)[-1]
    answers = sources.answers(run, epoch)
    return mistake_tables.result(run, epoch, answers, dataset.test_labels, dataset.classes)


def of_run(sources: Sources, run: Run) -> Iterator[Piece]:
    found = result(sources, run)
    dataset, wrong = sources.dataset(run), found.mistakes
    total = len(found.labels)
    right = round(wrong.accuracy * total)
    yield Text(
        f"{run.name}, epoch {found.epoch}: {100 * wrong.accuracy:.2f} %, {right:,} of {total:,} test pictures right."
    )
    yield matrix(found, dataset.test_images)
    notes = mistake_tables.as_text(found).rsplit("\n\n", 1)[-1]
    yield Text(notes.replace("\n", " "))
    rows = [
        (
            name,
            str(int(wrong.confusion[place].sum())),
            f"{100 * wrong.precision[place]:.1f}" if wrong.predicted[place] else "–",
            f"{100 * wrong.recall[place]:.1f}",
            f"{100 * wrong.f1[place]:.1f}",
        )
        for place, name in enumerate(found.classes)
    ]
    yield Table(("class", "pictures", "precision", "recall", "F1"), rows, "Figures by class, in %")
    order = gallery.mistakes(found.prediction, found.labels)[:CONFIDENT].tolist()
    if order:
        yield Heading(f"The {count(len(order), 'most confident mistake')}")
        yield Figures(
            [
                Figure(
                    [Image.fromarray(dataset.test_images[index].numpy())],
                    [_said(found, index)],
                    f"test picture {index}, of class {found.classes[int(found.labels[index])]}",
                    zoom=3,
                )
                for index in order
            ],
            columns=5,
        )


def matrix(found: Result, images: torch.Tensor) -> Matrix:
    """With the most confident pictures of each cell."""
    names, counts = found.classes, found.mistakes.confusion
    shares = found.mistakes.by("true")
    colours = [shades(np.nan_to_num(row).tolist(), 0.0, 1.0) for row in shares]
    cells: dict[tuple[int, int], list[tuple[int, str]]] = {}
    chosen: list[int] = []
    for true in range(len(names)):
        for taken in range(len(names)):
            some = gallery.confused(found.prediction, found.labels, true, taken)[:MOST].tolist()
            cells[true, taken] = [(len(chosen) + place, _sure(found, index)) for place, index in enumerate(some)]
            chosen += some
    return Matrix(names, counts.tolist(), colours, sprite(images[chosen].numpy()), cells, SIDE)


def sprite(pictures: np.ndarray) -> Image.Image:
    """Pictures, uint8 (N, 32, 32, 3), in rows of COLUMNS."""
    rows = max(1, -(-len(pictures) // COLUMNS))
    paper = np.full((rows, COLUMNS, SIDE, SIDE, 3), 255, np.uint8)
    paper.reshape(-1, SIDE, SIDE, 3)[: len(pictures)] = pictures
    return Image.fromarray(paper.swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE, 3))


def _sure(found: Result, index: int) -> str:
    return f"picture {index}, {100 * float(found.prediction.confidence[index]):.0f}\u00a0%"


def _said(found: Result, index: int) -> str:
    if not bool(found.prediction.decided[index]):
        return f"no prediction · true: {found.classes[int(found.labels[index])]}"
    taken = found.classes[int(found.prediction.classes[index])]
    sure = f"{100 * float(found.prediction.confidence[index]):.0f} %"
    return f"predicted: {taken} ({sure}) · true: {found.classes[int(found.labels[index])]}"
