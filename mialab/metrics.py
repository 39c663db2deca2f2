"""How well scores tell members from non-members: ROC, AUC, accuracies, TPR at a low FPR, each with a 95 % interval.

Every function takes `scores` (float [n], higher = more likely a member) and `member` (bool or 0/1 [n]). A sample is
called a member when its score is at least the threshold. Equal scores are never told apart: they count half in the
AUC and enter the ROC together. Infinite scores are ordinary extremes; NaN is refused. A figure that needs both sides is
None where one of them is empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtrik, betaincinv, expit, logit, ndtr, stdtrit

TAIL = 0.025  # each side of a 95 % interval
Z = 1.959963984540054  # the normal quantile at 1 - TAIL
JOINT_ERRORS = 33  # ways to share an error between members and threshold, from all the one's to all the other's
FALSE_POSITIVES = 10  # fewest expected false positives for a TPR at a given FPR


class Estimate(NamedTuple):
    """A figure and its 95 % interval, whose ends are None where there is no telling."""

    value: float
    low: float | Any  # Any stands for None, so that the many intervals that are told need no check
    high: float | Any


class Ends(NamedTuple):
    """The two ends of an interval, or of several."""

    low: np.ndarray
    high: np.ndarray


class Accuracy(NamedTuple):
    """Plain accuracy with its 95 % interval, and the share of members, which always answering 'member' would reach."""

    value: float
    low: float
    high: float
    member_share: float


class Roc(NamedTuple):
    """The ROC's corners from (0, 0) to (1, 1): float arrays, one entry per distinct score and one before them."""

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray  # falling; the first one, +inf, stands for 'nobody is called a member'


class _Counts(NamedTuple):
    """Members and non-members at each distinct score, the scores falling."""

    scores: np.ndarray
    members: np.ndarray
    nonmembers: np.ndarray


def roc(scores: np.ndarray, member: np.ndarray) -> Roc:
    """The ROC curve, equal scores merged into one step. Raises ValueError where one side is empty."""
    counts = _both_sides(scores, member)
    tpr = np.append(0, np.cumsum(counts.members)) / counts.members.sum()
    fpr = np.append(0, np.cumsum(counts.nonmembers)) / counts.nonmembers.sum()
    return Roc(fpr, tpr, np.append(np.inf, counts.scores))


def auc(scores: np.ndarray, member: np.ndarray) -> float | None:
    """The area under the ROC: P(a member scores higher than a non-member), ties counted half (Mann-Whitney)."""
    counts = _count(scores, member)
    if not _has_both(counts):
        return None
    beaten = _beaten(counts.nonmembers)
    return float(counts.members @ beaten / counts.members.sum())


def auc_interval(scores: np.ndarray, member: np.ndarray) -> Estimate | None:
    """The AUC with DeLong's interval (DeLong et al. 1988) on the logit scale, O(n log n).

    The interval is never narrower than what min(members, non-members) independent pairs allow: a perfect order of k
    such pairs has probability AUC^k, so at AUC 1 the lower end is 0.025^(1/k) where DeLong's variance is zero.
    """
    counts, area = _count(scores, member), auc(scores, member)
    if area is None:
        return None
    ahead, behind = _beaten(counts.nonmembers), 1 - _beaten(counts.members)
    error = math.sqrt(
        _variance_of_mean(ahead, counts.members, area) + _variance_of_mean(behind, counts.nonmembers, area)
    )
    low = high = area
    if 0 < area < 1:
        low, high = expit(logit(area) + np.array([-Z, Z]) * error / (area * (1 - area)))
    kept = TAIL ** (1 / min(counts.members.sum(), counts.nonmembers.sum()))
    return Estimate(area, float(min(low, area * kept)), float(max(high, 1 - (1 - area) * kept)))


def best_threshold(scores: np.ndarray, member: np.ndarray) -> float:
    """The observed score that, as threshold, gives the best balanced accuracy; the highest of equals.

    Raises ValueError where one side is empty.
    """
    scores, members, nonmembers = _both_sides(scores, member)
    gain = np.cumsum(members) * nonmembers.sum() - np.cumsum(nonmembers) * members.sum()  # whole numbers: no rounding
    return float(scores[np.argmax(gain)])


