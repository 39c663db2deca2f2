"""A lower bound on the divergence of scores or vectors: what a classifier gains on samples that it was not taught."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import entr, ndtr, ndtri

from mialab.divergence.estimate import Divergence, Null, Samples, count
from mialab.divergence.exact import LN2
from mialab.names import unknown
from mialab.seeds import derive

MODELS = ("logistic", "splines")
Z = 1.959963984540054  # the normal quantile that leaves 2.5 % above it
Z_NULL = 1.6448536269514722  # and the one that leaves 5 %
BEYOND_KNOTS = 10  # samples beyond the last knot on either side, where splines go on straight
SUREST = 1e-12  # closest that a probability comes to 0 or 1, so that one wrong certainty costs 27 nats, not all
LIKELIEST = 10  # classes whose probabilities `features` keeps


def classifier(
    samples: np.ndarray,
    member: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    model: str = "splines",
    folds: int = 5,
    seed: int = 0,
) -> Divergence:
    """Bound the JS of members' and non-members' samples (float [n], or vectors [n, d]) from below: JS >= ln 2 - BCE.

    A classifier is taught on all folds but one, and its binary cross-entropy measured there, sides weighing one half
    each; so on average the bound is never too large, for any classifier (Eqs. 1 and 10: its gain is -2 BCE, at most
    the optimal attack's). A poor or overfitted one only makes it small, even negative.

    `splines`: logistic regression on cubic splines of each column's normal scores (its ranks among samples, of the
    same class where there are `labels`, as normal quantiles), for single scores. `logistic`: on the columns themselves,
    standardised, for vectors. Both by scikit-learn, C = 1. Infinite entries count as just beyond the finite ones.

    With `labels` [n] they are inputs too, and classes weigh the same on both sides: it bounds the JS of (sample, label)
    at equal class shares, which is the mean over classes (weights: `Samples.shares`) of the JS within each.

    The interval is the normal one of a mean of log-losses, to which a bootstrap would come. Only its low end bounds the
    JS. The null shuffles membership within folds and classes and keeps the predictions; its mean is below 0, the more
    so the surer the classifier.

    Raises ValueError for NaN, unequal lengths, membership other than 0 and 1, an unknown model, fewer than two folds or
    fewer than two samples on a side.
    """
    columns = _checked(samples, model, folds)
    counted = count(len(columns), member, labels)
    inputs = _inputs(columns.reshape(len(columns), -1)[counted.rows], counted, model)
    fold = _folds(counted, folds, seed)
    p = np.clip(_held_out(inputs, counted, fold), SUREST, 1 - SUREST)
    gains = np.log(np.where(counted.member, p, 1 - p)) + LN2
    value, error = float(counted.weights @ gains), _standard_error(gains, counted)
    nonmembers, members = counted.counts.sum(axis=0).tolist()
    null = _null(p, counted, fold, value)
    return Divergence(value, value - Z * error, value + Z * error, 0.0, null, True, members, nonmembers)


def _checked(samples: np.ndarray, model: str, folds: int) -> np.ndarray:
    columns = np.asarray(samples, dtype=np.float64)
    if columns.ndim not in (1, 2) or np.isnan(columns).any():
        raise ValueError("samples must be numbers [n] or [n, d], none of them NaN")
    if model not in MODELS:
        raise ValueError(unknown("model", model, MODELS))
    if folds < 2:
        raise ValueError(f"folds: found {folds}; expected at least 2, one to measure on and one to learn from")
    return columns


def features(log_p: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """What tells members from non-members in a prediction, for `classifier`: float64 [n, columns].

    Of log-probabilities [n, classes] and labels int [n]: log-odds of the label, the largest ten log-probabilities
    falling, whether the first is the label's, and the entropy. The JS of any such summary is at most the outputs'.
    Without labels (None), what needs none.
    """
    log_p = np.asarray(log_p, dtype=np.float64)
    likeliest = _largest(log_p)
    entropy = entr(np.exp(log_p)).sum(axis=1, keepdims=True)
    if labels is None:
        return np.concatenate([likeliest, entropy], axis=1)
    label = np.asarray(labels)[:, None]
    of_label, others = np.take_along_axis(log_p, label, axis=1), log_p.copy()
    np.put_along_axis(others, label, -np.inf, axis=1)
    rest = np.logaddexp.reduce(others, axis=1, keepdims=True)
    return np.concatenate([of_label - rest, likeliest, log_p.argmax(axis=1)[:, None] == label, entropy], axis=1)


def _largest(log_p: np.ndarray) -> np.ndarray:
    """The largest ten of each row, falling."""
    return -np.sort(-log_p, axis=1)[:, :LIKELIEST]


def _inputs(columns: np.ndarray, counted: Samples, model: str) -> np.ndarray:
    """What the regression sees: the columns or their splines, and the class as one column each."""
    parts = [_splines(column, counted) if model == "splines" else _finite(column) for column in columns.T]
    if len(counted.counts) > 1:
        parts.append(np.eye(len(counted.counts))[counted.group])
    return np.concatenate(parts, axis=1)


def _finite(column: np.ndarray) -> np.ndarray:
    finite = column[np.isfinite(column)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.clip(column, low - 1, high + 1)[:, None]


def _splines(column: np.ndarray, counted: Samples) -> np.ndarray:
    """Cubic splines of normal scores, straight beyond the outer knots: float [n, about twice the outermost knot]."""
    from sklearn.preprocessing import SplineTransformer

    scores = np.empty(len(column))
    for rows in counted.classes():
        _, where, ties = np.unique(column[rows], return_inverse=True, return_counts=True)
        scores[rows] = ndtri((np.cumsum(ties) - ties / 2) / len(rows))[where]
    last = max(1.0, ndtri(1 - BEYOND_KNOTS / len(column))) if len(column) > BEYOND_KNOTS else 1.0
    knots = np.linspace(-last, last, 1 + round(2 * last))[:, None]
    return SplineTransformer(knots=knots, extrapolation="linear", include_bias=False).fit_transform(scores[:, None])


def _folds(counted: Samples, folds: int, seed: int) -> np.ndarray:
    """Each sample's fold: int [n]; every class and side is spread over the folds as evenly as it goes."""
    rng = np.random.default_rng(derive(seed, "folds"))
    order = np.lexsort((rng.random(len(counted.member)), counted.member, counted.group))
    fold = np.empty(len(order), dtype=int)
    fold[order] = np.arange(len(order)) % folds
    return fold


