"""What the level, y^c and y^m each add to the members' lead in confidence: three numbers that sum to it exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from mialab.agreement.answers import Answers
from mialab.agreement.levels import Means, means, resampled
from mialab.metrics import TAIL, Estimate
from mialab.seeds import derive

FACTORS = ("agreement", "correct", "misclassified")
RESAMPLES = 300


class Factors(NamedTuple):
    """What makes up a side's mean confidence, by level c = 0 to n: float64 [..., n + 1].

    share: P(c). correct: E[y^c | c]. misclassified: E[y^m | c].
    """

    share: np.ndarray
    correct: np.ndarray
    misclassified: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """What each level adds to the mean confidence, P(c) (c E[y^c|c] + (n - c) E[y^m|c]) / n: [..., n + 1]."""
        right = np.linspace(0, 1, self.share.shape[-1])
        return self.share * (right * self.correct + (1 - right) * self.misclassified)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The members' lead in mean confidence as a sum of three contributions.

    gap: the lead. contributions: by factor (`FACTORS`), `agreement` being the distribution of the level; they sum to
    the gap. by_level: the same, level by level, float64 [3, models + 1]. common: which share of members, and of
    non-members, stands at levels that both sides have; the rest is described by the convention for empty levels alone.
    Intervals are the bootstrap's percentiles, members and non-members resampled apart: of other samples of the same
    models.
    """

    gap: Estimate
    contributions: dict[str, Estimate]
    by_level: np.ndarray
    common: tuple[float, float]
    reading: str

    @property
    def shares(self) -> dict[str, float]:
        """Each contribution as a share of the gap: their sum is 1. They say nothing where the gap may be 0."""
        return {factor: one.value / self.gap.value for factor, one in self.contributions.items()}


def decompose(answers: Answers, *, resamples: int = RESAMPLES, seed: int = 0) -> Decomposition:
    """Split the members' lead in mean confidence among P(c), E[y^c | c] and E[y^m | c].

    By Eq. 1 of the ensemble paper these three make up a side's mean confidence. Starting from non-members, one factor
    after another is made that of members; a factor's contribution is the change that it brings, averaged over the six
    orders (Shapley 1953; in economics the decomposition of Oaxaca and Blinder). So the sum is exact.

    A level that one side lacks has no y^c or y^m there. The convention: it borrows the other side's, hence all of the
    difference at that level counts for `agreement`. `common` says how much that concerns. Members of an ensemble that
    fits its training set may all stand at the highest level: y^m is then compared nowhere, and its 0, without any
    spread, is the convention's. A level that both lack counts nothing.

    The three are not independent in a trained ensemble, and the split tells what differs, not what caused it. Ours: the
    paper argues from Figure 3(b). Raises ValueError for a fusion other than the mean of confidences. Explained in the
    chapter "Agreement".
    """
    answers.check_equation()
    sides = answers.member, ~answers.member
    found = [means(answers, mask) for mask in sides]
    rng = np.random.default_rng(derive(seed, "decomposition"))
    drawn = [resampled(answers, mask, resamples, rng) for mask in sides]
    by_level, spread = shapley(*_factors(*found)), shapley(*_factors(*drawn)).sum(axis=-1)
    ends = np.quantile(np.vstack([spread, spread.sum(axis=0)]), (TAIL, 1 - TAIL), axis=1).T.tolist()
    values = by_level.sum(axis=-1).tolist()
    *each, gap = (Estimate(value, *end) for value, end in zip([*values, sum(values)], ends, strict=True))
    return Decomposition(gap, dict(zip(FACTORS, each, strict=True)), by_level, common(*found), answers.reading)


def shapley(members: Factors, nonmembers: Factors) -> np.ndarray:
    """Each factor's contribution at each level to the difference in mean confidence: float64 [3, ..., n + 1].

    The mean over the six orders in which factors may be changed from non-members' to members'. Summed over factors and
    levels it is the difference, but for rounding.
    """
    total = np.zeros((len(FACTORS), *np.shape(members.share)))
    orders = tuple(permutations(range(len(FACTORS))))
    for order in orders:
        now = nonmembers
        for factor in order:
            before = now.confidence
            now = now._replace(**{now._fields[factor]: members[factor]})
            total[factor] += now.confidence - before
    return total / len(orders)


def common(members: Means, nonmembers: Means) -> tuple[float, float]:
    """The share of members, and of non-members, at levels that both sides have."""
    both = (members.counts > 0) & (nonmembers.counts > 0)
    inside, outside = (float(side.counts[both].sum() / side.counts.sum()) for side in (members, nonmembers))
    return inside, outside


def _factors(members: Means, nonmembers: Means) -> tuple[Factors, Factors]:
    """Both sides' factors, each borrowing from the other what it lacks."""
    return _with_borrowed(members, nonmembers), _with_borrowed(nonmembers, members)


def _with_borrowed(own: Means, other: Means) -> Factors:
    share = own.counts / own.counts.sum(axis=-1, keepdims=True)
    pairs = ((own.correct, other.correct), (own.misclassified, other.misclassified))
    return Factors(share, *(np.nan_to_num(np.where(np.isnan(mine), theirs, mine)) for mine, theirs in pairs))
