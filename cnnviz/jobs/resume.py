"""What the runs of a batch start from; after an interruption, in the stack they were in, as if nothing had happened.

A network's last bits depend on the shape of the stack it is trained in. A killed worker leaves some of a stack's runs
one recorded epoch ahead of the others, some finished, some stopped. So the whole stack is restored at the last epoch
that all of the interrupted runs have: those ahead repeat an epoch that is not recorded again, and placeholders, whose
results are discarded, take the places of runs that have left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError, CnnvizError, StoreError
from cnnviz.store import artifacts, reading
from cnnviz.store.runs import SHORT_ID, Run, Segment, StackHistory
from cnnviz.train import planning, stopping
from cnnviz.train.loop import Start, fresh_start
from cnnviz.train.planning import Room, Shard


@dataclass(frozen=True)
class Member:
    """One network of a stack, and the run that it belongs to."""

    short_id: str  # of its run, as a StackHistory has it
    run: Run  # a placeholder's may be another one: only its settings count
    config: RunConfig  # a placeholder leaves the stack earlier than its run
    start: Start
    message: str = ""  # what the run recovered from
    is_placeholder: bool = False  # its results are discarded
    has_left: bool = False  # a placeholder whose run was not trained in the next epoch any more
    stack_history: StackHistory | None = None

    @property
    def history(self) -> StackHistory:
        assert self.stack_history is not None
        return self.stack_history


@dataclass(frozen=True)
class Plan:
    members: list[Member]
    shards: list[Shard]  # of indices into members
    over: list[tuple[Run, str, str]]  # nothing is left to train: the run, its status and the reason


def plan(batch: Sequence[Run], room: Room) -> Plan:
    """What the runs of the queue start from, and in which shards.

    A run whose last checkpoint is damaged goes on from the one before, and its message says so.
    """
    ready, over = _ready(batch)
    members: list[Member] = []
    planned: list[Shard] = []
    fresh: list[Member] = []  # for stacks that are planned anew
    for group in _interrupted(ready, batch):
        stack, apart = _restored(group)
        fresh += apart
        if stack:
            places = range(len(members), len(members) + len(stack))
            planned.append(Shard(tuple(places), group[0].history.threads, _device_of(group[0].run, room)))
            members += stack
    placed = {member.run.id for member in [*members, *fresh] if not member.is_placeholder}
    fresh += [member for member in ready if member.run.id not in placed]
    fresh, new = _in_new_stacks(fresh, room)
    planned += [replace(shard, members=tuple(len(members) + index for index in shard.members)) for shard in new]
    return Plan(members + fresh, planned, over)


def _device_of(run: Run, room: Room) -> str:
    """What its stack is trained on: on a cluster, as before."""
    if room.device != "cluster":
        return room.device
    return "cuda" if run.segments and "cuda" in run.segments[-1].device else "cpu"


def _ready(batch: Sequence[Run]) -> tuple[list[Member], list[tuple[Run, str, str]]]:
    """The runs that can be trained, each with its start, and those that are over."""
    ready, over = [], []
    for run in batch:
        try:
            start, message = start_of(run)
        except CnnvizError as error:
            over.append((run, "FAILED", str(error)))
            continue
        if start.epoch >= run.config.epochs or start.watched.has_run_out(start.epoch, run.config.patience):
            over.append((run, "FINISHED", message))
        else:
            short_id = run.id[:SHORT_ID]
            ready.append(Member(short_id, run, run.config, start, message, stack_history=run.stack_history))
    return ready, over


def _in_new_stacks(fresh: Sequence[Member], room: Room) -> tuple[list[Member], list[Shard]]:
    """The members with new stack histories, and their shards (of indices among them)."""
    configs = [member.config for member in fresh]
    planned = planning.plan(planning.stacks(configs, [member.start for member in fresh]), configs, room)
    members = list(fresh)
    for shard in planned:
        short_ids = tuple(fresh[index].short_id for index in shard.members)
        for index in shard.members:
            side_by_side = ((fresh[index].start.epoch + 1, short_ids),)
            # The worker marks the runs in this order: the last one's id stands for the batch.
            history = StackHistory(fresh[-1].run.id, shard.threads, side_by_side)
            members[index] = replace(fresh[index], stack_history=history)
    return members, planned


def _interrupted(ready: Sequence[Member], batch: Sequence[Run]) -> Iterable[list[Member]]:
    """The members of every stack that was being trained."""
    histories = {run.id: run.stack_history for run in batch}
    groups: dict[object, list[Member]] = {}
    for member in ready:
        mine = member.stack_history
        last_marked = histories.get(mine.batch, mine) if mine else None
        # Killed while it was still marking its runs, the worker had trained nothing: such a batch is planned anew.
        if mine and last_marked and last_marked.batch == mine.batch:
            groups.setdefault((mine.batch, mine.members[0]), []).append(member)
    return groups.values()


def _restored(group: list[Member]) -> tuple[list[Member], list[Member]]:
    """The whole stack at the last epoch that all of the group have, and those that cannot go on with the others."""
    apart: list[Member] = []
    while group:
        behind = min(group, key=lambda member: member.start.epoch)
        epoch = behind.start.epoch
        try:
            if epoch < max(member.run.epoch for member in group) - 1:
                raise CheckpointError("too far back for the others to wait")
            return _stack_at(epoch, group, behind), apart
        except CheckpointError:
            apart.append(behind)
            group = [member for member in group if member is not behind]
    return [], apart


def _stack_at(epoch: int, group: Sequence[Member], behind: Member) -> list[Member]:
    """The stack of the epoch after that one: the group, and placeholders in the places between them."""
    mine = {member.short_id: member for member in group}
    short_ids = behind.history.at(epoch + 1)
    others = _all_runs() if set(short_ids) - set(mine) else {}
    furthest = max(member.config.epochs for member in group)
    stack = []
    for short_id in short_ids:
        if member := mine.pop(short_id, None):
            start = member.start if member.start.epoch == epoch else start_at(member.run, epoch)
            stack.append(replace(member, start=start))
            continue
        run = others.get(short_id, behind.run)
        # Nobody leaves after epoch 0 because its epochs are over.
        was_stopped = epoch < 0 and short_id not in behind.history.at(1)
        has_left = was_stopped or short_id not in others or run.epoch <= epoch
        # One that was still in the stack for the epoch that is repeated leaves it after that, as it did before.
        target = max(epoch + 1, min(run.config.epochs, furthest)) if has_left else max(epoch + 1, 1)
        start = replace(fresh_start(run.config), epoch=epoch, method=behind.start.method)
        config = replace(run.config, epochs=target, patience=0)
        stack.append(Member(short_id, run, config, start, is_placeholder=True, has_left=has_left))
    if mine:
        raise CheckpointError("not all of the runs were in the stack")
    return stack


def _all_runs() -> dict[str, Run]:
    """Every run there is, deleted ones too, by its shortened id."""
    return {run.id[:SHORT_ID]: run for run in [*reading.runs(deleted=True), *reading.runs()]}


def start_of(run: Run) -> tuple[Start, str]:
    """Where the run goes on: its last recorded epoch or, if its checkpoint is damaged, the nearest whole one before,
    and a message that says so. Raises CheckpointError or StoreError if none is left."""
    if run.epoch < 0 or run.half_since is not None:  # of half an epoch 0 the rest is evaluated again
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
    if epoch > run.first_epoch and not slots and run.config.has_optimizer_state:
        raise CheckpointError(f"the optimizer's state after epoch {epoch} is not kept: continue from a later one")
    method = run.segments[-1].method if run.segments else ""
    trained = run.val_loss[1 : epoch - run.first_epoch + 1]  # by this run itself
    watched = stopping.watched(enumerate(trained, run.first_epoch + 1), run.patience_from)
    return Start(epoch, artifacts.load_checkpoint(run, epoch), slots, method, watched)


def mended_segments(run: Run) -> tuple[Segment, ...]:
    """The run's segments, the last one's time taken from its epochs: segments are written before the epoch is, and the
    worker may have been killed in between."""
    if not run.segments:
        return ()
    *earlier, last = run.segments
    frame = reading.history([run.id], ["epoch_seconds"])
    seconds = frame[frame.epoch > last.start_epoch].value
    return (*earlier, replace(last, seconds=float(seconds.sum()))) if len(seconds) else tuple(earlier)
