"""Rows of outputs that repeat an earlier row, told apart from rows that coincide honestly.

Outputs coincide without a mistake where they are rounded or saturated, and where a model has few answers to give
(trees, neighbours). Two tests tell files that hold samples twice from such ones.

`impossible` looks at nothing but how many rows occur once, twice, three times, ... Where samples are drawn
independently, from whatever distribution with whatever coincidences, the expected numbers m_k of rows that occur
k times obey m_k^2 <= (k + 1) / k m_(k-1) m_(k+1) (Cauchy-Schwarz on the moments of a mixture of Poisson counts): rows
that occur twice come with rows that occur once and three times. A doubled file has pairs and nothing beside them.

`fine` finds the few repeated rows in which the first test has no power, where three things hold. Half of the columns
hardly ever agree in two rows that differ: the numbers are not rounded. Rows occur once or, nearly all others, the same
number of times. And the row most like a repeated one is far from it: answers of trees that coincide have others beside
them that nearly do.
Explained in the chapter "The audit".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammainccinv

MOST_TIMES = 20  # how often a row occurs, at most, in the test of the numbers of times
ROUNDED = 4  # decimals at which rows that differ by noise of the arithmetic are the same
SURE = 0.999  # a row with a larger probability is saturated
LEAST_SHARE = 0.01  # of rows that repeat another one, for `fine`
LEAST_ROWS = 5
MIXED = 0.05  # share of repeated rows that occur another number of times than most of them
FAR = 0.12  # of the usual distance: how far the nearest row is, at least
LEAST_LOG = -10.0  # log-probabilities are cut off here
MOST_REPEATED, MOST_ROWS, MOST_COLUMNS = 50, 4000, 64  # that distances are measured on
AT_ONCE = 1_000_000  # numbers
COARSE = 0.2  # half-rows that coincide, per repeated row, from which on the numbers have room for coincidences


@dataclass(frozen=True)
class Repeats:
    """How many rows there are, how many of them repeat an earlier one, and how many stand on both sides."""

    rows: int
    repeated: int
    on_both_sides: int


def find(values: np.ndarray, member: np.ndarray, log_p: np.ndarray, *, alpha: float) -> Repeats | None:
    """What repeats in outputs [models, n, classes] if it cannot be honest; None if it can.

    member: bool [n]; log_p: the fused log-probabilities, float [n, classes]. alpha: chance of a false alarm by
    `impossible` where the samples are independent.
    """
    for decimals in (None, ROUNDED):
        keys = _keys(values, decimals)
        _, group, times = np.unique(keys[0], return_inverse=True, return_counts=True)
        constant = len(times) == 1 and len(group) > LEAST_ROWS
        if len(times) < len(group) and (constant or impossible(times, alpha) or fine(keys, group, times, log_p)):
            return _counted(group, times, member)
    return None


def impossible(times: np.ndarray, alpha: float) -> bool:
    """Whether independent samples would hardly ever have distinct rows that occur so often, int [distinct rows]."""
    found = np.bincount(np.minimum(times, MOST_TIMES + 2), minlength=MOST_TIMES + 3)[: MOST_TIMES + 2]
    k = np.arange(2, MOST_TIMES + 1)
    tail = alpha / len(k) / 3
    most = gammainccinv(found + 1, tail)  # of a Poisson count's mean, hence exact for sums of independent trials
    bound = np.sqrt((k + 1) / k * most[k - 1] * most[k + 1])
    chance = gammainc(np.maximum(found[k], 1), bound)  # of as many, or more
    return bool(((found[k] > bound) & (chance < tail)).any())


def fine(keys: np.ndarray, group: np.ndarray, times: np.ndarray, log_p: np.ndarray) -> bool:
    """Whether rows repeat that leave no room for coincidences: keys of rows and half-rows uint64 [3, n]."""
    loose = np.flatnonzero(log_p.max(axis=1) < np.log(SURE))
    if len(keys) == 1 or not len(loose):
        return False
    distinct, first = np.unique(group[loose], return_index=True)
    first = loose[first]
    often = times[distinct]
    again, several = len(loose) - len(distinct), often[often > 1]
    if again < max(LEAST_ROWS, LEAST_SHARE * len(group)) or (times == 1).sum() < len(group) / 4:
        return False
    if (several != np.bincount(several).argmax()).mean() > MIXED:
        return False
    partial = max(len(distinct) - len(np.unique(half[first])) for half in keys[1:])
    return bool(partial <= COARSE * again) and _apart(log_p, first[often > 1], first)


def _apart(log_p: np.ndarray, repeated: np.ndarray, distinct: np.ndarray) -> bool:
    """Whether the distinct rows nearest to repeated ones are far, by the largest difference of log-probabilities."""
    rng = np.random.default_rng(0)
    columns = rng.permutation(log_p.shape[1])[:MOST_COLUMNS]
    some, others = (rng.permutation(rows)[:most] for rows, most in ((repeated, MOST_REPEATED), (distinct, MOST_ROWS)))
    cut = np.maximum(log_p[:, columns], LEAST_LOG)
    nearest, usual = [], []
    for row in some:
        apart = np.abs(cut[others[others != row]] - cut[row]).max(axis=1)
        nearest.append(apart.min())
        usual.append(np.median(apart))
    return bool(np.median(nearest) >= FAR * np.median(usual))


def _counted(group, times, member):
    sides = np.bincount(group, member) * np.bincount(group, ~member) > 0
    return Repeats(len(group), len(group) - len(times), int(sides[group].sum()))


def _keys(values: np.ndarray, decimals: int | None) -> np.ndarray:
    """64-bit keys of rows and, if there are three numbers or more, of either half of them: uint64 [1 or 3, n]."""
    models, n, classes = values.shape
    columns = models * classes
    weights = np.random.default_rng(0).integers(1, 2**63, (models, classes), dtype=np.uint64) * np.uint64(2)
    weights += np.uint64(1)
    second = (np.arange(columns) % 2 == 1).reshape(models, classes)
    keys = np.zeros((2, n), np.uint64)
    for some in np.array_split(np.arange(n), -(-n * classes // AT_ONCE)):
        rows = slice(some[0], some[-1] + 1)
        for one, weight, half in zip(values, weights, second, strict=True):
            mixed = _bits(one[rows], decimals) * weight
            odd = mixed[:, half].sum(axis=1)
            keys[:, rows] += np.stack([mixed.sum(axis=1) - odd, odd])
    together = keys[0] * np.uint64(0x9E3779B97F4A7C15) + keys[1]
    return together[None] if columns < 3 else np.stack([together, *keys])


def _bits(numbers: np.ndarray, decimals: int | None) -> np.ndarray:
    """Numbers mixed into 64 bits; zeros of either sign alike."""
    exact = numbers.astype(np.float64)
    bits = ((np.round(exact, decimals) if decimals else exact) + 0.0).view(np.uint64)
    return (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
