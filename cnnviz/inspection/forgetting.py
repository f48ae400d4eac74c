"""Pictures over a run's epochs: learned early or late, never, or forgotten.

After Toneva et al. 2019, "An Empirical Study of Example Forgetting": a forgetting event is a picture that is right
after one epoch and wrong after the next. They look at training pictures as these come up; here it is the test set
after every epoch that was kept, and epoch 0 does not count: what an untrained network gets right is luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

Fate = Literal["early", "late", "forgotten", "never"]
FATES: tuple[Fate, ...] = ("early", "late", "forgotten", "never")
EARLY = 0.5  # of the epochs: what is right from there on was learned early


@dataclass(frozen=True, eq=False)
class Learned:
    """What became of each picture (N,), by epochs that were trained and kept."""

    epochs: np.ndarray
    first_right: np.ndarray  # epoch; -1: never right
    right_since: np.ndarray  # the epoch from which on it is right up to the last one; -1: the last one has it wrong
    forgettings: np.ndarray  # forgetting events
    fate: np.ndarray  # of FATES, as their places

    def counts(self) -> dict[Fate, int]:
        """How many pictures met each fate."""
        return {name: int((self.fate == place).sum()) for place, name in enumerate(FATES)}

    def pictures(self, fate: Fate) -> np.ndarray:
        """Indices of these pictures, the clearest first: the earliest, the latest, the most often forgotten."""
        chosen = np.flatnonzero(self.fate == FATES.index(fate))
        order = {
            "early": self.right_since + self.forgettings / (len(self.epochs) + 1),
            "late": -self.right_since,
            "forgotten": -self.forgettings,
            "never": np.zeros(len(self.fate)),
        }[fate]
        return chosen[np.argsort(order[chosen], kind="stable")]


def learned(epochs: Sequence[int], answers: np.ndarray, labels: Tensor | np.ndarray) -> Learned | None:
    """answers: (epochs, N) by epoch, in order; labels: (N,). None: no epoch was trained and kept."""
    trained = np.asarray(epochs) > 0
    if not trained.any():
        return None
    kept, right = np.asarray(epochs)[trained], answers[trained] == np.asarray(labels)
    ever, last = right.any(0), right[-1]
    after_mistakes = len(kept) - right[::-1].argmin(0)  # of a picture that is wrong at times
    since = np.where(right.all(0), 0, np.minimum(after_mistakes, len(kept) - 1))
    right_since = np.where(last, kept[since], -1)
    # Half of what was trained here: a fork's epochs begin where it left its parent.
    half = kept[0] + EARLY * (kept[-1] - kept[0])
    fate = np.select([~ever, ~last, right_since <= half], [3, 2, 0], 1)
    return Learned(
        epochs=kept,
        first_right=np.where(ever, kept[right.argmax(0)], -1),
        right_since=right_since,
        forgettings=(right[:-1] & ~right[1:]).sum(0),
        fate=fate,
    )
