"""Where things are kept. A module of its own, so that moving others moves neither store nor data."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # the checkout


def home() -> Path:
    """The folder of the store: CNNVIZ_HOME, else mlruns/ in the project."""
    return Path(os.environ.get("CNNVIZ_HOME") or PROJECT / "mlruns").expanduser().resolve()


def data_root() -> Path:
    """The folder of the data sets: CNNVIZ_DATA, else data/ in the project."""
    return Path(os.environ.get("CNNVIZ_DATA") or PROJECT / "data").expanduser().absolute()
