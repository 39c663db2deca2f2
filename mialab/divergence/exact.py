"""Two known distributions: their divergences, the attack that tells them apart best, and what it gains, exactly.

`p` belongs to members, `q` to non-members: arrays [..., k] of probabilities that sum to 1 over the last axis. Leading
axes (classes, say) are carried through, so that the class-conditional divergence is `js(p, q) @ class_shares`. Both
sides count one half, whatever the numbers of samples behind them.

Continuous distributions of one score are `Mixture`s of Gaussians; `on_nodes` turns two of them into probabilities on
the nodes of a quadrature, to which every function here applies. Gaussian vectors of one covariance need no more: for
any such pair, JS, TV and ROC are those of N(0, 1) and N(d, 1), d being the Mahalanobis distance of the means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import kl_div, logsumexp, ndtr, xlog1py, xlogy

from mialab.seeds import derive

Number = TypeVar("Number", float, np.ndarray)

LN2 = math.log(2)
SPREAD = 12  # standard deviations of a component beyond which its mass, 1e-32, is left out
PANELS_PER_SD = 2
POINTS = 16  # Gauss-Legendre nodes per panel
SUM_ERROR = 1e-6  # how far from 1 probabilities may sum
LEAST, BELOW_ONE = np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0)
HALF_LOG_2PI = math.log(2 * math.pi) / 2


class Curve(NamedTuple):
    """The corners of a ROC from (0, 0) to (1, 1): float arrays."""

    fpr: np.ndarray
    tpr: np.ndarray


class Nodes(NamedTuple):
    """Places on the line [k] and the probability that quadrature gives each under two distributions [k]."""

    x: np.ndarray
    p: np.ndarray
    q: np.ndarray


def js(p: np.ndarray, q: np.ndarray) -> float | np.ndarray:
    """The Jensen-Shannon divergence of p and q [..., k] in nats, from 0 to ln 2: a float, or an array [...].

    With m = (p + q) / 2 it is the mean of KL(p, m) and KL(q, m): the mutual information of an output and a fair coin
    that decides between member and non-member. SciPy's `scipy.spatial.distance.jensenshannon` returns its square root.
    """
    return np.clip(js_terms(*_probabilities(p, q)).sum(axis=-1), 0.0, LN2)[()]


def js_terms(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What each of the k values adds to the divergence in nats, at least 0 but for rounding. Nothing is checked."""
    both = p + q  # not their mean: half of the smallest positive number is 0
    return (kl_div(2 * p, both) + kl_div(2 * q, both)) / 4


def tv(p: np.ndarray, q: np.ndarray) -> float | np.ndarray:
    """The total variation of p and q [..., k], half the sum of |p - q|: the best attack's advantage, TPR - FPR."""
    p, q = _probabilities(p, q)
    return np.minimum(np.abs(p - q).sum(axis=-1) / 2, 1.0)[()]


def in_bits(nats: Number) -> Number:
    """A divergence in bits: 1 for distributions that share nothing."""
    return nats / LN2


def distance(js: float | np.ndarray) -> float | np.ndarray:
    """The Jensen-Shannon distance, the square root of the divergence in nats (Endres and Schindelin 2003: a metric).

    This is what SciPy's function returns; divergences printed without a unit may be it. An estimate below 0 has
    distance 0.
    """
    return np.sqrt(np.maximum(js, 0.0))[()]


