"""The divergence of one score, from a histogram whose bias is removed."""

from __future__ import annotations

import numpy as np

from mialab.divergence.estimate import Divergence, Null, Samples, count
from mialab.divergence.exact import LN2, js_terms
from mialab.seeds import derive

BINS_PER_ROOT = 1.5  # bins per square root of the smaller side
IN_A_BIN = 5  # samples of the smaller side that a bin should hold at least
PSEUDO = 2  # samples of both sides' mean that soften each side before it is resampled
INTERVAL = (0.025, 0.975)
NULL_QUANTILE = 0.95


def histogram(
    scores: np.ndarray,
    member: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    bins: int | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Divergence:
    """Estimate the JS of members' and non-members' scores (float [n], in any order) from a histogram, bias removed.

    Bins hold equal mass, the sides weighing one half each: 1.5 times the root of the smaller side of them, or as many
    as `bins` says, the outermost ones halved again and again, since few samples far out can matter most. Or `bins` are
    edges, what lies beyond them going to the outermost bins. Equal scores share a bin; infinite ones are extremes.
    With `labels` [n] it is the mean over classes (weights: `Samples.shares`) of the divergence within each, with bins
    of its own: the JS of (score, label) where classes are as frequent among members as among non-members.

    The plug-in value, that of the observed shares, is too large: without any difference by about
    (bins - 1) / 8 (1 / members + 1 / non-members). The jackknife, each sample of either side left out in turn, takes
    off all bias of that order. What is left of it where there is no difference, the mean of the jackknifed values under
    shuffled membership, is made 0 by a linear change that keeps ln 2, where there is no bias. What bins merge stays out
    of sight: the value aims at or below the score's JS, and that is at most the JS of the outputs that the score was
    computed from (data-processing inequality).

    The interval is the middle 95 % of the bootstrap, within classes and sides, moved to the value. The null shuffles
    membership within classes, bins kept: the p value is exact where sides are of one size, and a little too careful
    where not, since bins of equal mass depend on who is a member. Both cost O(bins) per resample.

    Raises ValueError for NaN, unequal lengths, membership other than 0 and 1, or fewer than two samples on a side.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError("scores must be one number per sample, none of them NaN")
    samples, rng = count(len(scores), member, labels), np.random.default_rng(derive(seed, "histogram"))
    plug_in, value, drawn, null = _over_classes(scores[samples.rows], samples, bins, resamples, rng)
    left = null.mean()
    value, drawn, null = ((each - left) / (1 - left / LN2) for each in (value, drawn, null))
    low, high = (value + np.quantile(drawn - drawn.mean(), INTERVAL)).tolist()
    chance = _chance(null, value)
    sides = samples.counts.sum(axis=0).tolist()[::-1]
    return Divergence(float(value), float(low), float(high), float(plug_in - value), chance, False, *sides)


def _chance(null: np.ndarray, value: float) -> Null:
    beyond = (1 + int(np.count_nonzero(null >= value))) / (1 + len(null))
    return Null(float(null.mean()), float(np.quantile(null, NULL_QUANTILE)), beyond)


def _over_classes(scores: np.ndarray, samples: Samples, bins: int | np.ndarray | None, resamples: int, rng) -> tuple:
    """Means over classes: the plug-in value, the jackknifed one, and that of each resample and of each shuffle."""
    plug_in, value, drawn, null = 0.0, 0.0, np.zeros(resamples), np.zeros(resamples)
    for share, rows in zip(samples.shares, samples.classes(), strict=True):
        counts = _counts(scores[rows], samples.member[rows], bins)
        plug_in += share * _plug_in(counts)
        value += share * _jackknifed(counts)
        drawn += share * _jackknifed(_resampled(rng, counts, resamples))
        null += share * _jackknifed(_shuffled(rng, counts, resamples))
    return plug_in, value, drawn, null


def _counts(scores: np.ndarray, member: np.ndarray, bins) -> np.ndarray:
    """Non-members and members in each bin that is not empty: int [2, bins]."""
    values, where = np.unique(scores, return_inverse=True)
    sides = np.stack([np.bincount(where[member == side], minlength=len(values)) for side in (False, True)])
    place = np.searchsorted(np.asarray(bins)[1:-1], values, side="right") if np.ndim(bins) else _equal(sides, bins)
    first = np.flatnonzero(np.diff(place, prepend=-1))  # of each bin, its lowest score
    return np.add.reduceat(sides, first, axis=1)


def _equal(sides: np.ndarray, bins: int | None) -> np.ndarray:
    """The bin of each distinct score, int [scores] and rising; few distinct scores have a bin each.

    Their number is even: sides that do not overlap part at half of the mass, and there a bin must end.
    """
    fewest = sides.sum(axis=1).min()
    bins = bins or 2 * max(1, int(min(BINS_PER_ROOT * fewest**0.5, fewest / IN_A_BIN) / 2))
    if sides.shape[1] <= bins:
        return np.arange(sides.shape[1])
    mass = (sides / sides.sum(axis=1, keepdims=True)).mean(axis=0)
    halvings = int(max(0, np.log2(2 * fewest / bins / IN_A_BIN)))
    ends = 0.5 ** np.arange(1, halvings + 1) / bins
    cuts = np.sort(np.concatenate([np.arange(1, bins) / bins, ends, 1 - ends]))
    return np.searchsorted(cuts, np.cumsum(mass) - mass / 2, side="right")


def _plug_in(counts: np.ndarray) -> np.ndarray:
    """The JS of the observed shares, of counts [..., 2, bins]."""
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return js_terms(shares[..., 0, :], shares[..., 1, :]).sum(axis=-1)


def _jackknifed(counts: np.ndarray) -> np.ndarray:
    """The JS of counts [..., 2, bins] less its bias by the jackknife (Quenouille 1956), for each side by itself.

    Leaving out one sample scales its whole side and lessens its bin: the first is the same for all bins.
    """
    totals = counts.sum(axis=-1, keepdims=True)
    value = raw = _plug_in(counts)
    for side in (0, 1):
        n, own = totals[..., side, :], counts[..., side, :]
        other = counts[..., 1 - side, :] / totals[..., 1 - side, :]
        scaled, lessened = js_terms(own / (n - 1), other), js_terms(np.maximum(own - 1, 0) / (n - 1), other)
        without = ((scaled.sum(axis=-1, keepdims=True) - scaled + lessened) * own / n).sum(axis=-1)
        value = value + (n[..., 0] - 1) * (raw - without)
    return value


def _resampled(rng: np.random.Generator, counts: np.ndarray, resamples: int) -> np.ndarray:
    """Bootstrap histograms, each side resampled by itself: int [resamples, 2, bins].

    From its shares mixed with a few samples of both sides' mean: else sides that share no bin were certain never to.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = (counts + PSEUDO * (counts / totals).mean(axis=0)) / (totals + PSEUDO)
    drawn = [rng.multinomial(n, side, size=resamples) for n, side in zip(totals[:, 0], shares, strict=True)]
    return np.stack(drawn, axis=1)


def _shuffled(rng: np.random.Generator, counts: np.ndarray, resamples: int) -> np.ndarray:
    """Histograms under shuffled membership, bins kept: int [resamples, 2, bins]."""
    both = counts.sum(axis=0)
    first = rng.multivariate_hypergeometric(both, counts[0].sum(), size=resamples, method="marginals")
    return np.stack([first, both - first], axis=1)
