"""Members against non-members at equal level: what is left once the level of correct agreement tells nothing.

Levels are weighed by the mean of their two shares, over the levels that both sides have: the same mix for members and
for non-members. What stands at other levels cannot be compared, and `common` says how much is not lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mialab import divergence
from mialab.agreement.answers import Answers
from mialab.agreement.decomposition import RESAMPLES, common
from mialab.agreement.levels import Means, Side, levels, means, resampled
from mialab.divergence import Divergence
from mialab.metrics import TAIL, Estimate, Z, auc_interval
from mialab.seeds import derive

SHUFFLES = 10_000  # normal draws of what chance alone does
NULL_QUANTILE = 0.95


class Chance(NamedTuple):
    """What a figure is where membership says nothing: mean, 95 % quantile, and the probability of the value or more."""

    mean: float
    high: float
    p_value: float


@dataclass(frozen=True, eq=False)
class EqualLead:
    """By how much members' mean confidence exceeds non-members' among samples of one level.

    signed: the weighted mean over levels, in which leads of opposite sign cancel; interval in closed form (normal),
    the weights held fixed. absolute: that of the leads' sizes, so that each level counts; it is above 0 by chance alone
    (`chance`: membership shuffled within levels, normal approximation), and its interval, the bootstrap's spread moved
    to the value, contains that excess. weights: of each level, [models + 1], sum 1. common: as in `Decomposition`.
    confidence: the mean of members and of non-members at these weights.
    """

    signed: Estimate
    absolute: Estimate
    chance: Chance
    weights: np.ndarray
    common: tuple[float, float]
    confidence: tuple[float, float]
    reading: str


@dataclass(frozen=True, eq=False)
class EqualAuc:
    """How well scores tell members from non-members at equal level.

    plain: the AUC over all samples, DeLong's interval. matched: the same of samples weighted so that both sides have
    one distribution of levels; DeLong's interval, each level a stratum. within: the AUC among the samples of each
    level, DeLong's interval; None where a side is empty. mean_within: their mean at `weights`; its interval joins
    theirs (MOVER). js: the divergence of the scores within levels, the mean at the same weights, its bias removed;
    None where no level has two samples of each side. by_level_alone: the AUC of the level itself. All intervals hold
    the levels' weights fixed; only that of js is a bootstrap's, of `resamples`.
    """

    plain: Estimate
    matched: Estimate
    within: tuple[Estimate | None, ...]
    mean_within: Estimate
    js: Divergence | None
    by_level_alone: Estimate
    weights: np.ndarray
    common: tuple[float, float]


def lead_at_equal_level(answers: Answers, *, resamples: int = RESAMPLES, seed: int = 0) -> EqualLead:
    """The members' lead in mean confidence at equal agreement, signed and in absolute value, weighted by mass.

    The ensemble paper says of Figure 3(b) that at each level the two sides' confidences are nearly alike: `absolute` is
    that statement's number, since a signed mean hides levels that differ in opposite directions. Raises ValueError
    where no level has both sides. Explained in the chapter "Agreement".
    """
    both = levels(answers)
    weights = _weights(both.members.counts, both.nonmembers.counts)
    inside, outside = (float(weights @ np.nan_to_num(side.mean)) for side in (both.members, both.nonmembers))
    rng = np.random.default_rng(derive(seed, "equal lead"))
    drawn = [resampled(answers, mask, resamples, rng) for mask in (answers.member, ~answers.member)]
    found = [means(answers, mask) for mask in (answers.member, ~answers.member)]
    value, spread = float(_absolute(*found)), _absolute(*drawn)
    low, high = (value + np.quantile(spread - spread.mean(), (TAIL, 1 - TAIL))).tolist()
    absolute = Estimate(value, max(0.0, low), high)
    chance = _chance(both.members, both.nonmembers, weights, value, rng)
    signed = _signed(both.members, both.nonmembers, weights)
    return EqualLead(signed, absolute, chance, weights, common(*found), (inside, outside), answers.reading)


def auc_at_equal_level(
    answers: Answers, scores: np.ndarray | None = None, *, resamples: int = 1000, seed: int = 0
) -> EqualAuc:
    """How well scores (float [samples], higher = more likely a member) tell the sides apart at equal agreement.

    scores: the fused confidence where none are given; or those of any attack on the same samples. A score that is only
    the level in disguise has a matched AUC of one half. Raises ValueError for other shapes or NaN, and where no level
    has both sides. Explained in the chapter "Agreement".
    """
    scores = answers.confidence if scores is None else np.asarray(scores, dtype=np.float64)
    member, level = answers.member, answers.level
    plain = _auc(scores, member)
    counted = [means(answers, mask) for mask in (member, ~member)]
    weights = _weights(counted[0].counts, counted[1].counts)
    within = tuple(auc_interval(scores[level == c], member[level == c]) for c in range(len(weights)))
    return EqualAuc(
        plain=plain,
        matched=_matched(scores, answers, weights),
        within=within,
        mean_within=_joined(within, weights),
        js=_js(scores, answers, resamples, seed),
        by_level_alone=_auc(level.astype(np.float64), member),
        weights=weights,
        common=common(*counted),
    )


def _weights(members: np.ndarray, nonmembers: np.ndarray) -> np.ndarray:
    """The mean of the two sides' shares at levels that both have, made to sum to one: [..., levels].

    A resample without any such level has weights 0.
    """
    shares = [side / side.sum(axis=-1, keepdims=True) for side in (members, nonmembers)]
    mass = np.where((members > 0) & (nonmembers > 0), sum(shares), 0)
    total = mass.sum(axis=-1, keepdims=True)
    if mass.ndim == 1 and not total:
        raise ValueError("no level has both members and non-members: nothing can be compared at equal agreement")
    return mass / np.where(total > 0, total, 1)


def _absolute(members: Means, nonmembers: Means) -> np.ndarray:
    apart = np.abs(np.nan_to_num(members.confidence - nonmembers.confidence))
    return (_weights(members.counts, nonmembers.counts) * apart).sum(axis=-1)


def _signed(members: Side, nonmembers: Side, weights: np.ndarray) -> Estimate:
    """The weighted lead; a single sample on a side is taken to be as spread as the other side's at its level."""
    sides = (members, nonmembers)
    value = float(weights @ np.nan_to_num(members.mean - nonmembers.mean))
    spreads = [side.counts * side.sd**2 / np.where(side.counts > 1, side.counts - 1, np.nan) for side in sides]
    error = math.sqrt(
        sum(
            weights**2 @ np.nan_to_num(np.where(side.counts > 1, own, other) / np.maximum(side.counts, 1))
            for side, own, other in zip(sides, spreads, spreads[::-1], strict=True)
        )
    )
    return Estimate(value, value - Z * error, value + Z * error)


