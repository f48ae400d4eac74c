"""What a batch sets out from; after an interruption, every run in the stack it was in, as if nothing had happened.

A network's last bits depend on the shape of the stack it is trained in. A killed worker leaves some of a stack's runs
one recorded epoch ahead of the others, some finished, some stopped. So all of them sit down again where they sat, at
the last epoch that all have: those ahead repeat an epoch that is not recorded again, and stand-ins that nobody listens
to take the places of those that have left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, StoreError
from cnnviz.store import artifacts, reading
from cnnviz.store.runs import SHORT, Neighbours, Run, Segment
from cnnviz.train import shards
from cnnviz.train.loop import Start, fresh_start
from cnnviz.train.shards import Shard


@dataclass(frozen=True)
class Seat:
    """A place in a stack."""

    id: str  # of the run it was made for, shortened
    run: Run
    config: RunConfig
    start: Start
    message: str = ""  # what the run recovered from
    trains: bool = True  # False: its results are dropped
    left: bool = False  # its run had left before: nobody waits for it
    neighbours: Neighbours | None = None


@dataclass(frozen=True)
class Plan:
    seats: list[Seat]
    shards: list[Shard]  # of indices into seats
    over: list[tuple[Run, str, str]]  # nothing is left to train: the run, its status and the reason


def plan(batch: Sequence[Run], device: str) -> Plan:
    """Where the runs of the queue set out from, and beside whom.

    A run whose last checkpoint is damaged goes on from the one before, and says so.
    """
    ready, over = [], []
    for run in batch:
        try:
            start, message = start_of(run)
        except CnnvizError as error:
            over.append((run, "FAILED", str(error)))
            continue
        if start.epoch >= run.config.epochs:
            over.append((run, "FINISHED", message))
        else:
            ready.append(Seat(run.id[:SHORT], run, run.config, start, message, neighbours=run.neighbours))
    seats: list[Seat] = []
    planned: list[Shard] = []
    fresh: list[Seat] = []
    for group in _interrupted(ready, batch):
        together, apart = _sit_down(group)
        fresh += apart
        if together:
            planned.append(Shard(tuple(range(len(seats), len(seats) + len(together))), _neighbours(group).threads))
            seats += together
    resumed = {seat.run.id for seat in [*seats, *fresh]}
    fresh += [seat for seat in ready if seat.run.id not in resumed]
    new = shards.plan(
        shards.stacks([seat.config for seat in fresh], [seat.start.epoch for seat in fresh]),
        [seat.config for seat in fresh],
        device,
    )
    planned += [Shard(tuple(len(seats) + place for place in shard.runs), shard.threads) for shard in new]
    for shard in new:
        ids = tuple(fresh[place].id for place in shard.runs)
        for place in shard.runs:
            side_by_side = ((fresh[place].start.epoch + 1, ids),)
            fresh[place] = replace(fresh[place], neighbours=Neighbours(fresh[-1].run.id, shard.threads, side_by_side))
    return Plan(seats + fresh, planned, over)


def _interrupted(ready: Sequence[Seat], batch: Sequence[Run]) -> Iterable[list[Seat]]:
    """The seats of every stack that was being trained."""
    marks = {run.id: run.neighbours for run in batch}
    groups: dict[object, list[Seat]] = {}
    for seat in ready:
        noted = seat.neighbours
        last = marks.get(noted.begun, noted) if noted else None
        # Killed while it was still marking its runs, the worker had trained nothing: such a batch is planned anew.
        if noted and last and last.begun == noted.begun:
            groups.setdefault((noted.begun, noted.seats[0]), []).append(seat)
    return groups.values()


def _sit_down(group: list[Seat]) -> tuple[list[Seat], list[Seat]]:
    """The whole stack at the last epoch that all of the group have, and those that cannot go on with the others."""
    apart: list[Seat] = []
    while group:
        behind = min(group, key=lambda seat: seat.start.epoch)
        epoch = behind.start.epoch
        try:
            if epoch < max(seat.run.epoch for seat in group) - 1:
                raise CheckpointError("too far back for the others to wait")
            return _seats(group, behind, epoch), apart
        except CheckpointError:
            apart.append(behind)
            group = [seat for seat in group if seat is not behind]
    return [], apart


def _seats(group: Sequence[Seat], behind: Seat, epoch: int) -> list[Seat]:
    mine = {seat.id: seat for seat in group}
    ids = _neighbours([behind]).at(epoch + 1)
    others = _all_runs() if set(ids) - set(mine) else {}
    furthest = max(seat.config.epochs for seat in group)
    seats = []
    for short in ids:
        if seat := mine.pop(short, None):
            start = seat.start if seat.start.epoch == epoch else start_at(seat.run, epoch)
            seats.append(replace(seat, start=start))
            continue
        run = others.get(short, behind.run)
        left = run is behind.run or run.epoch <= epoch
        # One that was still in the stack for the epoch that is repeated leaves it after that, as it did before.
        target = max(epoch + 1, min(run.config.epochs, furthest)) if left else epoch + 1
        start = replace(fresh_start(run.config), epoch=epoch)
        seats.append(Seat(short, run, replace(run.config, epochs=target), start, trains=False, left=left))
    if mine:
        raise CheckpointError("not all of the runs were in the stack")
    return seats


def _neighbours(group: Sequence[Seat]) -> Neighbours:
    assert group[0].neighbours is not None
    return group[0].neighbours


def _all_runs() -> dict[str, Run]:
    return {run.id[:SHORT]: run for run in [*reading.runs(deleted=True), *reading.runs()]}


def start_of(run: Run) -> tuple[Start, str]:
    """Where the run goes on: its last recorded epoch or, its checkpoint being damaged, the nearest whole one before."""
    if run.epoch < 0:
        return fresh_start(run.config), ""
    damage: CheckpointError | None = None
    for epoch in [run.epoch, *reversed([each for each in artifacts.checkpoint_epochs(run.id) if each < run.epoch])]:
        try:
            start = start_at(run, epoch)
        except CheckpointError as error:
            damage = damage or error
            continue
        return start, f"went on from epoch {epoch}: {damage}" if damage else ""
    raise damage or StoreError(f"{run.name} has no checkpoint to go on from: train it again")


def start_at(run: Run, epoch: int) -> Start:
    """The run after that epoch. Raises CheckpointError."""
    if epoch < 0:
        return fresh_start(run.config)
    slots = artifacts.load_optimizer(run, epoch)
    has_state = run.config.optimizer == "adam" or run.config.momentum
    if epoch > run.first_epoch and not slots and has_state:
        raise CheckpointError(f"the optimizer's state after epoch {epoch} is not kept: continue from a later one")
    return Start(epoch, artifacts.load_checkpoint(run, epoch), slots)


def mended_segments(run: Run) -> tuple[Segment, ...]:
    """The run's stretches, the last one's time from its epochs: a kill may have fallen between noting it and them."""
    if not run.segments:
        return ()
    *earlier, last = run.segments
    frame = reading.history([run.id], ["epoch_seconds"])
    seconds = frame[frame.epoch > last.start_epoch].value
    return (*earlier, replace(last, seconds=float(seconds.sum()))) if len(seconds) else tuple(earlier)
