"""An attacker's share of some samples: how many that is, and which they are."""

from __future__ import annotations

import numpy as np

ERROR = 1e-9  # far above that of a product in float64, far below what a share can mean


def count(share: float, size: np.ndarray | int) -> np.ndarray:
    """How many of `size` samples a share makes, int64: rounded down, as the ensemble paper's script does.

    What is short of a whole number by no more than floating point's own error counts as whole: 57 % of 100 are 57.
    """
    return np.floor(share * np.asarray(size) + ERROR).astype(np.int64)


def first_of_each(strata: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Marks a share of every stratum, the first ones in the order given: bool [n].

    strata: int [n] from 0 on; order: the places 0 to n - 1, int [n].
    """
    order = order[np.argsort(strata[order], kind="stable")]  # stratum after stratum, each in the order given
    sizes = np.bincount(strata)
    rank = np.empty(len(strata), np.int64)
    rank[order] = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank < count(share, sizes)[strata]
