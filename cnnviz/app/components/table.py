"""A table of things with ids: rows are ticked and columns sorted by, with a pointer or with keys.

Streamlit's own table reports ticks by row, and rows move while networks train; and a canvas is poor at keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cnnviz.app.components import component
from cnnviz.app.state import Slot, reported

_table = component(
    "table",
    '<div class="scroll"><table><thead><tr></tr></thead><tbody></tbody></table></div>',
)
_SEEN = Slot[dict[str, int]]("table_changes_seen", {})  # by table: the number of the last change that was heard of


@dataclass(frozen=True)
class Column:
    name: str  # also what on_sort is called with
    help: str = ""
    kind: str = "text"  # or "number", at the right; "line", a small curve; "long", on several lines
    sorts: bool = True


@dataclass(frozen=True)
class Row:
    id: str
    label: str  # read aloud
    cells: Sequence[Any]  # a text for each column; of a line's, shares of its height


def table(
    label: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    ticked: Sequence[str],
    on_tick: Callable[[dict[str, bool]], None],
    sorted_by: tuple[str, bool],
    on_sort: Callable[[str], None],
    key: str,
) -> None:
    """Draw it. ticked: ids; sorted_by: a column, and whether it descends; on_tick: ids → whether they are ticked now.

    What a browser has not had confirmed it keeps showing, and sends again: no click is lost to a page drawn meanwhile.
    """

    def was_ticked() -> None:
        said = reported(key).ticked
        if said is not None:
            _SEEN.set(_SEEN.get() | {key: int(said["number"])})
            on_tick({str(row): bool(on) for row, on in said["changes"]})

    def was_sorted() -> None:
        name = reported(key).sorted
        if name in {column.name for column in columns if column.sorts}:
            on_sort(name)

    data = {
        "label": label,
        "columns": [vars(column) for column in columns],
        "rows": [vars(row) for row in rows],
        "ticked": list(ticked),
        "seen": _SEEN.get().get(key, 0),
        "sortedBy": sorted_by[0],
        "descends": sorted_by[1],
    }
    _table(key=key, data=data, on_ticked_change=was_ticked, on_sorted_change=was_sorted)
