"""A part of a program: a cell of a notebook, a section of a script."""

from dataclasses import dataclass, field
from textwrap import indent


@dataclass(frozen=True)
class Cell:
    title: str
    text: str  # one paragraph
    code: str
    imports: frozenset[str] = field(default_factory=frozenset)
    runs: bool = False  # trains, so that a script does it only if it is run, not if it is imported


def literal(text: str) -> str:
    """A string of Python in ASCII, whatever the text is: nothing of it ends the string, its line or an HTML script, or
    turns the direction of writing."""
    return ascii(text).replace("<", r"\x3c")


def guarded(code: str) -> str:
    """For a script: run, and not if it is imported."""
    return f'if __name__ == "__main__":\n{indent(code, "    ")}'


def import_lines(imports: frozenset[str]) -> str:
    """Python's own first, then the others, as import sorters have them."""
    first = sorted(
        line for line in imports if line.split()[1].split(".")[0] in ("os", "math", "collections", "concurrent")
    )
    others = sorted(imports.difference(first), key=lambda line: (line.startswith("from"), line))
    return "\n".join([*first, *([""] if first else []), *others])
