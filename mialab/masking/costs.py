"""What a mask costs those who use confidences."""

from __future__ import annotations

import numpy as np

BINS = 15


def calibration_error(p: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> float:
    """How far confidence and accuracy are apart, in [0, 1]: the expected calibration error (Guo et al. 2017).

    p: float [n, classes]; labels: int [n]. Samples are put into equally wide bins by their largest confidence; of each
    bin counts the difference of its mean confidence and its share of right answers, weighted by its samples.
    """
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    apart = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(apart).sum() / len(labels))


def distortion(shown: np.ndarray, p: np.ndarray) -> float:
    """The mean over samples of the sum of absolute changes [n, classes]: 0 for none, 2 at most."""
    return float(np.abs(shown - p).sum(axis=1).mean())
