"""A recorded network's outputs for the whole test set: computed once an epoch, then kept on the disk as half floats.

What is kept of a picture is each logit less the largest: the softmax is the same, the predicted class exactly so, and
half floats are precise where it matters, near the largest. The confidence is kept as it is, so that figures of
calibration are those of the network. A picture whose logits are not all finite has no outputs: NaN.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import torch
from torch import Tensor

from cnnviz.data import Dataset, Progress, silent
from cnnviz.inspection import recorded
from cnnviz.inspection.network import BATCH, Prediction, predict
from cnnviz.store import outputs as store
from cnnviz.store.runs import Run

FORMAT = 1  # of what is kept: raised by any change
SAMPLED = 100  # every so many-th picture is looked at to know a set of pictures
_LOWEST = torch.finfo(torch.float16).min
_SMALLEST = -(2.0**-24)  # the half float next to 0


def of(run: Run, epoch: int, dataset: Dataset, on_progress: Progress = silent) -> Prediction:
    """The run's predictions of all test pictures after that epoch: the kept ones, or else computed and kept.

    Raises CheckpointError if its checkpoint is missing or damaged.
    """
    return _of(run, epoch, dataset, pictures(dataset), on_progress)


def kept(run: Run, epoch: int, dataset: Dataset) -> Prediction | None:
    """The same, if they have been computed before."""
    found = store.load(run.id, epoch, pictures(dataset))
    return None if found is None else _prediction(found)


def every_kept(run: Run, epochs: Sequence[int], dataset: Dataset) -> list[Prediction] | None:
    """Of all these epochs; None unless each of them has been computed before."""
    found = [kept(run, epoch, dataset) for epoch in epochs] if may_be_kept(run, epochs) else []
    every = [each for each in found if each is not None]
    return every if epochs and len(every) == len(epochs) else None


def may_be_kept(run: Run, epochs: Sequence[int]) -> bool:
    """Whether there is a file of each, which is known at once; whether it serves is known once it is read."""
    return set(epochs) <= set(store.epochs(run.id))


def each_epoch(
    run: Run, epochs: Sequence[int], dataset: Dataset, on_progress: Progress = silent
) -> Iterator[tuple[int, Prediction]]:
    """The predictions after each of these epochs, in their order, each as soon as it is known.

    Epochs are computed side by side, one a core; on_progress is called by the thread that asks. Raises CheckpointError
    at an epoch whose checkpoint is missing or damaged.
    """
    which = pictures(dataset)

    def one(epoch: int) -> Prediction:
        return _of(run, epoch, dataset, which, silent)

    workers = max(1, _cores() // torch.get_num_threads())
    pool = ThreadPoolExecutor(workers, thread_name_prefix="outputs")
    try:
        for done, (epoch, found) in enumerate(zip(epochs, _ahead(pool, one, epochs, 2 * workers), strict=True), 1):
            on_progress(f"{done} of {len(epochs)} epochs", done / len(epochs))
            yield epoch, found
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[int], Prediction], epochs: Sequence[int], most: int
) -> Iterator[Prediction]:
    """Results in order, computed so far ahead and no further: who stops asking waits for little."""
    waiting = [pool.submit(work, epoch) for epoch in epochs[:most]]
    for place in range(len(epochs)):
        found = waiting.pop(0).result()
        if place + most < len(epochs):
            waiting.append(pool.submit(work, epochs[place + most]))
        yield found


def _of(run: Run, epoch: int, dataset: Dataset, which: str, on_progress: Progress) -> Prediction:
    found = store.load(run.id, epoch, which)
    if found is None:
        network = recorded.load(run, epoch)
        parts, many = [], len(dataset.test_images)
        for batch in dataset.test_images.split(BATCH):
            parts.append(predict(network, batch).logits)
            seen = BATCH * len(parts)
            on_progress(f"epoch {epoch}: {min(seen, many):,} of {many:,} pictures", min(1.0, seen / many))
        logits = torch.cat(parts)
        found = {"outputs": halved(logits), "confidence": Prediction(logits).confidence}
        store.save(run.id, epoch, which, found)
    return _prediction(found)


def _prediction(found: Mapping[str, Tensor]) -> Prediction:
    return Prediction(found["outputs"].float(), found["confidence"])


def halved(logits: Tensor) -> Tensor:
    """float32 (N, classes) → float16: each row less its largest value, at the predicted class alone 0.

    Rows with a value that is not finite are NaN throughout.
    """
    best = logits.argmax(1, keepdim=True)
    less = (logits - logits.gather(1, best)).clamp(min=_LOWEST).half()
    less = torch.where(less < 0, less, torch.full_like(less, _SMALLEST)).scatter(1, best, 0.0)
    return less.masked_fill(~logits.isfinite().all(1, keepdim=True), torch.nan)


def pictures(dataset: Dataset) -> str:
    """What tells its test set, and what is kept of it, from others: the labels and a sample of the pictures."""
    digest = sha256(dataset.test_labels.numpy().tobytes())
    digest.update(dataset.test_images[::SAMPLED].numpy().tobytes())
    return f"{FORMAT}-{dataset.name}-{len(dataset.test_labels)}-{digest.hexdigest()}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
