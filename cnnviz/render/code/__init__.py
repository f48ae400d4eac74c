"""A run as plain PyTorch, which needs nothing of cnnviz: one script, the same as a notebook, its weights."""

from textwrap import fill, indent

from cnnviz.errors import CheckpointError
from cnnviz.render.code import cells
from cnnviz.render.code.cell import Cell, guarded, import_lines
from cnnviz.render.code.cells import Recorded, figures_of, start_file
from cnnviz.store import artifacts, checkpoints, reading
from cnnviz.store.runs import Run

__all__ = ["file_name", "loading", "notebook", "script", "start_file", "start_weights", "weights"]

_WIDTH = 100  # of a heading


def script(run: Run, recorded: Recorded | None = None) -> str:
    """A program that trains the run anew and prints its figures beside the recorded ones, by default the store's.

    Imported, it trains nothing: what it defines can be used. Of a fork, it reads start_weights() from start_file().
    Raises StoreError.
    """
    found = cells.cells(run, _figures(run) if recorded is None else recorded)
    imports = import_lines(frozenset().union(*(each.imports for each in found)))
    header = "\n".join(cells.header(run))
    return "\n\n\n".join([f'"""{header}\n"""\n\n{imports}', *map(_section, found)]) + "\n"


def _section(cell: Cell) -> str:
    heading, text = f"# -- {cell.title} ".ljust(_WIDTH, "-"), fill(cell.text, _WIDTH - 2)
    return f"{heading}\n{indent(text, '# ')}\n\n{guarded(cell.code) if cell.runs else cell.code}"


def notebook(run: Run, recorded: Recorded | None = None) -> str:
    """The same as a notebook (JSON, nbformat 4): each part a heading, what it is, and its code. Raises StoreError."""
    from nbformat import v4, validate, writes

    found = cells.cells(run, _figures(run) if recorded is None else recorded)
    imports = import_lines(frozenset().union(*(each.imports for each in found)))
    parts = [v4.new_markdown_cell("\n\n".join(["# A network in plain PyTorch", *cells.header(run)]))]
    parts.append(v4.new_code_cell(imports))
    for each in found:
        parts += [v4.new_markdown_cell(f"## {each.title}\n\n{each.text}"), v4.new_code_cell(each.code)]
    for index, part in enumerate(parts):
        part.id = f"cell-{index}"  # instead of a random one: the same run is the same file
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = v4.new_notebook(cells=parts, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    validate(made)
    return writes(made) + "\n"


def weights(run: Run, epoch: int | None = None) -> bytes:
    """A safetensors file of the weights after that epoch, by default the last kept: a state_dict of the script's Net.

    Raises CheckpointError or StoreError.
    """
    import safetensors.torch
    import torch

    epoch = artifacts.epochs_to_open(run)[-1] if epoch is None else epoch
    weights = artifacts.load_checkpoint(run, epoch)
    for name in [each for each in weights if each.endswith(".running_var")]:  # PyTorch counts batches, and uses it not
        weights[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    content: bytes = safetensors.torch.save(weights, {"format": "pt"})
    return content


def start_weights(run: Run) -> bytes:
    """The file that a fork's script starts from. Raises CheckpointError or StoreError."""
    if not run.parent:
        raise CheckpointError(f"{run.name} is no fork: its script draws the weights that it starts from")
    return weights(run, run.first_epoch)


def loading(run: Run, file: str) -> str:
    """Python that loads a file of weights into the script's Net; the script has its usual name."""
    return f"""from safetensors.torch import load_file

from {file_name(run, "script").removesuffix(".py")} import Net  # the script

model = Net()
model.load_state_dict(load_file({cells.literal(file)}))
"""


def file_name(run: Run, kind: str, epoch: int | None = None) -> str:
    """What a "script", a "notebook" or the "weights" after an epoch are called; the script can be imported."""
    stem = f"run_{run.id[:8]}"
    return {"script": f"{stem}.py", "notebook": f"{stem}.ipynb"}.get(
        kind
    ) or f"{stem}-{checkpoints.file_name(epoch or 0)}"


def _figures(run: Run) -> Recorded:
    wanted = figures_of(run.config)
    history = reading.history([run.id], wanted)
    table: dict[int, list[float | None]] = {}
    for metric, epoch, value in zip(history.metric, history.epoch, history.value, strict=True):
        table.setdefault(int(epoch), [None] * len(wanted))[wanted.index(metric)] = float(value)
    return table