def balanced_accuracy(scores: np.ndarray, member: np.ndarray, threshold: float) -> Estimate | None:
    """(TPR + TNR) / 2 at a threshold chosen on other samples."""
    return _weighted_rates(scores, member, threshold, (0.5, 0.5))


def best_balanced_accuracy(scores: np.ndarray, member: np.ndarray) -> Estimate | None:
    """The best balanced accuracy over all thresholds, chosen on the very samples it is measured on: optimistic.

    The interval is for the best over thresholds in the population. Its upper end is that of the chosen threshold; its
    lower end allows for the choice (Smirnov's one-sided two-sample bound), and reaches 0.5 for mere noise.
    """
    both = _has_both(_count(scores, member))
    chosen = balanced_accuracy(scores, member, best_threshold(scores, member)) if both else None
    if chosen is None:
        return None
    value, low, high = chosen
    members = int(np.sum(member))
    noise = math.sqrt(-math.log(TAIL) / 2 * (1 / members + 1 / (len(member) - members))) / 2
    return Estimate(value, max(0.5, min(low, value - noise)), high)


def accuracy(scores: np.ndarray, member: np.ndarray, threshold: float) -> Accuracy | None:
    """The share of right answers at a threshold, and the share of members beside it."""
    share = float(np.mean(member)) if len(member) else 0.0
    estimate = _weighted_rates(scores, member, threshold, (share, 1 - share))
    return None if estimate is None else Accuracy(*estimate, share)


def advantage(scores: np.ndarray, member: np.ndarray, threshold: float) -> Estimate | None:
    """TPR - FPR at a threshold chosen on other samples (Yeom et al. 2018): twice the balanced accuracy, less one."""
    balanced = balanced_accuracy(scores, member, threshold)
    return None if balanced is None else Estimate(*(2 * figure - 1 for figure in balanced))


def tpr_at_fpr(scores: np.ndarray, member: np.ndarray, fpr: float) -> Estimate | None:
    """The largest TPR on the ROC's steps whose FPR is at most `fpr`; None where `too_few` gives a reason.

    The interval joins two independent errors: the threshold's (the number of non-members above the true one is
    binomial) and the members' (Clopper-Pearson). Its ends are the outermost that an error of z_1 in the first and z_2
    in the second reach together, z_1^2 + z_2^2 = 1.96^2: the curve is read z_1 away, and its own error counted there.
    """
    if too_few(member, fpr):
        return None
    _, members, nonmembers = _both_sides(scores, member)
    hits, accused = np.append(0, np.cumsum(members)), np.append(0, np.cumsum(nonmembers))
    angle = np.linspace(0, np.pi / 2, JOINT_ERRORS)
    tails = ndtr(-Z * np.sin(angle))
    fewest, most = (bdtrik(tail, accused[-1], fpr) for tail in (tails, 1 - tails))
    at, least, greatest = (
        hits[np.searchsorted(accused, count, side="right") - 1]
        for count in (fpr * accused[-1] + 1e-9, np.maximum(np.floor(fewest), 0), np.ceil(most))
    )
    tails = ndtr(-Z * np.cos(angle))
    low, high = clopper_pearson(least, hits[-1], tails)[0].min(), clopper_pearson(greatest, hits[-1], tails)[1].max()
    return Estimate(float(at / hits[-1]), float(low), float(high))


def too_few(member: np.ndarray, fpr: float) -> str | None:
    """Why there is no TPR at this FPR: no members, or fewer than ceil(10 / fpr) non-members. None if there is one."""
    members = int(np.sum(member))
    nonmembers, needed = len(member) - members, math.ceil(FALSE_POSITIVES / fpr - 1e-9)
    if members == 0:
        return "no members"
    if nonmembers < needed:
        return f"TPR at {fpr:.4g} FPR needs {needed} non-members ({FALSE_POSITIVES} false positives), has {nonmembers}"
    return None


def proportion(successes: int, trials: int) -> Estimate | None:
    """A share with its Clopper-Pearson interval; None without trials."""
    if trials == 0:
        return None
    low, high = clopper_pearson(np.array(successes), trials, TAIL)
    return Estimate(successes / trials, float(low), float(high))


