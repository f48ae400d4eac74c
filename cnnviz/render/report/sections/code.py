"""The code: the best run as a program without cnnviz, and how all were trained."""

from collections.abc import Iterator

from cnnviz.render.code import script
from cnnviz.render.report.pieces import Commands, Piece, Text
from cnnviz.render.report.sections.parts import commands
from cnnviz.render.report.sources import Sources, best


def code(sources: Sources) -> Iterator[Piece]:
    run = best(sources.runs)
    if run is None:
        return
    yield Text(f"{run.name} as a program that needs PyTorch, torchvision and NumPy alone:")
    yield Commands(script(run))
    yield Text("These lines train the same networks again, with the same seeds:")
    yield Commands("\n".join(commands([each.config for each in sources.runs if not each.parent])))
