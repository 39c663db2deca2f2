"""How the outputs of several models become one prediction: logits [models, n, classes] in, log-probabilities out.

All arithmetic is float64 and in logarithms, so that a confidence that rounds to 1 keeps its distance from 1.
"""

from __future__ import annotations

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


def fuse(logits: np.ndarray, how: str = "confidence") -> np.ndarray:
    """Log-probabilities [n, classes], float64, of the ensemble with outputs [models, n, classes].

    `confidence` is the mean of the softmaxes (the ensemble paper, 2.1); `logit` the softmax of the mean logit (A.3).
    Models are taken one at a time: memory beyond the logits is a few arrays of [n, classes].
    Raises ValueError for another rule.
    """
    if how == "confidence":
        return _mean_confidence(logits)
    if how == "logit":
        return _mean_logit(logits)
    raise ValueError(f"no fusion {how!r}; choose one of {', '.join(RULES)}")


def side_by_side(logits: np.ndarray) -> np.ndarray:
    """All models' softmaxes in a row per sample: float32 [n, models * classes], model by model (white box, 4.1)."""
    models, n, classes = logits.shape
    row = np.empty((n, models, classes), dtype=np.float32)
    for k in range(models):
        row[:, k] = np.exp(log_confidence(logits[k]))
    return row.reshape(n, models * classes)


def _mean_confidence(logits: np.ndarray) -> np.ndarray:
    total = log_confidence(logits[0])
    for one in logits[1:]:
        np.logaddexp(total, log_confidence(one), out=total)
    return log_confidence(total)  # the sum over models, made to sum to one again: the mean


def _mean_logit(logits: np.ndarray) -> np.ndarray:
    total = np.zeros(logits.shape[1:])
    for one in logits:
        total += _above_zero(one) / len(logits)
    return log_confidence(total)


def _above_zero(logits: np.ndarray) -> np.ndarray:
    """-inf raised to the smallest probability above zero: models that rule out different classes still have a mean."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.where(np.isneginf(logits), logits.max(axis=-1, keepdims=True) + SMALLEST, logits)
