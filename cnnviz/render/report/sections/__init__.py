"""What stands in a report, in order: a heading, and a function that makes its pieces of recorded figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cnnviz.analysis.study import EPOCHS
from cnnviz.errors import CnnvizError
from cnnviz.render.report.pieces import Piece, Text
from cnnviz.render.report.sections import code, figures, inside, lines, parts, reasons, wrong
from cnnviz.render.report.sources import Sources


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    make: Callable[[Sources], Iterator[Piece]]
    part: str = ""  # of the study, whose missing runs it names
    share: float = 1.0  # of the time to make the report, about
    answers: tuple[str, ...] = ()  # parts whose best networks' answers it needs


RUNS = (
    Section("setup", "What was trained, and how", figures.setup),
    Section("predictions", "What was expected, and what happened", figures.predicted),
    Section("runs", "The runs", figures.table),
    Section("curves", "Curves", lines.grouped, share=3),
    Section("findings", "Why they look as they do", reasons.findings),
    Section("flow", "How the gradient gets through the layers", lines.flow),
    Section("layers", "Layers and parameters", reasons.layers),
    Section("time", "How long it took, and why", reasons.time_taken),
    Section("pictures", "Ten pictures at the last convolution", inside.pictures, share=4),
    Section("contrast", "The same picture in a network that learned and in one that did not", inside.contrast),
    Section("kernels", "The first kernels", inside.kernels, share=2),
    Section("mistakes", "What the best network gets wrong", wrong.mistakes, share=4, answers=("1a",)),
    Section("code", "The code", code.code),
)

STUDY = (
    Section("setup", "The question, and how it was asked", figures.setup),
    Section("predictions", "What was expected, and what happened", figures.predicted),
    Section("runs", "1a. Twelve LeNets: which of them learned?", figures.table, "1a"),
    Section("curves", "1a. How do loss and error develop?", lines.grouped, "1a", share=3),
    Section("findings", "1a. Why does each curve look as it does?", reasons.findings, "1a"),
    Section("flow", "1a. How does the gradient get through the layers?", lines.flow, "1a"),
    Section("longer", "1a. What do more epochs bring?", parts.longer, "1a"),
    Section("pictures", "1b. What does the last convolution make of ten pictures?", inside.pictures, "1a", share=4),
    Section("contrast", "1b. What do a good and a bad network see in the same picture?", inside.contrast, "1a"),
    Section("kernels", "1b. What do the first kernels answer to?", inside.kernels, "1a", share=2),
    Section("mistakes", "1b. What does the best network get wrong?", wrong.mistakes, "1a", share=4, answers=("1a",)),
    Section(
        "smaller", "2a. What do smaller kernels and ReLU change?", parts.smaller, "2a", share=5, answers=("1a", "2a")
    ),
    Section("deeper", "3a. What do five convolutions cost, and what do they bring?", parts.deeper, "3a", share=2),
    Section(
        "comparison",
        "3b. 1a's best, 2a and 3a: which wins?",
        parts.comparison,
        "3b",
        share=3,
        answers=("1a", "2a", "3a"),
    ),
    Section("layers", "The networks, layer by layer", reasons.layers),
    Section("time", "How long training took, and why", reasons.time_taken),
    Section("code", "The code", code.code),
)

_TRAINS = ("runs", "longer", "smaller", "deeper", "comparison")  # they name what is still to be trained


def pieces(section: Section, sources: Sources) -> list[Piece]:
    """What the section shows; what it lacks in one line each, and what would have to be trained."""
    made: list[Piece] = []
    try:
        made += section.make(sources)
    except CnnvizError as error:  # weights that are not here, a data set that is not
        made.append(Text(f"{error}.", "missing"))
    if section.part and section.key in _TRAINS:
        part = sources.parts[section.part]
        if section.part != "1a" or (part.target == EPOCHS) == (section.key == "runs"):
            made += parts.to_train(part)
    return made or [Text("There is nothing to show yet: train a network first.", "missing")]
