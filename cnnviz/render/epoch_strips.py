"""A picture's prediction after every epoch: in words, and as a row of cells."""

import html
from collections.abc import Sequence

import numpy as np

from cnnviz.inspection.mistakes import NO_ANSWER


def story(epochs: Sequence[int] | np.ndarray, line: np.ndarray, label: int, classes: Sequence[str]) -> str:
    """A picture's prediction after each epoch, in words: "epochs 1 to 3 dog, 4 cat ✓"."""
    runs: list[tuple[int, int, int]] = []
    for epoch, answer in zip(epochs, line, strict=True):
        if runs and runs[-1][2] == answer:
            runs[-1] = (runs[-1][0], int(epoch), int(answer))
        else:
            runs.append((int(epoch), int(epoch), int(answer)))
    words = [
        f"{first if first == last else f'{first} to {last}'} {_said(answer, label, classes)}"
        for first, last, answer in runs
    ]
    return f"epoch {', '.join(words)}"


def _said(answer: int, label: int, classes: Sequence[str]) -> str:
    if answer == NO_ANSWER:
        return "no class"
    return f"{classes[answer]} ✓" if answer == label else classes[answer]


def as_html(epochs: Sequence[int] | np.ndarray, line: np.ndarray, label: int, classes: Sequence[str]) -> str:
    """The same as a row of cells with the classes' names, as HTML."""
    cells = []
    for epoch, answer in zip(epochs, line, strict=True):
        right = answer == label
        name = "–" if answer == NO_ANSWER else html.escape(classes[answer])
        cells.append(
            f'<li class="{"right" if right else "wrong"}"><small>{epoch}</small>{name}{" ✓" if right else ""}</li>'
        )
    return f'{_STYLE}<ol class="epochs" aria-label="What it is taken for after each epoch">{"".join(cells)}</ol>'


_STYLE = """<style>
ol.epochs { display: flex; flex-wrap: wrap; gap: 3px; margin: 0; padding: 0; list-style: none; font-size: 13px; }
ol.epochs li { margin: 0; padding: 1px 6px; border: 1px solid color-mix(in srgb, currentcolor 45%, transparent);
  border-radius: 3px; }
ol.epochs small { display: block; font-size: 11px; line-height: 1.1; }
ol.epochs .right { background: #0072b2; border-color: #0072b2; color: #fff; }
</style>"""
