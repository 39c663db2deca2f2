"""Softmaxes, their logarithms and log-odds, for logits of any size; and how to look at a few samples at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LARGEST = 1e100  # log-odds are cut off here: their squares stay finite
SMALLEST = float(np.log(np.nextafter(0.0, 1.0)))  # log of the smallest positive float64, about -744
BLOCK = 1 << 16  # numbers that all models have together in the samples that are looked at together


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


def log_odds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y - log(sum of p_j over j != y) from logits or log-probabilities [n, classes]: float64 [n].

    The sum leaves p_y out rather than subtracting it from 1, so that the surest answers stay apart (Carlini et al.
    2022, section V.A). Cut off at +-1e100; -inf, a class ruled out, is allowed.
    """
    others = np.array(logits, dtype=np.float64)
    column = np.asarray(labels)[:, None]
    own = np.take_along_axis(others, column, axis=1)[:, 0]
    np.put_along_axis(others, column, -np.inf, axis=1)
    top = others.max(axis=1)
    top[np.isneginf(top)] = 0  # every other class ruled out: the log of the empty sum below is -inf
    others -= top[:, None]
    with np.errstate(divide="ignore", over="ignore"):
        rest = np.log(np.exp(others, out=others).sum(axis=1))
        return np.clip(own - (rest + top), -LARGEST, LARGEST)


def in_blocks(function: Callable[[np.ndarray], np.ndarray], logits: np.ndarray) -> np.ndarray:
    """The function's answers [n, ...] to logits [models, n, classes], taken a few samples at a time to save memory."""
    models, n, classes = logits.shape
    step = max(1, BLOCK // (models * classes))
    return np.concatenate([function(logits[:, start : start + step]) for start in range(0, max(n, 1), step)])