def _chance(members: Side, nonmembers: Side, weights: np.ndarray, value: float, rng: np.random.Generator) -> Chance:
    """Leads under shuffled membership: normal, with the variance that shuffling within a level has."""
    n, k = members.counts, nonmembers.counts
    both = n + k
    centre = (n * np.nan_to_num(members.mean) + k * np.nan_to_num(nonmembers.mean)) / np.maximum(both, 1)
    squares = sum(side.counts * np.nan_to_num(side.sd**2 + (side.mean - centre) ** 2) for side in (members, nonmembers))
    kept = weights > 0
    sd = np.sqrt((squares / np.maximum(both - 1, 1))[kept] * (1 / n[kept] + 1 / k[kept]))
    drawn = np.abs(rng.normal(size=(SHUFFLES, kept.sum())) * sd) @ weights[kept]
    beyond = (1 + np.count_nonzero(drawn >= value)) / (1 + SHUFFLES)
    return Chance(float(drawn.mean()), float(np.quantile(drawn, NULL_QUANTILE)), float(beyond))


def _auc(scores: np.ndarray, member: np.ndarray) -> Estimate:
    found = auc_interval(scores, member)
    assert found is not None  # `Outputs` has both sides
    return found


def _joined(within: tuple[Estimate | None, ...], weights: np.ndarray) -> Estimate:
    """The weighted mean of independent figures; intervals joined by MOVER (Zou and Donner 2008)."""
    kept = [(weight, one) for weight, one in zip(weights, within, strict=True) if one is not None]
    value = sum(weight * one.value for weight, one in kept)
    down = math.hypot(*(weight * (one.value - one.low) for weight, one in kept))
    up = math.hypot(*(weight * (one.high - one.value) for weight, one in kept))
    return Estimate(float(value), float(max(0.0, value - down)), float(min(1.0, value + up)))


def _matched(scores: np.ndarray, answers: Answers, weights: np.ndarray) -> Estimate:
    """The AUC of samples whose levels weigh the same on both sides, with the interval of a stratified DeLong."""
    place = np.unique(scores, return_inverse=True)[1]
    sides = [(place[mask], answers.level[mask]) for mask in (answers.member, ~answers.member)]
    each = [(weights / np.maximum(np.bincount(level, minlength=len(weights)), 1))[level] for _, level in sides]
    mass = [np.bincount(at, w, place.max() + 1) for (at, _), w in zip(sides, each, strict=True)]
    below, above = (np.cumsum(mass[1]) - mass[1] / 2)[sides[0][0]], (1 - np.cumsum(mass[0]) + mass[0] / 2)[sides[1][0]]
    value = float(each[0] @ below)
    placements = ((below, sides[0][1]), (above, sides[1][1]))
    error = math.sqrt(sum(_stratified_variance(found, level, weights) for found, level in placements))
    return Estimate(value, max(0.0, value - Z * error), min(1.0, value + Z * error))


def _stratified_variance(values: np.ndarray, level: np.ndarray, weights: np.ndarray) -> float:
    """Of the weighted mean of the levels' means; a single sample's is the most that numbers in [0, 1] allow."""
    n = np.bincount(level, minlength=len(weights))
    mean = np.bincount(level, values, len(weights)) / np.maximum(n, 1)
    squares = np.bincount(level, (values - mean[level]) ** 2, len(weights))
    variance = np.where(n > 1, squares / np.maximum(n - 1, 1), mean * (1 - mean))
    return float(weights**2 @ (variance / np.maximum(n, 1)))


def _js(scores: np.ndarray, answers: Answers, resamples: int, seed: int) -> Divergence | None:
    each = np.bincount(2 * answers.level + answers.member, minlength=2 * answers.models + 2).reshape(-1, 2)
    if each.min(axis=1).max() < 2:
        return None
    return divergence.histogram(scores, answers.member, labels=answers.level, resamples=resamples, seed=seed)