def optimal_attack(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The attack of the largest gain, p / (p + q), float [..., k] (Eq. 9); 1/2 where neither side ever comes.

    It is 1 or 0 only where one side never comes, not where that side's share is lost in rounding: to be sure and wrong
    even once has an infinite price.
    """
    p, q = _probabilities(p, q)
    both = p + q
    share = np.divide(p, both, out=np.full_like(both, 0.5), where=both > 0)
    return np.clip(share, np.where(p > 0, LEAST, 0.0), np.where(q > 0, BELOW_ONE, 1.0))


def gain(p: np.ndarray, q: np.ndarray, *, attack: np.ndarray) -> float | np.ndarray:
    """Eq. 1's gain in nats of an attack that answers 'member' with probability `attack` [..., k] to each value.

    The mean log of the attack over members plus that of 1 - attack over non-members (whose mean the paper prints over
    members too): at most `optimal_gain(js(p, q))`, and -inf for an attack that is ever sure and wrong. The attack sees
    the output alone; Eq. 1's may look at x as well, and may then gain more than any divergence of outputs allows.
    """
    p, q = _probabilities(p, q)
    if not np.all((attack >= 0) & (attack <= 1)):
        raise ValueError("attack must lie in [0, 1]: it is the probability of 'member'")
    return (xlogy(p, attack) + xlog1py(q, -attack)).sum(axis=-1)[()]


def optimal_gain(js: Number) -> Number:
    """The largest gain that a divergence in nats allows, -log 4 + 2 JS (Eq. 10): from -log 4, a coin's, to 0."""
    return 2 * js - 2 * LN2


def optimal_accuracy(p: np.ndarray, q: np.ndarray) -> float | np.ndarray:
    """The best balanced accuracy, (1 + TV) / 2."""
    return (1 + tv(p, q)) / 2


def optimal_roc(p: np.ndarray, q: np.ndarray) -> Curve:
    """The ROC that no attack on the value exceeds, p and q [k]: values called 'member' by falling p / q.

    That this is the best is Neyman and Pearson's lemma. Between corners an attack tosses a coin.
    """
    p, q = _probabilities(p, q)
    order = np.argsort(-optimal_attack(p, q), kind="stable")
    return Curve(np.append(0, np.cumsum(q[order])), np.append(0, np.cumsum(p[order])))


def optimal_auc(p: np.ndarray, q: np.ndarray) -> float:
    """The area under the optimal ROC, p and q [k]."""
    curve = optimal_roc(p, q)
    return float(np.trapezoid(curve.tpr, curve.fpr))


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians on the line; one component is a Gaussian. Weights are equal where none are given.

    Raises ValueError for unequal numbers of means, sds and weights, an sd that is not above 0, or weights that do not
    sum to 1.
    """

    means: tuple[float, ...]
    sds: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.weights is None:
            object.__setattr__(self, "weights", (1 / len(self.means),) * len(self.means))
        if not len(self.means) == len(self.sds) == len(self.weights) > 0:
            raise ValueError("a mixture needs as many means as sds and weights, at least one of each")
        if min(self.sds) <= 0 or min(self.weights) < 0 or abs(sum(self.weights) - 1) > SUM_ERROR:
            raise ValueError("a mixture needs sds above 0 and weights that sum to 1")

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """The log-density at x [...], float64."""
        return logsumexp(self._log_parts(x), axis=-1, b=self.weights)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """The probability of at most x [...], float64."""
        return ndtr(self._standard(x)) @ np.asarray(self.weights)

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """n independent draws, float64 [n]."""
        rng = np.random.default_rng(derive(seed, "mixture"))
        component = rng.choice(len(self.means), size=n, p=self.weights)
        return np.asarray(self.means)[component] + np.asarray(self.sds)[component] * rng.normal(size=n)

    def panels(self) -> np.ndarray:
        """Ends of the quadrature's panels around each component, float [panels]."""
        steps = np.linspace(-SPREAD, SPREAD, 2 * SPREAD * PANELS_PER_SD + 1)
        return np.add.outer(np.asarray(self.means), 0 * steps).ravel() + np.multiply.outer(self.sds, steps).ravel()

    def _standard(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64)[..., None] - self.means) / self.sds

    def _log_parts(self, x: np.ndarray) -> np.ndarray:
        return -(self._standard(x) ** 2) / 2 - np.log(self.sds) - HALF_LOG_2PI


def on_nodes(p: Mixture, q: Mixture) -> Nodes:
    """The two mixtures as probabilities on quadrature nodes; panels end where the densities cross.

    JS, TV, accuracy and gains are then right to about ten digits; the AUC, a double integral, to about four.
    """

    def log_ratio(x):
        return p.log_density(x) - q.log_density(x)

    ends = np.unique(np.concatenate([p.panels(), q.panels()]))
    sign = np.sign(log_ratio(ends))
    crossings = [brentq(log_ratio, *ends[i : i + 2], xtol=1e-14) for i in np.flatnonzero(sign[:-1] * sign[1:] < 0)]
    ends = np.unique(np.append(ends, crossings))
    places, weights = np.polynomial.legendre.leggauss(POINTS)
    half = np.diff(ends)[:, None] / 2
    x = (ends[:-1, None] + half * (1 + places)).ravel()
    mass = (half * weights).ravel()
    return Nodes(x, mass * np.exp(p.log_density(x)), mass * np.exp(q.log_density(x)))


def _probabilities(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, q = (np.asarray(side, dtype=np.float64) for side in (p, q))
    if p.shape != q.shape or p.ndim == 0:
        raise ValueError(f"p and q must list the probabilities of the same values: {p.shape} and {q.shape}")
    for name, side in (("p", p), ("q", q)):
        if not np.all(side >= 0) or not np.allclose(side.sum(axis=-1), 1, rtol=0, atol=SUM_ERROR):
            raise ValueError(f"{name} must hold probabilities that sum to 1: divide counts by their sum")
    return p, q
