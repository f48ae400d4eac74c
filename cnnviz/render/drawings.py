"""Charts in Vega-Lite whose data lie apart.

Altair's own way to take the data out of a chart is a setting of the whole process: while one session draws by it,
another's file would come out without its data.
"""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
from altair.utils import schemapi

schemapi.disable_debug_mode()  # else every part is looked at as it is made, for the messages' sake: a third of the time


class Rows:
    """Data of a chart that is being made, by the names that stand for them in it."""

    def __init__(self) -> None:
        self.by_name: dict[str, pd.DataFrame] = {}

    def add(self, frame: pd.DataFrame) -> alt.NamedData:
        """What stands for the rows in the chart; equal rows have one name."""
        name = fingerprint(frame)
        self.by_name[name] = frame
        return alt.NamedData(name)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A chart."""

    spec: Mapping[str, Any]  # Vega-Lite that names its data
    rows: Mapping[str, pd.DataFrame]  # the data

    @classmethod
    def of(cls, chart: Any, rows: Rows) -> "Drawing":
        """The chart, an Altair one all of whose data are of these rows."""
        spec = chart.to_dict(validate=False)
        spec.pop("config", None)  # Altair's theme: whoever shows the chart has one
        return cls(spec, rows.by_name)

    def apart(self) -> dict[str, Any]:
        """The chart with its data as data frames, by name."""
        return {**self.spec, "datasets": dict(self.rows)}

    def whole(self) -> dict[str, Any]:
        """The chart with its data in it, as JSON."""
        return {**copy.deepcopy(dict(self.spec)), "datasets": self._written()}

    def chart(self) -> Any:
        """The chart as one of Altair's, with each layer's data in it."""
        spec = {name: each for name, each in self.spec.items() if name != "$schema"}
        made = (alt.LayerChart if "layer" in spec else alt.Chart).from_dict(spec, validate=False)
        _fill(made, self._written())  # only now: Altair would look at each row for what kind of thing it is
        return made

    def _written(self) -> dict[str, Any]:
        return {name: alt.to_values(frame)["values"] for name, frame in self.rows.items()}


def _fill(part: Any, written: Mapping[str, Any]) -> None:
    """Put the data into an Altair chart in the place of their names."""
    if isinstance(part, list):
        for each in part:
            _fill(each, written)
    elif isinstance(part, alt.SchemaBase):
        for key, each in part._kwds.items():
            if key == "data" and each is not alt.Undefined:
                part[key] = alt.InlineData(written[each.name])
            else:
                _fill(each, written)


def fingerprint(frame: pd.DataFrame) -> str:
    """A name for these rows: equal if all values and the columns are."""
    hashed = hashlib.sha256(repr(list(frame.columns)).encode())
    hashed.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return f"rows-{hashed.hexdigest()[:16]}"
