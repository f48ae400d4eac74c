"""Which runs are watched: the launch that trains, and after its end what did, until one leaves."""

from collections.abc import Iterable, Sequence

from cnnviz.analysis.launches import launched_with
from cnnviz.app.state import Slot
from cnnviz.store.runs import Run

_WATCHED = Slot[tuple[str, ...]]("watched", ())


def of(found: Sequence[Run]) -> list[Run]:
    """In the order in which they were queued; none if nothing trains, or has while one watched.

    What was launched while others train waits for its turn: it would change their panels, colours and names.
    """
    # On a store that several share, what trains here comes first.
    near = [run for run in found if run.active and run.is_here] or [run for run in found if run.active]
    active = [run for run in near if run.status == "RUNNING"] or near
    watched = set(_WATCHED.get())
    if not active:
        return _ordered(run for run in found if run.id in watched)
    together = {run.id for run in launched_with(found, active)}
    if watched & {run.id for run in active}:  # else they are of an earlier launch
        together |= watched
    _WATCHED.set(tuple(together))
    return _ordered(run for run in found if run.id in together)


def newest(found: Sequence[Run]) -> list[Run]:
    """Those, or the last launch."""
    return of(found) or launched_with(found, sorted(found, key=lambda run: run.queued_at)[-1:])


def forget() -> None:
    _WATCHED.pop()


def _ordered(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.queued_at)
