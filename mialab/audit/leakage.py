"""How far members' outputs are from non-members', and what that and the measured attacks say of every other attack.

All of it is of the evaluated samples, and of the fused prediction with its label, as a black-box attacker sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mialab import divergence
from mialab.audit.figures import Result, counts, sides
from mialab.divergence import Divergence
from mialab.fusion import Rows, by_rows
from mialab.metrics import clopper_pearson

FEWEST = 20  # evaluated samples on either side, without which nothing is estimated
FEWEST_IN_A_CLASS = 100  # with fewer, the intervals of within-class histograms were seen to miss the truth
MOST_ODDS = 100.0  # nats; log-odds and log-probabilities are cut off here: beyond float32's smallest probability
CONFIDENCE = 0.95
CANDIDATES = 32  # thresholds tried towards either end of the known scores, and between

Rate = tuple[float, int]  # how many, of how many
Statistic = Callable[[Rate, Rate, float], float]


@dataclass(frozen=True)
class Proof:
    """A lower bound that an attack's answers prove, at 95 % confidence.

    value: nats of JS, or an epsilon. caught: members found, of all evaluated ones; accused: non-members accused, of
    all. tried: the number of attacks that the best was chosen from; the error is shared among them (Bonferroni), and
    each one's threshold was chosen on the known samples.
    """

    value: float
    attack: str
    tried: int
    caught: tuple[int, int]
    accused: tuple[int, int]

    def to_dict(self) -> dict:
        """The JSON of a proof."""
        counted = {"caught": list(self.caught), "accused": list(self.accused)}
        return {"value": self.value, "attack": self.attack, "tried": self.tried, **counted}


@dataclass(frozen=True)
class Claim:
    """A claim of (epsilon, delta)-differential privacy, and what the attacks prove of epsilon at that delta."""

    epsilon: float
    delta: float
    at_least: Proof | None

    @property
    def refuted(self) -> bool | None:
        """Whether an attack proves more than is claimed; None where nothing can be proven."""
        return None if self.at_least is None else self.at_least.value > self.epsilon

    def __str__(self) -> str:
        stated = f"claimed: epsilon {self.epsilon:g}, delta {self.delta:g}"
        if self.at_least is None:
            return f"{stated}: cannot be told, as there are too few samples, or known is 0"
        proven = f"{self.at_least.attack} proves at least {self.at_least.value:.4f} at 95 % confidence"
        return f"{stated}: REFUTED, {proven}" if self.refuted else f"{stated}: not refuted; {proven}"

    def to_dict(self) -> dict:
        """The JSON of a claim."""
        proven = None if self.at_least is None else self.at_least.to_dict()
        return {"epsilon": self.epsilon, "delta": self.delta, "at_least": proven, "refuted": self.refuted}


@dataclass(frozen=True)
class Leakage:
    """Divergences of the evaluated outputs, and bounds that the attacks prove; None where there are too few samples.

    confidence: JS of the true class's log-odds, from a histogram. confidence_per_class: the same within classes, hence
    of (log-odds, label); wants 100 samples of either side in every class. prediction: a lower bound on the JS of (fused
    prediction, label), by a cross-fitted classifier. js_at_least: proven by an attack that sees the fused prediction
    and its label alone. epsilon_at_least: of (epsilon, 0)-differential privacy, by any attack, if samples were
    independent trials: of one model's samples an indication (see `mialab.divergence.epsilon_at_least`).
    """

    confidence: Divergence | None
    confidence_per_class: Divergence | None
    prediction: Divergence | None
    js_at_least: Proof | None
    epsilon_at_least: Proof | None

    @property
    def cap(self) -> float:
        """Balanced accuracy that no attack on the true class's confidence, and label, should exceed; 1 if unknown."""
        estimates = [one for one in (self.confidence, self.confidence_per_class) if one is not None]
        return max((float(one.accuracy.high) for one in estimates), default=1.0)

    def to_dict(self) -> dict:
        """The JSON of all five."""
        estimated = {name: getattr(self, name) for name in ("confidence", "confidence_per_class", "prediction")}
        proven = {name: getattr(self, name) for name in ("js_at_least", "epsilon_at_least")}
        return {
            **{name: None if one is None else _estimate(one) for name, one in estimated.items()},
            **{name: None if one is None else one.to_dict() for name, one in proven.items()},
        }


def tv(estimate: Divergence) -> tuple[float, float]:
    """The total variation that the interval allows, lowest and highest."""
    low, high = map(float, estimate.accuracy)
    return 2 * low - 1, 2 * high - 1


@dataclass(frozen=True, eq=False)
class Shown:
    """What a model shows of samples: fused log-probabilities [n, classes], log-odds or scores [n], labels [n].

    Either of the first two may be None. labelled: whether the labels mean anything.
    """

    log_p: np.ndarray | Rows | None
    odds: np.ndarray | None
    labels: np.ndarray
    labelled: bool

    def of(self, rows: np.ndarray) -> Shown:
        """The same of some samples, bool [n]."""
        log_p = self.log_p.reordered(rows) if isinstance(self.log_p, Rows) else self.log_p
        if log_p is not None and log_p is self.log_p:
            log_p = log_p[rows]
        return Shown(log_p, None if self.odds is None else self.odds[rows], self.labels[rows], self.labelled)


def measure(
    shown: Shown, member: np.ndarray, evaluated: np.ndarray, results: Mapping[str, Result], *, seed: int
) -> Leakage:
    """What the evaluated samples show: member, evaluated bool [samples]."""
    estimates = _estimated(shown.of(evaluated), member[evaluated], seed)
    return Leakage(*estimates, *proven(results, member, evaluated))


