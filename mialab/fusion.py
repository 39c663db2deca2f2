"""How the outputs of several models become one prediction: logits [models, n, classes] in, log-probabilities out.

All arithmetic is float64. `predict` gives the confidences by plain arithmetic: ties stay ties, and predictions are
those that anyone's mean of the softmaxes gives. `fuse` gives their logarithms, in which a confidence that rounds to 1
keeps its distance from 1. Softmaxes saved as such (`probabilities`) are averaged as they are, whatever they sum to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

RULES = ("confidence", "logit")
SMALLEST = float(np.log(np.nextafter(0.0, 1.0)))  # log of the smallest positive float64, about -744


def log_confidence(logits: np.ndarray) -> np.ndarray:
    """Log-softmax over the last axis, float64, for logits of any size; -inf (a probability of zero) stays -inf.

    The largest entry is -log1p(the others' share), hence exact where the probability rounds to 1.
    Raises ValueError on NaN, +inf, or a row that is -inf throughout.
    """
    shifted = np.array(logits, dtype=np.float64)
    top = shifted.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("logits hold NaN or infinity: each row needs a finite largest entry")
    with np.errstate(over="ignore"):  # a difference beyond float64 is a probability of zero
        shifted -= top
    others = np.exp(shifted)
    np.put_along_axis(others, shifted.argmax(axis=-1)[..., None], 0.0, axis=-1)
    shifted -= np.log1p(others.sum(axis=-1, keepdims=True))
    return shifted


def softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax over the last axis, float64, by plain arithmetic."""
    logits = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore"):  # a difference beyond float64 is a probability of zero
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def fuse(logits: np.ndarray, how: str = "confidence", *, probabilities: np.ndarray | None = None) -> np.ndarray:
    """Log-probabilities [n, classes], float64, of the ensemble with outputs [models, n, classes].

    `confidence` is the mean of the softmaxes (the ensemble paper, 2.1); `logit` the softmax of the mean logit (A.3).
    Rows sum to one: the likeliest class's entry is found from the others, also in `probabilities`, of which a zero
    counts as the smallest positive number of their type.
    Models are taken one at a time: memory beyond the outputs is a few arrays of [n, classes].
    Raises ValueError for another rule.
    """
    _check(how)
    if how == "logit":
        return log_confidence(_mean_logit(logits))
    if probabilities is not None:
        least = np.finfo(probabilities.dtype).smallest_subnormal
        return log_confidence(np.log(np.maximum(_mean(probabilities, len(logits)), least)))
    total = log_confidence(logits[0])
    for one in logits[1:]:
        np.logaddexp(total, log_confidence(one), out=total)
    return log_confidence(total)  # the sum over models, made to sum to one again: the mean


def predict(logits: np.ndarray, how: str = "confidence", *, probabilities: np.ndarray | None = None) -> np.ndarray:
    """The ensemble's confidences [n, classes], float64, by plain arithmetic: np.mean's and a softmax's.

    The class predicted is their argmax: of equally likely ones the first. Raises ValueError for another rule.
    """
    _check(how)
    if how == "logit":
        return softmax(_mean_logit(logits))
    return _mean(map(softmax, logits) if probabilities is None else probabilities, len(logits))


def side_by_side(logits: np.ndarray, *, probabilities: np.ndarray | None = None) -> np.ndarray:
    """All models' softmaxes in a row per sample: float32 [n, models * classes], model by model (white box, 4.1)."""
    models, n, classes = logits.shape
    row = np.empty((n, models, classes), dtype=np.float32)
    for k in range(models):
        row[:, k] = softmax(logits[k]) if probabilities is None else probabilities[k]
    return row.reshape(n, models * classes)


def _check(how: str) -> None:
    if how not in RULES:
        raise ValueError(f"no fusion {how!r}; choose one of {', '.join(RULES)}")


def _mean(outputs: Iterable[np.ndarray], models: int) -> np.ndarray:
    """np.mean over the models in float64, to the last bit: added in their order, then divided."""
    outputs = iter(outputs)
    total = np.array(next(outputs), dtype=np.float64)
    for one in outputs:
        total += one
    return total / models


def _mean_logit(logits: np.ndarray) -> np.ndarray:
    scale = 2.0 ** math.ceil(math.log2(len(logits)))  # a power of two rounds nothing, and keeps sums from overflowing
    return _mean((_above_zero(one) / scale for one in logits), len(logits)) * scale


def _above_zero(logits: np.ndarray) -> np.ndarray:
    """-inf raised to the smallest probability above zero: models that rule out different classes still have a mean."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.where(np.isneginf(logits), logits.max(axis=-1, keepdims=True) + SMALLEST, logits)