def _held_out(inputs: np.ndarray, counted: Samples, fold: np.ndarray) -> np.ndarray:
    """Each sample's probability of being a member, by the classifier that did not learn from its fold: float [n]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    p, weights = np.empty(len(fold)), counted.weights * len(fold)
    for held in np.unique(fold):
        taught = fold != held
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        regression.fit(inputs[taught], counted.member[taught], logisticregression__sample_weight=weights[taught])
        p[~taught] = regression.predict_proba(inputs[~taught])[:, 1]
    return p


def _standard_error(gains: np.ndarray, counted: Samples) -> float:
    """Of the weighted mean of the gains, the sides independent."""
    variance = 0.0
    for side in (counted.member, ~counted.member):
        weights, own = counted.weights[side], gains[side]
        spread = weights**2 @ (own - weights @ own / weights.sum()) ** 2
        variance += spread * len(own) / (len(own) - 1)
    return math.sqrt(variance)


def _null(p: np.ndarray, counted: Samples, fold: np.ndarray, value: float) -> Null:
    """Mean and normal quantile of the value over memberships shuffled within fold and class.

    Predictions stay, so folds seem independent; but any two meet twice, each as the other's teacher, and what they
    share by chance counts both times. To first order that doubles the variance.
    """
    share = counted.shares[counted.group] / 2
    as_nonmember, as_member = (
        share / counted.counts[counted.group, side] * (np.log(q) + LN2) for side, q in ((0, 1 - p), (1, p))
    )
    stratum = np.unique(counted.group * (fold.max() + 1) + fold, return_inverse=True)[1]
    n, members = np.bincount(stratum), np.bincount(stratum, counted.member)
    difference = as_member - as_nonmember
    mean = np.bincount(stratum, difference) / n
    spread = np.bincount(stratum, (difference - mean[stratum]) ** 2) / np.maximum(n - 1, 1)
    centre = float(as_nonmember.sum() + members @ mean)
    sd = math.sqrt(2 * (members * (n - members) / n) @ spread)
    return Null(centre, centre + Z_NULL * sd, float(ndtr((centre - value) / sd)) if sd > 0 else 1.0)
