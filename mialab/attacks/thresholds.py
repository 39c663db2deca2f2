"""Attacks that compare one number per sample with a threshold: correctness, confidence, loss and two entropies.

The sources are Yeom et al. 2018 (gap, loss) and Song and Mittal 2021 (the others, and thresholds per class). Explained
in the chapters "The game" (gap) and "The audit" (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mialab.attacks.base import Attack, Evidence, Known, from_function
from mialab.attacks.lacking import NotEnough
from mialab.fusion import by_rows
from mialab.metrics import best_threshold

Signal = Callable[[Evidence], np.ndarray]
LARGEST = 1e300  # stands for an infinite score where two are subtracted


def correct(evidence: Evidence) -> np.ndarray:
    """1 where the label that is answered is the true one, else 0."""
    return evidence.correct.astype(np.float64)


def confidence(evidence: Evidence) -> np.ndarray:
    """The probability of the true class, as log-odds: they keep the order where probabilities round to 1."""
    return evidence.odds


def minus_loss(evidence: Evidence) -> np.ndarray:
    """Log-probability of the true class, in nats, as precise near 0 as `fusion` keeps it; or minus the loss given."""
    if evidence.signal is not None:
        return evidence.signal.log_p
    return by_rows(_own, evidence.log_p, evidence.labels, key="loss")


def _own(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def score(evidence: Evidence) -> np.ndarray:
    """The score per sample as it was given."""
    return evidence.odds


def minus_entropy(evidence: Evidence) -> np.ndarray:
    """The prediction's entropy in nats, sign turned; labels play no part."""
    return by_rows(_minus_entropy, evidence.log_p, key="entropy")


def _minus_entropy(log_p: np.ndarray) -> np.ndarray:
    return _times(np.exp(log_p), log_p).sum(axis=1)


def minus_modified_entropy(evidence: Evidence) -> np.ndarray:
    """(1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i): Song and Mittal's measure, sign turned, in nats."""
    return by_rows(_minus_modified_entropy, evidence.log_p, evidence.labels, key="modified-entropy")


def _minus_modified_entropy(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    label = labels[:, None]
    log_rest = _log_of_rest(log_p)
    terms = _times(np.exp(log_p), log_rest)
    own = _times(np.exp(np.take_along_axis(log_rest, label, 1)), np.take_along_axis(log_p, label, 1))
    np.put_along_axis(terms, label, own, axis=1)
    return terms.sum(axis=1)


def _log_of_rest(log_p: np.ndarray) -> np.ndarray:
    """log(1 - p), the likeliest class's summed from the others, so that it is right where p rounds to 1."""
    p, likeliest = np.exp(log_p), log_p.argmax(axis=1)[:, None]
    np.put_along_axis(p, likeliest, 0.0, axis=1)
    rest = p.sum(axis=1, keepdims=True)
    log_rest = np.log1p(-p)
    with np.errstate(divide="ignore"):  # nothing left beside a certain prediction: log 0 = -inf is meant
        np.put_along_axis(log_rest, likeliest, np.log(rest), axis=1)
    return log_rest


def _times(weight: np.ndarray, log: np.ndarray) -> np.ndarray:
    """weight * log with 0 * -inf = 0, the limit of p log p."""
    return weight * np.where(weight > 0, log, 0.0)


def _plain(signal: Signal, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
    return signal(evidence)


def _per_class(signal: Signal, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
    """The signal less its class's best threshold on the known samples, so that 0 is every class's boundary.

    A class with no known member or no known non-member gets the threshold of all known samples together. NotEnough
    where this holds of every class.
    """
    scores = np.clip(signal(evidence), -LARGEST, LARGEST)
    on_known, labels, member = scores[known.rows], evidence.labels[known.rows], known.member
    complete = np.intersect1d(labels[member], labels[~member])
    if not len(complete):
        raise NotEnough("no class has both a known member and a known non-member")
    thresholds = np.full(evidence.labels.max() + 1, best_threshold(on_known, member))
    for label in complete:
        thresholds[label] = best_threshold(on_known[labels == label], member[labels == label])
    return scores - thresholds[evidence.labels]


SIGNALS: dict[str, Signal] = {
    "confidence": confidence,
    "loss": minus_loss,
    "entropy": minus_entropy,
    "modified-entropy": minus_modified_entropy,
}
READS = {"loss": ("losses",), "entropy": ("outputs",)}  # others: outputs and labels
VERSIONS = {"confidence": 2}  # log-odds since version 2: per class, samples of different classes change their order


def _attacks(name: str, signal: Signal, reads: tuple[str, ...]) -> tuple[Attack, Attack]:
    """With one threshold, and with one per class."""
    version, by_class = VERSIONS.get(name, 1), (*(one for one in reads if one != "labels"), "labels")
    plain = from_function(name, partial(_plain, signal), version=version, reads=reads)
    score = partial(_per_class, signal)
    return plain, from_function(f"{name}-per-class", score, learns=True, version=version, reads=by_class)


PAIRS = [_attacks(name, one, READS.get(name, ("outputs", "labels"))) for name, one in SIGNALS.items()]
ATTACKS = (
    from_function("gap", partial(_plain, correct)),
    *(plain for plain, _ in PAIRS),
    *(by_class for _, by_class in PAIRS),
)
OF_SCORES = _attacks("score", score, ("scores",))
