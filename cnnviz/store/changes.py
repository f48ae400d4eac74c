"""What changes runs: the user schedules, forks, stops and deletes them, the worker starts, records and ends them."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mlflow import entities
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from cnnviz.config import SETTINGS, RunConfig, recorded
from cnnviz.errors import StoreError
from cnnviz.store import artifacts, connection, ownership, spool
from cnnviz.store.failures import readable_errors
from cnnviz.store.reading import forget, history, metric_names, run
from cnnviz.store.records import status_of
from cnnviz.store.runs import ACTIVE, Prediction, Run, Segment, StackHistory

FORK_CHANGES = tuple(name for name, its in SETTINGS.items() if its.forkable)


# What a fork and its parent share.
_OF_THE_WEIGHTS = re.compile(r"(train|test|val)_(loss|accuracy)(_exact)?|saturation/.+")


_LONGEST_TAG = 8000  # characters, MLflow's limit


def schedule(
    configs: Sequence[RunConfig], device: str, predicted: Sequence[Prediction | None] | None = None
) -> list[str]:
    """New runs, waiting for a worker of that device ("cpu", "cuda" or "mps"); their ids in the order given.

    predicted: what is expected of each.
    """
    with readable_errors():
        expected = predicted or [None] * len(configs)
        return [
            _release(_create(config, device, predicted=each), config)
            for config, each in zip(configs, expected, strict=True)
        ]


def _create(config: RunConfig, device: str, origin: str = "", predicted: Prediction | None = None) -> str:
    """A run that no worker takes yet."""
    client = connection.client()
    tags = {
        "cnnviz.device": device,
        "cnnviz.queued_at": repr(time.time()),
        "cnnviz.train_loss": "train_*: mean over the epoch as it trains; train_*_exact: with the test figures' weights",
    }
    if predicted:
        tags["cnnviz.predicted"] = json.dumps(asdict(predicted))
    run_id = client.create_run(connection.experiment(), tags=tags, run_name=config.name + origin).info.run_id
    params = [Param(name, value) for name, value in recorded(config).items()]
    client.log_batch(run_id, params=params, tags=connection.as_tags(ownership.tags()))
    folder = artifacts.folder_of(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    description = json.dumps(config.architecture.to_dict(), indent=1)
    (folder / "architecture.json").write_text(description, encoding="utf-8")
    artifacts.upload(run_id, folder / "architecture.json")
    return run_id


def _release(run_id: str, config: RunConfig) -> str:
    # Last, as runs without a target are passed over: neither a worker nor a page must find half a run.
    _mark(run_id, "SCHEDULED", target_epochs=config.epochs)
    return run_id


def _mark(run_id: str, status: str, **tags: object) -> None:
    """Give a run its status, and these tags of cnnviz in the same transaction.

    The tag counts; MLflow's own status, for its UI, is set before. So whoever is killed in between has changed nothing,
    and it is done again.
    """
    if status in ACTIVE:
        connection.client().update_run(run_id, status=status)
    else:
        connection.client().set_terminated(run_id, status)
    connection.tag(run_id, {"status": status} | tags)


def fork(run_id: str, epoch: int, changes: Mapping[str, Any], epochs: int, device: str) -> str:
    """Schedule a new run that leaves its parent at a saved epoch, with something changed, for so many epochs; its id.

    It starts from the parent's weights and with a fresh optimizer; its first point is the parent's at that epoch. The
    loss is not copied where the fork measures another one. Raises StoreError or ConfigError for what cannot be forked.
    """
    with readable_errors():
        parent = run(run_id)
        if unfit := sorted(set(changes) - set(FORK_CHANGES)):
            raise StoreError(f"a fork keeps its parent's {unfit[0]}: change one of {', '.join(FORK_CHANGES)}")
        config = replace(parent.config, epochs=epoch + epochs, **changes)
        if config == replace(parent.config, epochs=config.epochs):
            raise StoreError(f"the fork of {parent.name} changes nothing: continue the run, or change a setting")
        weights = artifacts.load_checkpoint(parent, epoch)
        left_at = history([parent.id], metric_names(parent.id))
        left_at = left_at[left_at.epoch == epoch]
        if left_at.empty:
            raise StoreError(f"{parent.name} has not recorded epoch {epoch}: fork it at one it has")
        same_loss = config.loss == parent.config.loss
        figures = {
            name: value
            for name, value in zip(left_at.metric, left_at.value, strict=True)
            if _OF_THE_WEIGHTS.fullmatch(name) and (same_loss or "_loss" not in name)
        }
        forked = _create(config, device, f" (fork of {parent.id[:8]} at {epoch})")
        connection.tag(forked, {"parent": parent.id, "fork_epoch": epoch})
        artifacts.save_checkpoint(forked, epoch, weights, {})
        record(forked, epoch, figures, [])
        return _release(forked, config)


def request_stop(run_ids: Sequence[str], ended_ok: bool = False) -> None:
    """Waiting runs are stopped at once; training ones by their worker, which keeps the last complete epoch.

    Another machine's worker carries it out for that machine's runs, waiting ones too. A run that is nobody's is over at
    once; the request stays, for a worker that knows of no owners. Raises StoreError for one that is not active, unless
    ended_ok: then somebody was faster.
    """
    with readable_errors():
        for each in [run(run_id) for run_id in run_ids]:
            with connection.exclusive(each.id) as found:
                owner, status = ownership.of(found), status_of(found)
                if status == "SCHEDULED" and owner.is_here:
                    _mark(each.id, "KILLED")
                elif status in ACTIVE and owner.is_nobody:
                    _mark(each.id, "KILLED", stop="true")
                elif status in ACTIVE:
                    connection.client().set_tag(each.id, "cnnviz.stop", "true")
                elif not ended_ok:
                    raise StoreError(f"{each.name} is not training: there is nothing to stop")


def continue_runs(
    run_ids: Sequence[str], epochs: int, device_here: Callable[[str], str] = lambda device: device
) -> list[str]:
    """Schedule so many more epochs in the same runs, which become this installation's.

    Raises StoreError for one that is still training or waiting, or that another machine continues at this moment.

    device_here: what stands here for the device of a run that was another machine's.
    """
    if not 1 <= epochs <= 10_000:
        raise StoreError(f"{epochs} more epochs are out of range: it must be at least 1 and at most 10000")
    with readable_errors():
        chosen = [run(run_id) for run_id in run_ids]
        for each in chosen:
            _must_be_idle(each, each.status)
        for each in chosen:
            with connection.exclusive(each.id) as found:
                _must_be_idle(each, status_of(found))
                was_here = ownership.of(found).is_here
                claimed = ownership.claim(found)
                each = run(each.id)  # another machine may have continued it since it was read
                target = max(each.epoch, 0) + epochs
                fresh = {"queued_at": time.time(), "message": "", "stop": "", "stack": ""}
                if each.config.patience:
                    fresh["patience_from"] = each.epoch
                if not was_here:
                    fresh["device"] = device_here(each.device)
                _mark(each.id, "SCHEDULED", target_epochs=target, **fresh, **claimed)
    return [each.id for each in chosen]


def _must_be_idle(each: Run, status: str) -> None:
    if status in ACTIVE:
        raise StoreError(f"{each.name} ({each.id[:8]}) is still training or waiting: let it finish or stop it")


def delete(run_ids: Sequence[str]) -> None:
    """Hide runs from every list; restore() brings them back, `mlflow gc` frees the disk. Raises StoreError for one that
    is training; one that somebody has deleted already is no error."""
    with readable_errors():
        chosen = [run(run_id) for run_id in run_ids if not _is_deleted(run_id)]
        for each in chosen:
            _must_not_train(each, each.status)
        for each in chosen:
            with connection.exclusive(each.id) as found:
                _must_not_train(each, status_of(found))
                if status_of(found) == "SCHEDULED":
                    if ownership.of(found).is_here:
                        _mark(each.id, "KILLED")
                    else:  # its status is its owner's to change: restored, it is stopped there
                        connection.client().set_tag(each.id, "cnnviz.stop", "true")
                if not _is_deleted(each.id):
                    connection.client().delete_run(each.id)


def _must_not_train(each: Run, status: str) -> None:
    if status == "RUNNING":
        raise StoreError(f"{each.name} ({each.id[:8]}) is training: stop it first")


def restore(run_ids: Sequence[str]) -> None:
    """Bring deleted runs back; one that is back already is no error."""
    for run_id in run_ids:
        with connection.exclusive(run_id):
            if _is_deleted(run_id):
                connection.client().restore_run(run_id)


def _is_deleted(run_id: str) -> bool:
    return bool(connection.client().get_run(run_id).info.lifecycle_stage == "deleted")


def start(run_id: str, message: str = "", stack: StackHistory | None = None) -> bool:
    """Mark a run as training, in that stack, and say what it recovered from.

    False if somebody stopped or deleted it since it was read from the queue; a request to stop that waits is carried
    out.
    """
    with connection.exclusive(run_id) as found:
        if not ownership.of(found).is_here or not _wanted(found):
            return False
        if found.data.tags.get("cnnviz.stop") == "true":
            _mark(run_id, "KILLED", stop="")
            return False
        recovered = {"message": message} if message else {}  # else an earlier message stays
        _mark(run_id, "RUNNING", stack=_stack_tag(stack), **recovered)
    return True


def note(run_id: str, message: str) -> None:
    """Say something of a run."""
    with readable_errors():
        _tag(run_id, {"message": message})


def is_wanted(run_id: str) -> bool:
    """Whether the run is still there to be trained: it may have been deleted elsewhere."""
    with readable_errors():
        found = connection.client().get_run(run_id)
    return _wanted(found)


def _wanted(found: entities.Run) -> bool:
    return found.info.lifecycle_stage == "active" and status_of(found) in ACTIVE


def record_stack(run_id: str, stack: StackHistory) -> None:
    """The stack has changed. To be called before the epoch is recorded after which it changes."""
    with readable_errors():
        _tag(run_id, {"stack": _stack_tag(stack)})


def _stack_tag(stack: StackHistory | None) -> str:
    """The tag cnnviz.stack; its keys are those that earlier versions of cnnviz read and write."""
    if stack is None:
        return ""
    noted = {"begun": stack.batch, "threads": stack.threads, "seats": stack.members}
    text = json.dumps(noted, separators=(",", ":"))
    return text if len(text) <= _LONGEST_TAG else ""


def record(run_id: str, epoch: int, metrics: Mapping[str, float], segments: Sequence[Segment]) -> int:
    """Write one epoch: all of its metrics in one transaction, at step = epoch. Returns the time that they have.

    The segments go before, in one of their own: killed in between, they are mended from the epochs that are there. The
    last notes the epoch as well: steps beyond it are another program's.
    """
    now = int(time.time() * 1000)
    noted = [asdict(segment) for segment in segments]
    noted[-1:] = [each | {"epoch": epoch} for each in noted[-1:]]
    with readable_errors():
        _tag(run_id, {"segments": json.dumps(noted)})
        _log(run_id, now, epoch, {name: float(value) for name, value in metrics.items()})
    forget(run_id)
    return now


def complete(run_id: str, epoch: int, metrics: Mapping[str, float], recorded_at: int) -> None:
    """Write metrics of an epoch that is recorded already, with the time that it has: as if they had been there."""
    with readable_errors():
        _log(run_id, recorded_at, epoch, {name: float(value) for name, value in metrics.items()})
    forget(run_id)


@spool.operation
def _tag(run_id: str, tags: Mapping[str, object]) -> None:
    connection.tag(run_id, tags)


@spool.operation
def _log(run_id: str, timestamp: int, epoch: int, metrics: Mapping[str, float]) -> None:
    connection.client().log_batch(run_id, [Metric(name, value, timestamp, epoch) for name, value in metrics.items()])


@spool.operation
def finish(run_id: str, status: str, message: str | None = None) -> None:
    """FINISHED, FAILED (with the reason) or KILLED; or back to SCHEDULED. message=None leaves what was said before."""
    with connection.exclusive(run_id) as found:
        if found.info.lifecycle_stage == "deleted":
            return
        said = {} if message is None else {"message": message}
        try:
            _mark(run_id, status, stop="", **said)
        except MlflowException:
            if not _is_deleted(run_id):  # by another machine, in this instant
                raise
