"""A run of MLflow's as cnnviz knows it. Other programs, and people in MLflow's own UI, write to the same runs: what
cnnviz did not write is not believed, and hides nothing that it did write."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from mlflow import entities

from cnnviz.config import DEVICES, restored
from cnnviz.errors import ConfigError
from cnnviz.store import ownership
from cnnviz.store.runs import ACTIVE, STATUSES, Prediction, Run, Segment, StackHistory

T = TypeVar("T")
U = TypeVar("U")


def is_ours(found: entities.Run) -> bool:
    """Whether cnnviz made the run, and not just half of it: these two are written last. Versions before the status
    wrote the target alone; segments are there once it trains."""
    tags = found.data.tags
    return not tags.keys().isdisjoint(("cnnviz.target_epochs", "cnnviz.status")) or "{" in tags.get(
        "cnnviz.segments", ""
    )


def status_of(found: entities.Run) -> str:
    """The status that cnnviz gave it: MLflow's own is also set by whoever opens the run to log something.

    Versions before the tag wrote MLflow's alone. One that is RUNNING again after its end, without having been queued
    again, was opened by another program.
    """
    info, tags = found.info, found.data.tags
    if tags.get("cnnviz.status") in STATUSES:
        return str(tags["cnnviz.status"])
    reopened = info.status == "RUNNING" and info.end_time and _queued_at(found, _Tags(tags)) * 1000 <= info.end_time
    return "KILLED" if reopened else str(info.status)


@dataclass
class _Tags:
    """The tags of a run, read one by one: one that somebody has cleared or mistyped spoils no other."""

    tags: Mapping[str, str]
    unreadable: list[str] = field(default_factory=list)

    def read(self, name: str, meaning: Callable[[str], T], otherwise: U) -> T | U:
        text = self.tags.get(f"cnnviz.{name}", "")
        try:
            return meaning(text) if text else otherwise
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, AttributeError):
            self.unreadable.append(name)
            return otherwise


def describe(
    found: entities.Run,
    accuracy: Mapping[int, float],
    val_loss: Mapping[int, float] | None = None,
    val_accuracy: Mapping[int, float] | None = None,
) -> Run | None:
    """The run, given all test accuracies by step, and those of its validation set, if it has one; None for another
    program's."""
    params, info, tags = found.data.params, found.info, _Tags(found.data.tags)
    segments = tags.read("segments", _segments, ())
    first = _first_epoch(tags, segments, accuracy)
    noted = tags.read("segments", _noted_epoch, None)
    target = tags.read("target_epochs", _target_epochs, None)
    limit = noted if noted is not None else target if target is not None else math.inf
    last = first - 1  # an epoch is recorded after the one before, so a gap ends them
    while last + 1 in accuracy and last < limit:
        last += 1
    try:
        config = restored(params, target or max(last, 1))
    except ConfigError:
        return None
    status_, queued_at, device = status_of(found), _queued_at(found, tags), tags.read("device", _device, "cpu")
    stack_history, parent = tags.read("stack", _stack_history, None), tags.read("parent", _run_id, "")
    predicted = tags.read("predicted", _prediction, None)
    return Run(
        id=info.run_id,
        name=info.run_name or config.name,
        status=status_,
        config=config,
        epoch=last if last >= first else -1,
        device=device,
        created=_date(info.start_time),
        queued_at=queued_at,
        message=_message(tags),
        stopping=tags.tags.get("cnnviz.stop") == "true" and status_ in ACTIVE,
        segments=segments,
        stack_history=stack_history,
        accuracy=tuple(accuracy[epoch] for epoch in range(first, last + 1)),
        val_loss=_line(val_loss, first, last),
        val_accuracy=_line(val_accuracy, first, last),
        patience_from=max(first, tags.read("patience_from", _whole, first)),
        parent=parent,
        first_epoch=first,
        predicted=predicted,
        is_here=ownership.of(found).is_here,
        host=tags.tags.get("cnnviz.host", ""),
    )


def _line(values: Mapping[int, float] | None, first: int, last: int) -> tuple[float, ...]:
    return tuple(values.get(epoch, math.nan) for epoch in range(first, last + 1)) if values else ()


def _message(tags: _Tags) -> str:
    """What the run says, and which of its tags say nothing any more."""
    changed = [f"the tag cnnviz.{name} was changed to something unreadable" for name in dict.fromkeys(tags.unreadable)]
    return "; ".join([each for each in [tags.tags.get("cnnviz.message", ""), *changed] if each])


def _first_epoch(tags: _Tags, segments: tuple[Segment, ...], accuracy: Mapping[int, float]) -> int:
    """0, or the epoch at which a fork left its parent, which is the first it has recorded."""
    noted = tags.read("fork_epoch", _whole, None)
    begun = [segment.start_epoch for segment in segments[:1]] + ([] if noted is None else [noted])
    if (first := next((epoch for epoch in begun if epoch in accuracy or not accuracy), None)) is not None:
        return first
    is_fork = not tags.tags.keys().isdisjoint(("cnnviz.parent", "cnnviz.fork_epoch"))
    return min(accuracy, default=0) if is_fork else 0


# -- what the tags mean; each raises what _Tags.read passes over ---------------------------------------


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _target_epochs(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= 10_000:
        raise ValueError(text)
    return number


def _device(text: str) -> str:
    if text not in DEVICES[1:]:
        raise ValueError(text)
    return text


def _run_id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise ValueError(text)
    return text


def _queued_at(found: entities.Run, tags: _Tags) -> float:
    return tags.read("queued_at", _finite, (found.info.start_time or 0) / 1000)


def _date(milliseconds: int | None) -> datetime:
    try:
        return datetime.fromtimestamp((milliseconds or 0) / 1000)
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return datetime.fromtimestamp(0)


def _segments(text: str) -> tuple[Segment, ...]:
    return tuple(
        Segment(  # a newer cnnviz may note more
            _whole(each["start_epoch"]),
            _finite(each["started_at"]),
            _finite(each["seconds"]),
            str(each["device"]),
            _whole(each["threads"]),
            _whole(each.get("stack", 1)),
            _finite(each.get("waited", 0)),
            _finite(each.get("setup", 0)),
            str(each.get("method", "")),
        )
        for each in json.loads(text)
    )


def _noted_epoch(text: str) -> int | None:
    """The epoch that was being recorded when the segments were written; versions before did not note it."""
    segments = json.loads(text)
    return _whole(segments[-1]["epoch"]) if segments and "epoch" in segments[-1] else None


def _stack_history(text: str) -> StackHistory | None:
    """Of the tag cnnviz.stack, as changes writes it."""
    noted = json.loads(text)
    members = tuple((int(first), tuple(map(str, ids))) for first, ids in noted["seats"])
    return StackHistory(str(noted["begun"]), int(noted["threads"]), members) if members else None


def _prediction(text: str) -> Prediction:
    noted = json.loads(text)
    epoch = noted.get("overfits")
    learns, best = noted["learns"] is True, noted["best"] is True
    return Prediction(_finite(noted["at"]), learns, best, None if epoch is None else _whole(epoch))
