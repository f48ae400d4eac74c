"""The code: the best run as a program without cnnviz."""

from collections.abc import Iterator

from cnnviz.render.report.pieces import Commands, Piece, Text
from cnnviz.render.report.sources import Sources, best
from cnnviz.store.runs import Run


def code(sources: Sources) -> Iterator[Piece]:
    run = best(sources.runs)
    if run is None:
        return
    program = program_of(run)
    if not program:
        yield Text("These lines train the same networks again, with the same seeds:")
        from cnnviz.render.report.sections.parts import commands

        yield Commands("\n".join(commands([each.config for each in sources.runs if not each.parent])))
        return
    yield Text(f"{run.name} as a program that needs PyTorch, torchvision and NumPy alone:")
    yield Commands(program)


def program_of(run: Run) -> str:
    """The run as plain PyTorch; "" as long as there is no such export."""
    return ""
