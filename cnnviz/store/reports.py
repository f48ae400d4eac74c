"""Reports: what somebody hands in of their runs, and what they wrote between its sections. A JSON file each.

The files are in <CNNVIZ_HOME>/reports, with an MLflow server too: its tags take 5,000 characters, and people write
more.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from filelock import FileLock

from cnnviz import paths
from cnnviz.errors import StoreError

STUDY = "study"  # the key of the reference study's report
State = Literal["open", "folded", "left out"]
STATES: tuple[State, ...] = ("open", "folded", "left out")
MOST_WORDS = 20_000  # characters of one section's own words


@dataclass(frozen=True)
class Report:
    """What is chosen of a report, and what was written for it; its figures come from the runs."""

    key: str  # STUDY, or made of its runs
    runs: tuple[str, ...] = ()  # ids; of the study none: its runs are found by their settings
    title: str = ""  # "": the template's own
    order: tuple[str, ...] = ()  # keys of sections; those that are not in it follow in the template's order
    states: Mapping[str, State] = field(default_factory=dict)  # by section, where it is not open
    words: Mapping[str, str] = field(default_factory=dict)  # Markdown by section

    def state(self, section: str) -> State:
        return self.states.get(section, "open")

    def ordered(self, sections: Sequence[str]) -> list[str]:
        """The sections in the chosen order. One that is new stands behind the one that it follows in the template."""
        found = [each for each in self.order if each in sections]
        for place, each in enumerate(sections):
            if each not in found:
                found.insert(found.index(sections[place - 1]) + 1 if place else 0, each)
        return found


def key_of(runs: Sequence[str]) -> str:
    """The key of the report on these runs (ids): the same runs have the same report; of none, the study's."""
    return "runs-" + sha256(" ".join(sorted(runs)).encode()).hexdigest()[:16] if runs else STUDY


def load(runs: Sequence[str] = ()) -> Report:
    """The report on these runs (ids), or on the study, as it was left; a new one if there is none.

    Raises StoreError for a file that cannot be read.
    """
    new = Report(key_of(runs), tuple(runs))
    path = _path(new.key)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return replace(
            new,
            title=str(kept.get("title", "")),
            order=tuple(str(each) for each in kept.get("order", ())),
            states={str(name): state for name, state in dict(kept.get("states", {})).items() if state in STATES},
            words={str(name): str(text) for name, text in dict(kept.get("words", {})).items()},
        )
    except FileNotFoundError:
        return new
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"the report in {path} cannot be read ({error}): repair the file, or move it away") from error


def change(runs: Sequence[str], how: Callable[[Report], Report]) -> Report:
    """Change the report on these runs (ids), or on the study, and keep it. Two who write at once both are kept.

    Raises StoreError if it cannot be written.
    """
    path = _path(key_of(runs))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            changed = how(load(runs))
            _write(path, json.dumps(asdict(changed), indent=1, ensure_ascii=False))
    except OSError as error:
        raise StoreError(f"cannot write {path} ({error.strerror}): what you wrote is not kept") from error
    return changed


def write_words(runs: Sequence[str], section: str, text: str) -> Report:
    """Keep a section's own words."""
    if len(text) > MOST_WORDS:
        raise StoreError(f"{len(text):,} characters are more than the {MOST_WORDS:,} of a section: write less")
    return change(runs, lambda it: replace(it, words={**it.words, section: text}))


def _write(path: Path, text: str) -> None:
    """Readers see the old file or the new one, and so does who comes back after a power cut."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    with contextlib.suppress(OSError):  # not every system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _path(key: str) -> Path:
    return paths.home() / "reports" / f"{key}.json"
