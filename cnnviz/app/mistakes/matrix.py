"""The confusion matrix; a cell opens its pictures."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from cnnviz.analysis.evidence import accuracy
from cnnviz.app.components.heat import Bar, Square, heat
from cnnviz.app.markdown import plain
from cnnviz.app.mistakes import answered, gallery
from cnnviz.app.mistakes.answered import Answered
from cnnviz.app.networks import Chosen
from cnnviz.app.state import Key, flag_key, text_key, whole_number
from cnnviz.app.widgets import one_of, theme
from cnnviz.data import Dataset
from cnnviz.inspection.gallery import confused, mistakes
from cnnviz.inspection.mistakes import Share, difference, shares
from cnnviz.render import confusion_charts
from cnnviz.render.confusion_charts import Limits

SHARES: dict[Share, str] = {"count": "Counts", "true": "% of the true class", "predicted": "% of the predicted class"}
BOTH, DIFFERENCE = "both", "difference"
LAYOUTS = {BOTH: "Side by side", DIFFERENCE: "Difference, B − A"}
WIDE = 530  # pixels of one matrix
A_AND_B = ("A", "B")


def _cell(text: str) -> tuple[int, int]:
    true, _, predicted = text.partition(".")
    return whole_number(true), whole_number(predicted)


SHARE = text_key("share", "count")
SIMILAR = flag_key("similar")
LAYOUT = text_key("matrix", BOTH)  # of two networks
OF = text_key("of", "run")  # the side of the network whose cell it is
CELL = Key[tuple[int, int] | None]("cell", None, _cell, lambda cell: "{}.{}".format(*cell) if cell else "")
KEYS: tuple[Key, ...] = (SHARE, SIMILAR, LAYOUT, OF, CELL)


def draw(chosen: list[Chosen], dataset: Dataset) -> None:
    """Of one network, or of two side by side or as their difference; and the pictures of the chosen cell."""
    found = [(one, answered.at_epoch(one, dataset)) for one in chosen]
    found = [(one, its) for one, its in found if its.mistakes is not None]  # what has no predictions, the page has said
    if not found:
        return
    subtract = _controls(len(found))
    OF.offer([one.side for one, _ in found], found[0][0].side)
    cell = CELL.get()
    if cell and max(cell) >= len(dataset.classes):
        CELL.refuse("is no cell of this matrix")
        cell = None
    with st.container(key="mistakes_stage", horizontal=True):
        with st.container(key="mistakes_matrix", width=WIDE if len(found) == 1 or subtract else 2 * WIDE):
            _matrix(found, subtract, cell, dataset)
        with st.container(key="mistakes_pictures"):
            _pictures(found, subtract, cell, dataset)


def _controls(networks: int) -> bool:
    """Whether the difference is asked for."""
    with st.container(horizontal=True, vertical_alignment="center", key="matrix_controls"):
        one_of("Numbers", SHARES, SHARE)
        if networks > 1:
            one_of("Two matrices", LAYOUTS, LAYOUT, on_change=_close)
        SIMILAR.offer((False, True))
        st.toggle(
            "Similar classes together",
            key=SIMILAR.widget,
            help="Classes that are taken for each other stand side by side, as the last epoch has it.",
        )
    return networks > 1 and LAYOUT.get() == DIFFERENCE


def _matrix(
    found: Sequence[tuple[Chosen, Answered]], subtract: bool, cell: tuple[int, int] | None, dataset: Dataset
) -> None:
    share: Share = next(each for each in SHARES if each == SHARE.get())
    counts = [its.mistakes.confusion for _, its in found if its.mistakes is not None]
    order = answered.order(found[0][0], dataset) if SIMILAR.get() else list(range(len(dataset.classes)))
    names = [dataset.classes[each] for each in order]
    if subtract:
        maps = [("B − A", _squares([difference(counts[0], counts[1], share)], counts, share, order, dataset)[0])]
    else:
        drawn = _squares([shares(each, share) for each in counts], counts, share, order, dataset)
        letters = A_AND_B if len(found) > 1 else ("",)
        maps = [
            (": ".join(filter(None, [letter, one.title])), squares)
            for letter, (one, _), squares in zip(letters, found, drawn, strict=True)
        ]

    def pick(number: int, row: int, column: int) -> None:
        place = order[row], order[column]
        side = found[number][0].side
        CELL.set(None if (place, side) == (CELL.get(), OF.get()) else place)
        OF.set(side)
        gallery.restart()

    number = 0 if subtract else [one.side for one, _ in found].index(OF.get())
    heat(
        f"Confusion matrix, {SHARES[share]}{': B − A' if subtract else ''}",
        names,
        names,
        maps,
        _bars(counts, share, subtract),
        key="confusion",
        compact=True,
        axes=("true", "predicted"),
        chosen=(number, order.index(cell[0]), order.index(cell[1])) if cell else None,
        on_pick=pick,
    )


def _squares(
    matrices: Sequence[np.ndarray], counts: Sequence[np.ndarray], share: Share, order: Sequence[int], dataset: Dataset
) -> list[list[list[Square]]]:
    """The cells of each matrix, rows and columns in that order, on one scale. One of two networks: their difference."""
    signed = len(matrices) < len(counts)
    colours = confusion_charts.papers_of_difference if signed else confusion_charts.papers
    limits = Limits.of(matrices)
    made = []
    for number, matrix in enumerate(matrices):
        papers = colours(matrix, limits, theme())
        made.append(
            [
                [
                    Square(
                        confusion_charts.figure(float(matrix[true, taken]), share, signed),
                        "",
                        _said(true, taken, counts if signed else counts[number : number + 1], dataset.classes),
                        *papers[true][taken],
                        framed=true == taken,
                    )
                    for taken in order
                ]
                for true in order
            ]
        )
    return made


def _said(true: int, taken: int, counts: Sequence[np.ndarray], classes: Sequence[str]) -> str:
    """ "cat taken for dog: 312, 31.2 % of cat, 25.0 % of what is called dog. Show its pictures"."""
    figures = []
    for matrix in counts:
        count, row, column = int(matrix[true, taken]), int(matrix[true].sum()), int(matrix[:, taken].sum())
        of_row = f", {accuracy(count / row)} of {classes[true]}" if row else ""
        of_column = f", {accuracy(count / column)} of what is called {classes[taken]}" if column else ""
        figures.append(f"{count:,}{of_row}{of_column}")
    if len(figures) > 1:
        figures = [f"{letter} {each}" for letter, each in zip(A_AND_B, figures, strict=True)]
    return f"{_name(true, taken, classes)}: {'; '.join(figures)}. Show the pictures"


def _name(true: int, taken: int, classes: Sequence[str]) -> str:
    return f"{classes[true]} right" if true == taken else f"{classes[true]} taken for {classes[taken]}"


def _bars(counts: Sequence[np.ndarray], share: Share, subtract: bool) -> list[Bar]:
    if subtract:
        limit = Limits.of([difference(counts[0], counts[1], share)]).wrong
        high = _with_unit(limit, share)
        title = "B − A; framed: right answers."
        return [Bar(title, f"B worse by {high}", f"B better by {high}", confusion_charts.gradient(theme(), -1.0, 1.0))]
    limits = Limits.of([shares(each, share) for each in counts])
    return [
        Bar("Mistakes", "0", _with_unit(limits.wrong, share), confusion_charts.gradient(theme(), -0.0, -1.0)),
        Bar("Right (framed)", "0", _with_unit(limits.right, share), confusion_charts.gradient(theme())),
    ]


def _with_unit(value: float, share: Share) -> str:
    number = confusion_charts.figure(value, share)
    if share == "count":
        return number
    return f"{number} points" if value < 0 else f"{number} %"


# -- pictures ------------------------------------------------------------------------------------


def _close() -> None:
    CELL.set(None)
    OF.set("run")
    gallery.restart()


def _pictures(
    found: Sequence[tuple[Chosen, Answered]], subtract: bool, cell: tuple[int, int] | None, dataset: Dataset
) -> None:
    networks = [one for one, _ in found]
    one, its = next((one, its) for one, its in found if one.side == OF.get())
    if cell is None:
        if len(found) > 1:
            st.caption("A cell shows its pictures: click it, or go there with arrow keys and press Enter.")
            return
        rows = mistakes(its.prediction, dataset.test_labels)
        st.markdown(f"**Most confident mistakes** · {len(rows):,} in all. A cell shows its own.")
        gallery.show("Mistakes", rows.tolist(), gallery.described(rows, its.prediction, dataset), networks, dataset)
        return
    name = _name(*cell, dataset.classes)
    if subtract:
        _apart(found, cell, name, dataset)
        return
    rows = confused(its.prediction, dataset.test_labels, *cell)
    of = f" · {A_AND_B[networks.index(one)]}" if len(found) > 1 else ""
    _chip(f"{name}{of} · {len(rows):,}")
    if not len(rows):
        st.caption("No picture is in this cell: choose another.")
    items = gallery.described(rows, its.prediction, dataset)
    gallery.show(name, rows.tolist(), items, networks, dataset)


def _apart(found: Sequence[tuple[Chosen, Answered]], cell: tuple[int, int], name: str, dataset: Dataset) -> None:
    """The pictures that are in this cell of one network alone."""
    both = [confused(its.prediction, dataset.test_labels, *cell) for _, its in found]
    only_b, only_a = _without(both[1], both[0]), _without(both[0], both[1])
    _chip(f"{name}, in one network alone · {len(only_a) + len(only_b):,}")
    if not len(only_a) + len(only_b):
        st.caption("Both networks have the same pictures in this cell: choose another.")
        return
    st.caption(f"In B alone {len(only_b):,}, which come first; in A alone {len(only_a):,}.")
    items = []
    for letter, rows, other, (_, its) in (("B", only_b, "A", found[1]), ("A", only_a, "B", found[0])):
        against = (found[0] if letter == "B" else found[1])[1].prediction
        for index, each in zip(rows.tolist(), gallery.described(rows, its.prediction, dataset), strict=True):
            said = gallery.answer(against, index, dataset.classes)
            title = f"{each['title']} ({letter}); {other} says {said}"
            items.append({"name": f"{letter}: {each['name']}", "note": f"{other}: {said}", "title": title})
    networks = [one for one, _ in found]
    gallery.show(name, torch.cat([only_b, only_a]).tolist(), items, networks, dataset)


def _without(rows: Tensor, others: Tensor) -> Tensor:
    return rows[~torch.isin(rows, others)]


def _chip(label: str) -> None:
    """The chosen cell, which can be taken away."""
    st.button(
        plain(label), icon=":material/close:", icon_position="right", key="chip", on_click=_close, help="Take it away"
    )