def clopper_pearson(successes: np.ndarray | float, trials: float, tail: np.ndarray | float) -> Ends:
    """Both ends of a share's interval that leaves `tail` out on either side (Clopper and Pearson 1934); float64.

    successes: counts from 0 to trials; expected ones, between whole numbers, are taken as they are.
    """
    successes = np.asarray(successes, dtype=np.float64)
    some, rest = np.where(successes > 0, successes, 1.0), np.where(successes < trials, trials - successes, 1.0)
    low, high = betaincinv(some, trials - successes + 1, tail), betaincinv(successes + 1, rest, 1 - tail)
    return Ends(np.where(successes > 0, low, 0.0), np.where(successes < trials, high, 1.0))


def mean_interval(values: Sequence[float], *, least: float = -math.inf, greatest: float = math.inf) -> Estimate:
    """The mean of independent repetitions with Student's t-interval; a single one has no interval.

    least, greatest: between which the true value lies for certain; the interval is cut there. Raises ValueError for
    no repetition, and for NaN or infinity.
    """
    found = np.asarray(values, dtype=np.float64)
    if not found.size or not np.isfinite(found).all():
        raise ValueError(f"a mean over repetitions needs at least one finite number, has {found.tolist()}")
    mean = float(found.mean())
    if len(found) < 2:
        return Estimate(mean, None, None)
    half = float(stdtrit(len(found) - 1, 1 - TAIL) * found.std(ddof=1) / math.sqrt(len(found)))
    return Estimate(mean, max(mean - half, least), min(mean + half, greatest))


def _count(scores: np.ndarray, member: np.ndarray) -> _Counts:
    scores, member = np.asarray(scores, dtype=np.float64), np.asarray(member)
    if scores.ndim != 1 or scores.shape != member.shape:
        raise ValueError(f"scores and member must be of one length: {scores.shape} and {member.shape}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: every sample needs a score")
    if not np.isin(member, (0, 1)).all():
        raise ValueError("member must be 0 or 1")
    distinct, where = np.unique(scores, return_inverse=True)
    members = np.bincount(where[member.astype(bool)], minlength=len(distinct))
    everyone = np.bincount(where, minlength=len(distinct))
    return _Counts(distinct[::-1], members[::-1], (everyone - members)[::-1])


def _has_both(counts: _Counts) -> bool:
    return bool(counts.members.any() and counts.nonmembers.any())


def _both_sides(scores: np.ndarray, member: np.ndarray) -> _Counts:
    counts = _count(scores, member)
    if not _has_both(counts):
        raise ValueError("needs at least one member and one non-member")
    return counts


def _beaten(counts: np.ndarray) -> np.ndarray:
    """The share of the counted samples below each distinct score, those at it counted half."""
    return 1 - (np.cumsum(counts) - counts / 2) / counts.sum()


def _variance_of_mean(placement: np.ndarray, counts: np.ndarray, mean: float) -> float:
    """The variance of the mean placement of one side; of a single sample, the most that placements in [0, 1] allow."""
    n = counts.sum()
    if n == 1:
        return mean * (1 - mean)
    return float(counts @ (placement - mean) ** 2 / (n - 1) / n)


def _weighted_rates(scores, member, threshold: float, weights: tuple[float, float]) -> Estimate | None:
    """w1 TPR + w2 TNR; the two Clopper-Pearson intervals joined by MOVER (Zou and Donner 2008)."""
    counts = _count(scores, member)
    called = counts.scores >= threshold
    tpr = proportion(int(counts.members[called].sum()), int(counts.members.sum()))
    tnr = proportion(int(counts.nonmembers[~called].sum()), int(counts.nonmembers.sum()))
    if tpr is None or tnr is None:
        return None
    value = weights[0] * tpr.value + weights[1] * tnr.value
    down, up = (
        math.hypot(*(weight * (end - rate.value) for weight, rate, end in zip(weights, (tpr, tnr), ends, strict=True)))
        for ends in ((tpr.low, tnr.low), (tpr.high, tnr.high))
    )
    return Estimate(value, max(value - down, 0.0), min(value + up, 1.0))
