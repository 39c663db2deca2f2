"""What one measure of leakage says of another, for any two distributions: JS, TV, accuracy, AUC, loss, epsilon.

JS is in nats. Best accuracy A* and TV are one thing said twice, A* = (1 + TV) / 2, both sides weighing one half. With
h the binary entropy in nats,

    1/2 + JS / (2 ln 2)  <=  A*  <=  1 - h^-1(ln 2 - JS)  <=  1/2 + sqrt(JS / 2)  (Pinsker's).

The posterior probability e(x) of the wrong side, given output x, has mean 1 - A*, and ln 2 - JS is the mean of
h(e(x)). That h is concave gives the upper bound, reached where e is the same for every x: p = (a, 1 - a),
q = (1 - a, a). That h(e) >= 2 e ln 2 on [0, 1/2] gives the lower one, reached where e is 0 or 1/2: a part of weight TV
on which the sides do not overlap, all else alike. So both are tight at every JS, and Pinsker's only in the limit of 0.

What none of them covers. The JS of a score bounds attacks on that score; a score computed from the outputs and the
label has at most their JS (data-processing inequality); and the JS of (f(x), y) bounds attacks on (f(x), y). An attack
that looks at x, as Eq. 1 of the pruning paper lets it, is bounded by none: it may compare f(x) with what models
without x say of x, as LiRA does, or simply know members by sight. For one trained f and its finite training set the
JS of (x, f(x)) is ln 2; a JS of outputs speaks of samples drawn anew.

Arguments may be arrays, of which each entry is taken by itself. A JS outside [0, ln 2], as estimates can be, counts as
the nearer end.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import entr, expit, xlog1py

from mialab.divergence.exact import LN2
from mialab.metrics import clopper_pearson

HALVINGS = 60

Number = float | np.ndarray


class Bounds(NamedTuple):
    """The least and the largest value possible."""

    low: Number
    high: Number


def binary_entropy(p: Number) -> Number:
    """h(p) = -p ln p - (1 - p) ln(1 - p), in nats; ValueError outside [0, 1]."""
    p = _within(p, "a probability")
    return entr(p) + entr(1 - p)


def tv_bounds(js: Number) -> Bounds:
    """Total variation from a divergence in nats: JS / ln 2 <= TV <= 1 - 2 h^-1(ln 2 - JS), both tight."""
    js = _clipped(js)
    return Bounds(js / LN2, _symmetric_tv(js))


def js_bounds(tv: Number) -> Bounds:
    """Divergence in nats from total variation: ln 2 - h((1 + TV) / 2) <= JS <= TV ln 2, both tight."""
    tv = _within(tv, "a total variation")
    return Bounds(_symmetric_js(tv), LN2 * tv)


def accuracy_bounds(js: Number) -> Bounds:
    """The best balanced accuracy on outputs of this divergence in nats lies between these, both tight.

    The upper one holds for attacks that see these outputs (and the label, if the divergence is of both) and nothing
    more: an attack that looks at x can exceed it.
    """
    low, high = tv_bounds(js)
    return Bounds((1 + low) / 2, (1 + high) / 2)


def pinsker_accuracy(js: Number) -> Number:
    """Pinsker's bound on the best balanced accuracy, 1/2 + sqrt(JS / 2), at most 1; never below `accuracy_bounds`'s."""
    return np.minimum(0.5 + np.sqrt(_clipped(js) / 2), 1.0)[()]


def pinsker_js(tv: Number) -> Number:
    """Pinsker's lower bound on the divergence in nats, TV^2 / 2; never above `js_bounds`'s."""
    return _within(tv, "a total variation") ** 2 / 2


def auc_bounds(tv: Number) -> Bounds:
    """The best AUC from the total variation: (1 + TV) / 2 <= AUC <= 1 - (1 - TV)^2 / 2, both tight.

    The optimal ROC is concave, passes the point where TPR - FPR = TV, and stays below TPR = FPR + TV.
    """
    tv = _within(tv, "a total variation")
    return Bounds((1 + tv) / 2, 1 - (1 - tv) ** 2 / 2)


def tv_at_least(accuracy: Number) -> Number:
    """The total variation that an attack of this balanced accuracy proves, 2 A - 1; 0 for one below chance.

    For a measured accuracy give its interval's low end, from samples that neither taught the attack nor chose its
    threshold: then the statement holds with the interval's confidence.
    """
    return np.maximum(2 * _within(accuracy, "an accuracy") - 1, 0.0)[()]


def js_at_least(accuracy: Number) -> Number:
    """The divergence in nats that an attack of this balanced accuracy A proves, ln 2 - h(A); 0 below chance.

    Tight: p = (A, 1 - A) and q = (1 - A, A) reach it. `pinsker_js(tv_at_least(A))` = (2 A - 1)^2 / 2 is weaker. As for
    measured accuracies, see `tv_at_least`. An attack that looks at x proves divergence of (x, output), not of outputs.
    """
    return js_bounds(tv_at_least(accuracy)).low


def js_at_least_from_bce(bce: Number) -> Number:
    """The divergence in nats that an attack's binary cross-entropy proves, ln 2 - BCE; 0 where a coin does better.

    `bce` in nats is the mean of the two sides' means, on samples from which the attack did not learn. Tight for the
    optimal attack, whose gain is -2 BCE (Eqs. 1 and 10).
    """
    return np.maximum(LN2 - np.asarray(bce, dtype=np.float64), 0.0)[()]


def advantage_at_most(epsilon: Number, *, delta: float = 0.0) -> Number:
    """The largest TPR - FPR under (epsilon, delta)-differential privacy, (e^epsilon - 1 + 2 delta) / (e^epsilon + 1).

    Reached by randomized response (Kairouz et al. 2015). At epsilon 6.28 it is 0.996: next to no promise.
    """
    return np.tanh(np.asarray(epsilon) / 2)[()] + 2 * delta * expit(-np.asarray(epsilon))[()]


def epsilon_at_least(
    caught: tuple[float, int], accused: tuple[float, int], *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """The epsilon below which differential privacy is refuted, at this confidence, by how an attack fared.

    `caught` is (true positives, of how many members), `accused` (false positives, of how many non-members), counted at
    a threshold chosen on other samples. Under (epsilon, delta)-DP, TPR <= e^epsilon FPR + delta and TNR <= e^epsilon
    FNR + delta. TPR's lower and FPR's upper Clopper-Pearson end, each at half the error, serve both inequalities, so
    that all holds together at the stated confidence. 0 where nothing is refuted.

    The counts must be of independent trials: strictly, one sample in or out per trained model. Samples of one model
    share its training; for these the figure is an indication, and Steinke et al. 2023 have the bound.
    """
    tail = (1 - confidence) / 2
    tpr, fpr = _lowest_rate(*caught, tail), 1 - _lowest_rate(accused[1] - accused[0], accused[1], tail)
    kept = max(_log_ratio(tpr - delta, fpr), _log_ratio(1 - fpr - delta, 1 - tpr))
    return max(kept, 0.0)


def _lowest_rate(successes: float, trials: int, tail: float) -> float:
    """Clopper-Pearson's lower end."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"found {successes} of {trials}; expected counts of at least one trial, and no more than all")
    return float(clopper_pearson(successes, trials, tail).low)


def _log_ratio(above: float, below: float) -> float:
    return math.log(above / below) if above > 0 else -math.inf


def _symmetric_js(tv: np.ndarray) -> np.ndarray:
    """ln 2 - h((1 + TV) / 2), the JS of ((1 + TV) / 2, (1 - TV) / 2) and its mirror image, precise near 0."""
    return (xlog1py(1 + tv, tv) + xlog1py(1 - tv, -tv)) / 2


def _symmetric_tv(js: np.ndarray) -> np.ndarray:
    """The inverse of `_symmetric_js`, by bisection: the upper end, so that a bound stays one."""
    low, high = np.zeros_like(js), np.ones_like(js)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = _symmetric_js(middle) < js
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(js > 0, high, 0.0)[()]


def _clipped(js: Number) -> np.ndarray:
    js = np.asarray(js, dtype=np.float64)
    if np.isnan(js).any():
        raise ValueError("a divergence is NaN: estimate it first")
    return np.clip(js, 0.0, LN2)[()]


def _within(value: Number, what: str) -> np.ndarray:
    value = np.asarray(value, dtype=np.float64)
    if not np.all((value >= 0) & (value <= 1)):
        raise ValueError(f"{what} must lie in [0, 1], not per cent")
    return value[()]
