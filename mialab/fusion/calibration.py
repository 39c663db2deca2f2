"""How far confidences are from shares of right answers."""

from __future__ import annotations

import numpy as np

BINS = 15


def calibration_error(p: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> float:
    """The expected calibration error (Guo et al. 2017): how far the largest confidence is from the share of right ones.

    p: confidences float [n, classes]; labels int [n]. Samples are binned by their largest confidence into equally wide
    bins; the result is the mean over bins, by their sizes, of |mean confidence - share of right answers|, in [0, 1].
    Raises ValueError where there is no sample.
    """
    if not len(p):
        raise ValueError("calibration_error: found no sample; give one at least")
    surest, right = p.max(axis=1), p.argmax(axis=1) == labels
    place = np.minimum((surest * bins).astype(int), bins - 1)
    apart = np.bincount(place, surest - right, minlength=bins)
    return float(np.abs(apart).sum() / len(p))
