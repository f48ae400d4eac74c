"""What one network gets wrong: the confusion matrix and the figures by class that follow from it.

An answer is the predicted class, or NO_ANSWER of a picture whose logits are not finite. Of a network that has no
answer at all there are no figures: None. Where it answers some pictures, the others count as mistakes, and stand in
no column.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.cluster import hierarchy
from sklearn import metrics
from torch import Tensor

from cnnviz.inspection.network import Prediction

NO_ANSWER = -1
ALWAYS = 0.99  # of the answers: a network that gives one class so often says it always

Share = Literal["count", "true", "predicted"]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """A network's answers against the true labels."""

    confusion: np.ndarray  # (classes, classes) counts, rows true, columns predicted
    accuracy: float  # share of all pictures
    precision: np.ndarray  # by class; 0 for a class that is never predicted, as scikit-learn has it
    recall: np.ndarray  # by class: its accuracy
    f1: np.ndarray
    unanswered: int  # pictures without an answer

    @property
    def predicted(self) -> np.ndarray:
        """How many times each class is the answer."""
        return self.confusion.sum(0)

    @property
    def always(self) -> int | None:
        """The class that is (nearly) all of its answers; None: there is no such class."""
        best = int(self.predicted.argmax())
        return best if self.predicted[best] >= ALWAYS * self.predicted.sum() else None

    def by(self, share: Share) -> np.ndarray:
        """The matrix as counts, as shares of the true class, or of the predicted one; NaN where there is no picture."""
        return shares(self.confusion, share)


def answers(prediction: Prediction) -> np.ndarray:
    """(N,), the predicted classes; NO_ANSWER where the logits are not finite."""
    return np.where(prediction.decided.cpu().numpy(), prediction.classes.cpu().numpy(), NO_ANSWER)


def mistakes(given: np.ndarray, labels: Tensor | np.ndarray, classes: int) -> Mistakes | None:
    """Of answers (N,) to pictures with these labels (N,); None: the network has no predictions."""
    true, names = np.asarray(labels), np.arange(classes)
    unanswered = int((given == NO_ANSWER).sum())
    if unanswered == len(given):
        return None
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(true, given, labels=names, zero_division=0)
    return Mistakes(
        confusion=metrics.confusion_matrix(true, given, labels=names),
        accuracy=float(metrics.accuracy_score(true, given)),
        precision=precision,
        recall=recall,
        f1=f1,
        unanswered=unanswered,
    )


def shares(confusion: np.ndarray, share: Share) -> np.ndarray:
    """Counts as they are, divided by the pictures of the true class, or by those of the predicted one.

    NaN where a class has no picture: one that is never predicted has no shares.
    """
    if share == "count":
        return confusion.astype(float)
    totals = confusion.sum(axis=1 if share == "true" else 0, keepdims=True)
    return np.divide(confusion, totals, where=totals > 0, out=np.full(confusion.shape, np.nan))


def difference(first: np.ndarray, second: np.ndarray, share: Share = "count") -> np.ndarray:
    """The second confusion matrix less the first one, in counts or in shares."""
    return shares(second, share) - shares(first, share)


def by_similarity(confusion: np.ndarray) -> list[int]:
    """The classes in an order that puts those which are taken for one another side by side.

    Average linkage on the share of two classes' pictures that are confused with each other, its leaves ordered so that
    neighbours are as near as may be (Bar-Joseph et al. 2001).
    """
    rows = np.nan_to_num(shares(confusion, "true"))
    confused = (rows + rows.T) / 2
    upper = np.triu_indices(len(confused), 1)
    distances = 1 - confused[upper]
    tree = hierarchy.linkage(distances, "average")
    return [int(each) for each in hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, distances))]
