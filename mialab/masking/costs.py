"""What a mask changes in answers; what that costs those who use confidences, `mialab.fusion.calibration_error` says."""

from __future__ import annotations

import numpy as np


def distortion(shown: np.ndarray, p: np.ndarray) -> float:
    """The mean over samples of the sum of absolute changes [n, classes]: 0 for none, 2 at most."""
    return float(np.abs(shown - p).sum(axis=1).mean())
