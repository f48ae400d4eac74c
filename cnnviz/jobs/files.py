"""The small files of workers and of MLflow's UI: locks, states, logs, speeds."""

import contextlib
from pathlib import Path

from cnnviz import paths


def job_file(name: str, suffix: str) -> Path:
    """<CNNVIZ_HOME>/workers/<name>.<suffix>, its folder made if that can be. name: a device, or "mlflow-ui"."""
    folder = paths.home() / "workers"
    with contextlib.suppress(OSError):  # nothing can be written there, which whoever writes finds out
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.{suffix}"


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old text or the new, never half of one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
