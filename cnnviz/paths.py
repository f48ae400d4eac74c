"""Where things are kept. A module of its own, so that moving others moves neither store nor data."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # the checkout
CIFAR10_FOLDER, CIFAR10_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


def home() -> Path:
    """The folder of the store: CNNVIZ_HOME, else mlruns/ in the project."""
    return Path(os.environ.get("CNNVIZ_HOME") or PROJECT / "mlruns").expanduser().resolve()


def data_root() -> Path:
    """The folder of the data sets: CNNVIZ_DATA, else data/ in the project.

    CNNVIZ_DATA may also name CIFAR-10's own folder or archive: their folder is meant.
    """
    root = Path(os.environ.get("CNNVIZ_DATA") or PROJECT / "data").expanduser().absolute()
    names_cifar10 = root.name == CIFAR10_FOLDER and not (root / CIFAR10_FOLDER).exists()
    return root.parent if names_cifar10 or (root.name == CIFAR10_ARCHIVE and root.is_file()) else root


def settled() -> dict[str, str]:
    """CNNVIZ_HOME and CNNVIZ_DATA, those that are set, for a process with another working directory."""
    absolute = {"CNNVIZ_HOME": home, "CNNVIZ_DATA": data_root}
    return {name: str(folder()) for name, folder in absolute.items() if os.environ.get(name)}
