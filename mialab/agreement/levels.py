"""Confidence by level of correct agreement, on members and on non-members (the ensemble paper's Figures 3, 7 to 9)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from mialab.agreement.answers import Answers
from mialab.metrics import TAIL, Estimate


class Means(NamedTuple):
    """Of each level, float64 or int [..., models + 1]: the samples, and the means of y_el, y^c and y^m on them.

    A mean of nothing is NaN: at a level without samples, of y^c at level 0, of y^m at the highest level. Axes before
    the last one, if any, count resamples.
    """

    counts: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    misclassified: np.ndarray


@dataclass(frozen=True, eq=False)
class Side:
    """Members, or non-members, by level c = 0 to n; arrays [n + 1], NaN where there is nothing to average.

    counts: samples. mean, sd: of the fused confidence (sd with the number of samples as divisor). correct,
    misclassified: means of y^c and y^m, each sample counting once. accuracies: of each model, float64 [models].
    """

    counts: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    correct: np.ndarray
    misclassified: np.ndarray
    accuracies: np.ndarray

    @property
    def samples(self) -> int:
        """Their number."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """P(c), the distribution of the level: float64 [n + 1], sum 1."""
        return self.counts / self.counts.sum()

    @property
    def mean_level(self) -> float:
        """The mean of c: the number of models times their mean accuracy."""
        return float(self.counts @ np.arange(len(self.counts)) / self.samples)

    @property
    def mean_confidence(self) -> float:
        """The mean of the fused confidence over all samples."""
        return float(self.shares @ np.nan_to_num(self.mean))

    @property
    def sd_confidence(self) -> float:
        """The standard deviation of the fused confidence over all samples."""
        apart = np.nan_to_num(self.sd**2 + (self.mean - self.mean_confidence) ** 2)
        return math.sqrt(self.shares @ apart)

    @property
    def correct_confidence(self) -> float:
        """y^c over all pairs of a sample and a model that is right about it; NaN if there is none."""
        return _weighted(self.correct, self.counts * np.arange(len(self.counts)))

    @property
    def misclassified_confidence(self) -> float:
        """y^m over all pairs of a sample and a model that is wrong about it; NaN if there is none."""
        return _weighted(self.misclassified, self.counts * np.arange(len(self.counts))[::-1])


@dataclass(frozen=True, eq=False)
class Levels:
    """Both sides by level, and by how much members exceed non-members: at each level, and over all samples.

    Intervals are Welch's, in closed form: of other samples of the same models; one sample on a side has none. The
    gaps are those of Figure 3(c), which compares them over epochs.
    """

    members: Side
    nonmembers: Side
    reading: str

    @property
    def leads(self) -> tuple[Estimate | None, ...]:
        """By how much members' mean confidence exceeds non-members', at each level; None where a side is empty."""
        columns = [zip(side.mean, side.sd, side.counts, strict=True) for side in (self.members, self.nonmembers)]
        return tuple(_welch(one, other) for one, other in zip(*columns, strict=True))

    @property
    def lead(self) -> Estimate:
        """The same over all samples."""
        moments = [(side.mean_confidence, side.sd_confidence, side.samples) for side in (self.members, self.nonmembers)]
        found = _welch(*moments)
        assert found is not None  # `Outputs` has both sides
        return found

    @property
    def level_gap(self) -> float:
        """By how much members' mean level exceeds non-members': models * generalisation_gap, an identity."""
        return self.members.mean_level - self.nonmembers.mean_level

    @property
    def generalisation_gap(self) -> float:
        """Accuracy on members minus that on non-members, the mean over models."""
        return float(self.members.accuracies.mean() - self.nonmembers.accuracies.mean())

    @property
    def correct_gap(self) -> float:
        """By how much members' y^c exceeds non-members', over all pairs; NaN if a side has none."""
        return self.members.correct_confidence - self.nonmembers.correct_confidence

    @property
    def misclassified_gap(self) -> float:
        """By how much members' y^m exceeds non-members', over all pairs; NaN if a side has none."""
        return self.members.misclassified_confidence - self.nonmembers.misclassified_confidence


def levels(answers: Answers) -> Levels:
    """Sort samples by level of correct agreement, members and non-members apart.

    Figures 3(a) and 3(b) of the ensemble paper in numbers. Explained in the chapter "Agreement".
    """
    return Levels(_side(answers, answers.member), _side(answers, ~answers.member), answers.reading)


def means(answers: Answers, mask: np.ndarray) -> Means:
    """Counts and means by level of one side (bool [samples]): arrays [models + 1]."""
    return Means(*(column[0] for column in _means(answers, mask, [1])))


def resampled(answers: Answers, mask: np.ndarray, resamples: int, rng: np.random.Generator) -> Means:
    """`means` of bootstrap samples of one side (bool [samples]): arrays [resamples, models + 1]."""
    n = np.count_nonzero(mask)
    return _means(answers, mask, (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples)))


def _means(answers: Answers, mask: np.ndarray, counted: Iterable[np.ndarray | int]) -> Means:
    """Means of the samples of one side, each as often as each of `counted` says: arrays [len(counted), models + 1]."""
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(answers.level[rows], kind="stable")]
    present, first = np.unique(answers.level[rows], return_index=True)
    columns = np.stack([answers.confidence, answers.correct_confidence, answers.misclassified_confidence])
    columns = np.vstack([np.ones(len(rows)), np.nan_to_num(columns[:, rows])])
    sums = np.stack([np.add.reduceat(columns * times, first, axis=1) for times in counted], axis=1)
    counts, *totals = _spread_out(sums, present, answers.models + 1)
    defined = np.repeat(counts[None], len(totals), axis=0)
    defined[1, :, 0] = defined[2, :, -1] = 0  # nobody is right, or wrong
    return Means(counts.astype(np.int64), *map(_divided, totals, defined))


def _spread_out(sums: np.ndarray, present: np.ndarray, bins: int) -> np.ndarray:
    """Sums at the levels that are present, [..., present], among all levels, [..., bins]."""
    found = np.zeros((*sums.shape[:-1], bins))
    found[..., present] = sums
    return found


def _side(answers: Answers, mask: np.ndarray) -> Side:
    counts, mean, correct, misclassified = means(answers, mask)
    at = answers.level[mask]
    squares = np.bincount(at, (answers.confidence[mask] - mean[at]) ** 2, len(counts))
    sd = np.sqrt(_divided(squares, counts))
    return Side(counts, mean, sd, correct, misclassified, answers.right[:, mask].mean(axis=1))


def _divided(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.divide(total, number, out=np.full(np.shape(number), np.nan), where=number > 0)


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return float(weights @ np.nan_to_num(values) / total) if total else math.nan


def _welch(one: tuple[float, float, int], other: tuple[float, float, int]) -> Estimate | None:
    """The difference of two means, of (mean, sd, samples) each, with Welch's interval (1947)."""
    if not (one[2] and other[2]):
        return None
    value = float(one[0] - other[0])
    if min(one[2], other[2]) < 2:
        return Estimate(value, None, None)
    parts = [sd**2 / (n - 1) for _, sd, n in (one, other)]
    if not sum(parts):
        return Estimate(value, value, value)
    freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, (*_, n) in zip(parts, (one, other), strict=True))
    half = float(stdtrit(freedom, 1 - TAIL) * math.sqrt(sum(parts)))
    return Estimate(value, value - half, value + half)
