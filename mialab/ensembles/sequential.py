"""Sequential ensembles: members trained in turn, each without the rows that are right too often so far. Our design.

The ensemble paper's conclusion proposes to train models in turn, with a criterion that keeps the distribution of the
level of correct agreement close on train and other data; which one, it leaves open. Ours compares the members' rows
with held-out rows that no attack is judged on. Both are ordered by their level among the models trained so far. A row
whose level is above that of the held-out row of the same rank has an excess: the next model is not trained on it, and
is right about it only as far as it generalises. Explained in the chapter "Between the papers".
"""

from __future__ import annotations

import numpy as np


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far two distributions of levels are apart, from 0 to 1: their total variation distance.

    one, other: levels, int [n] and [m]. It is half the sum, over levels, of the differences of their shares. ValueError
    where a side has no row.
    """
    if not len(one) or not len(other):
        raise ValueError(f"distance: found {len(one)} and {len(other)} levels; give at least one on either side")
    shares = [np.bincount(side, minlength=max(one.max(), other.max()) + 1) / len(side) for side in (one, other)]
    return float(abs(shares[0] - shares[1]).sum() / 2)


def excess(level: np.ndarray, sure: np.ndarray, held: np.ndarray) -> np.ndarray:
    """By how much each row's level is above that of the held-out row of its rank, int [n]; below counts as negative.

    level: int [n]; sure: numbers [n] that order rows of one level, least sure first; held: levels int [m].
    """
    n, m = len(level), len(held)
    goal = np.empty(n, dtype=np.int64)
    goal[np.lexsort((sure, level))] = np.sort(held)[((np.arange(n) + 0.5) * m / n).astype(int)]
    return level - goal


def kept(right: np.ndarray, confidence: np.ndarray, held: np.ndarray, share: float) -> np.ndarray:
    """Which rows the next model is trained on, bool [n].

    right: which of the members' rows each model so far is right about, bool [models, n]; confidence: its confidence in
    the true class [models, n]; held: the same as `right` of held-out rows, bool [models, m]. share: of the rows with
    an excess, how many are left out, those with the largest one first and of equals the least sure; with 0 nothing is,
    and the models are trained independently. Without a model so far all rows are kept. Raises ValueError outside
    [0, 1], and without a held-out row.
    """
    check(share)
    if not held.shape[1]:
        raise ValueError("kept: found no held-out row to compare with; choose an arrangement with a reference share")
    if not len(right):
        return np.ones(right.shape[1], dtype=bool)
    sure = confidence.mean(axis=0)
    above = excess(right.sum(axis=0), sure, held.sum(axis=0))
    number = round(share * int((above > 0).sum()))
    stays = np.ones(len(sure), dtype=bool)
    stays[np.lexsort((sure, -above))[:number]] = False
    return stays


def check(share: float) -> None:
    """Raise ValueError for a share outside [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"the share of rows left out must be from 0 to 1, not {share}")
