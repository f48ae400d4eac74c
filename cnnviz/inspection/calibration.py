"""Whether a network is as often right as it is sure: reliability diagram and expected calibration error.

After Guo et al. 2017, "On Calibration of Modern Neural Networks": pictures in bins of equal width by confidence, the
largest of a picture's probabilities; the error is the mean distance of accuracy and confidence, weighted by the
pictures of a bin. A network trained with MSE has learned no probabilities: its softmax is flat, and it is
underconfident by construction.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cnnviz.inspection.network import Prediction

BINS = 15  # Guo et al.'s


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence against accuracy. Bin i holds confidences over edges[i], up to and with edges[i + 1]."""

    edges: np.ndarray  # (BINS + 1,), from 0 to 1
    right: np.ndarray  # (BINS,), how many pictures of the bin are right
    wrong: np.ndarray  # (BINS,)
    confidence: np.ndarray  # (BINS,), mean of the bin; NaN: empty
    error: float  # the expected calibration error, 0…1
    mean_confidence: float
    accuracy: float  # of the pictures that have an answer
    confidence_right: float  # mean over the right answers; NaN: there are none
    confidence_wrong: float

    @property
    def counts(self) -> np.ndarray:
        """Pictures of each bin."""
        return self.right + self.wrong

    @property
    def accuracies(self) -> np.ndarray:
        """Share of each bin's pictures that are right; NaN: empty."""
        return _mean(self.right, self.counts)

    @property
    def overconfidence(self) -> float:
        """By how much it is surer than right; negative: it is less sure."""
        return self.mean_confidence - self.accuracy


def calibration(prediction: Prediction, labels: Tensor, bins: int = BINS) -> Calibration | None:
    """Of the pictures that have an answer, labels (N,); None: no picture has one."""
    decided = prediction.decided
    if not bool(decided.any()):
        return None
    best = prediction.confidence[decided].double().cpu().numpy()
    right = (prediction.classes == labels)[decided].cpu().numpy()
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.searchsorted(edges[1:-1], best, side="left")
    rights, everything = (np.bincount(bin_of[rows], minlength=bins) for rows in (right, np.ones_like(right)))
    confidence = _mean(np.bincount(bin_of, best, bins), everything)
    gaps = np.abs(_mean(rights, everything) - confidence)
    return Calibration(
        edges=edges,
        right=rights,
        wrong=everything - rights,
        confidence=confidence,
        error=float(np.nansum(gaps * everything) / len(best)),
        mean_confidence=float(best.mean()),
        accuracy=float(right.mean()),
        confidence_right=_average(best[right]),
        confidence_wrong=_average(best[~right]),
    )


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, where=counts > 0, out=np.full(len(counts), np.nan))


def _average(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