def proven(
    results: Mapping[str, Result], member: np.ndarray, evaluated: np.ndarray
) -> tuple[Proof | None, Proof | None]:
    """What the strongest attacks prove of the JS of (fused prediction, label), and of epsilon."""
    black_box = {name: result for name, result in results.items() if not result.beyond}
    return _strongest(_js, black_box, member, evaluated), _strongest(_epsilon, results, member, evaluated)


def claim(
    results: Mapping[str, Result], member: np.ndarray, evaluated: np.ndarray, *, epsilon: float, delta: float
) -> Claim:
    """What the strongest attack proves of a claimed epsilon, at the claimed delta."""

    def statistic(caught: Rate, accused: Rate, confidence: float) -> float:
        return divergence.epsilon_at_least(caught, accused, delta=delta, confidence=confidence)

    return Claim(epsilon, delta, _strongest(statistic, results, member, evaluated))


def _estimated(shown: Shown, member, seed) -> tuple[Divergence | None, Divergence | None, Divergence | None]:
    if min(counts(member)) < FEWEST:
        return None, None, None
    odds, labels, vectors = shown.odds, shown.labels, None
    if shown.log_p is not None:
        features = by_rows(divergence.features, shown.log_p, *([labels] if shown.labelled else []))
        vectors = np.clip(features, -MOST_ODDS, MOST_ODDS)
    return (
        None if odds is None else divergence.histogram(odds, member, seed=seed),
        divergence.histogram(odds, member, labels=labels, seed=seed)
        if odds is not None and shown.labelled and _classes_suffice(labels, member)
        else None,
        None if vectors is None else divergence.classifier(vectors, member, model="logistic", seed=seed),
    )


def _classes_suffice(labels, member) -> bool:
    group = np.unique(labels, return_inverse=True)[1]
    members, everyone = np.bincount(group, member), np.bincount(group)
    return min(members.min(), (everyone - members).min()) >= FEWEST_IN_A_CLASS


def _estimate(one: Divergence) -> dict:
    return {
        "js": one.value,
        "js_interval": [one.low, one.high],
        "bits": one.bits,
        "distance": one.distance,
        "gain": one.gain,
        "tv": list(tv(one)),
        "best_balanced_accuracy": list(one.accuracy),
        "null": {"mean": one.null.mean, "high": one.null.high, "p_value": float(one.null.p_value)},
        "lower_bound": one.lower_bound,
        "evaluated": sides((one.members, one.nonmembers)),
    }


def _strongest(statistic: Statistic, results: Mapping[str, Result], member, evaluated) -> Proof | None:
    """The largest of the attacks' proofs; None where no threshold can be chosen, or nothing is left to judge it."""
    if not results or not all(all(counts(member[part])) for part in (evaluated, ~evaluated)):
        return None
    sides = [(side & ~evaluated, side & evaluated) for side in (member, ~member)]
    confidence = 1 - (1 - CONFIDENCE) / len(results)
    found = {name: _proof(statistic, one.scores, sides=sides, confidence=confidence) for name, one in results.items()}
    attack = max(found, key=lambda name: found[name][0])
    value, caught, accused = found[attack]
    return Proof(value, attack, len(results), caught, accused)


def _proof(
    statistic: Statistic, scores: np.ndarray, *, sides: list[tuple[np.ndarray, np.ndarray]], confidence: float
) -> tuple[float, tuple[int, int], tuple[int, int]]:
    """Value, members found and non-members accused, by the threshold that promises most on the known samples.

    sides: of members, then of non-members, masks of the known and of the evaluated ones.
    """
    known, judged = ([scores[mask] for mask in part] for part in zip(*sides, strict=True))
    thresholds = _candidates(np.concatenate(known))
    expected = [
        _called(own, thresholds) / len(own) * len(others) for own, others in zip(known, judged, strict=True)
    ]  # counts among as many samples as are evaluated
    totals = [len(own) for own in judged]
    promised = [
        statistic((found, totals[0]), (blamed, totals[1]), confidence) for found, blamed in zip(*expected, strict=True)
    ]
    chosen = thresholds[[np.argmax(promised)]]
    caught, accused = ((int(_called(own, chosen)[0]), len(own)) for own in judged)
    return statistic(caught, accused, confidence), caught, accused


def _candidates(scores: np.ndarray) -> np.ndarray:
    """Known scores as thresholds, denser towards either end, where few samples can prove most of an epsilon."""
    tails = np.geomspace(1 / len(scores), 0.5, CANDIDATES)
    shares = np.concatenate([tails, 1 - tails, np.linspace(0, 1, CANDIDATES)])
    return np.unique(np.quantile(scores, shares, method="inverted_cdf"))


def _called(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many scores reach each threshold."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds)


def _js(caught: Rate, accused: Rate, confidence: float) -> float:
    """JS of the answers 'member' and 'non-member', which that of what they were computed from is no less than.

    TPR's lower and FPR's upper Clopper-Pearson end stand in, each at half the error.
    """
    tail = (1 - confidence) / 2
    tpr = float(clopper_pearson(*caught, tail).low)
    fpr = 1 - float(clopper_pearson(accused[1] - accused[0], accused[1], tail).low)
    return float(divergence.js(np.array([tpr, 1 - tpr]), np.array([fpr, 1 - fpr]))) if tpr > fpr else 0.0


def _epsilon(caught: Rate, accused: Rate, confidence: float) -> float:
    return divergence.epsilon_at_least(caught, accused, confidence=confidence)
