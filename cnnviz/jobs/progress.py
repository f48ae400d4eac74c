"""A worker's progress on standard error: a bar for a terminal, a line an epoch for a log."""

import contextlib
import sys
from collections.abc import Sequence

from tqdm import tqdm

from cnnviz.jobs.status import RunProgress, WorkerStatus
from cnnviz.wording import duration


class Lines:
    """A worker's status as a line an epoch, for a log."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        self.run_ids, self.last = run_ids, ""

    def __call__(self, status: WorkerStatus) -> None:
        ours = self._ours(status)
        if not status.runs or ours:
            self._show(status, list(ours.values()))

    def _ours(self, status: WorkerStatus) -> dict[str, RunProgress]:
        return {run_id: status.runs[run_id] for run_id in self.run_ids if run_id in status.runs}

    def _show(self, status: WorkerStatus, ours: Sequence[RunProgress]) -> None:
        slowest = min(ours, key=lambda each: each.epoch, default=None)
        line = f"epoch {slowest.epoch}/{slowest.target}" if slowest and slowest.epoch else status.phase
        if line != self.last:
            self.last = line
            self.write(", ".join([line, *_rate_and_rest(status, ours)]))

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more, or the disk is full: training goes on
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is held open."""


class Bar(Lines):
    """A worker's status as a progress bar over all epochs of all runs, for a terminal."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__(run_ids)
        self.bar = tqdm(total=len(run_ids), unit="run", bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}")

    def write(self, line: str) -> None:
        self.bar.write(line, file=sys.stderr)

    def close(self) -> None:
        self.bar.close()

    def _show(self, status: WorkerStatus, ours: Sequence[RunProgress]) -> None:
        if ours:
            ended = len(self.run_ids) - len(ours)
            self.bar.n = min(ended + sum(each.fraction for each in ours), len(self.run_ids))
        epochs = {f"epoch {each.epoch}/{each.target}" for each in ours}
        words = [*(epochs if len(epochs) == 1 else ()), *_rate_and_rest(status, ours)]
        self.bar.set_description_str(status.phase, refresh=False)
        self.bar.set_postfix_str(", ".join(words), refresh=False)
        self.bar.refresh()


def _rate_and_rest(status: WorkerStatus, ours: Sequence[RunProgress]) -> list[str]:
    rate = sum(each.images_per_second for each in ours)
    left = [each.seconds_left for each in ours if each.seconds_left is not None]
    words = [
        f"{rate:,.0f} images/s" if rate else "",
        f"{duration(max(left))} left" if left else "",
        status.message,
        status.away,
    ]
    return [word for word in words if word]
