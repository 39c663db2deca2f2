"""Bias-free ReLU networks as lists of matrices (Eq. 4), and how far two of them can be apart over a box."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mialab.seeds import derive

Matrices = Sequence[np.ndarray]
Signed = list[tuple[np.ndarray, np.ndarray]]  # per layer what meets relu(x), and what meets relu(-x): both [out, in]
LARGEST = 0.5  # the weights that subset sums of uniform numbers reach
STARTS, STEPS = 8, 20  # of the search for the worst input, per output


def answers(matrices: Matrices, x: np.ndarray) -> np.ndarray:
    """f(x) = W_n relu(... relu(W_1 x)), Eq. 4: x [batch, in] to [batch, out], matrices [out, in], no biases."""
    for number, matrix in enumerate(matrices):
        x = (np.maximum(x, 0) if number else x) @ matrix.T
    return x


@dataclass(frozen=True, eq=False)
class Bounded:
    """A network whose weights lie within [-1/2, 1/2], and the factor by which its answers are those of the first."""

    matrices: list[np.ndarray]
    factor: float


def bounded(matrices: Matrices) -> Bounded:
    """The same function with each layer's weights divided until none exceeds 1/2, as the proof's lemma needs.

    Without biases relu(c x) = c relu(x) for c > 0, so the factors of all layers go to the end. The theorem speaks of
    ||W|| <= 1 only, so of the small network: an error there is `factor` times as large in the given one's answers.
    Raises ValueError for matrices that do not fit, or are not finite.
    """
    checked = [np.asarray(matrix, dtype=np.float64) for matrix in matrices]
    if not checked or any(matrix.ndim != 2 or not np.isfinite(matrix).all() for matrix in checked):
        raise ValueError("give a list of finite matrices [out, in], at least one, and no biases")
    for before, after in itertools.pairwise(checked):
        if before.shape[0] != after.shape[1]:
            raise ValueError(f"a matrix {list(after.shape)} cannot follow one of {before.shape[0]} outputs")
    scales = [max(1.0, float(np.abs(matrix).max()) / LARGEST) for matrix in checked]
    small = [matrix / scale for matrix, scale in zip(checked, scales, strict=True)]
    return Bounded(small, float(np.prod(scales)))


@dataclass(frozen=True)
class Distance:
    """How far two networks' answers are apart, in any one output: the worst found over a box, and a bound on all."""

    found: float
    bound: float


def distance(matrices: Matrices, other: Signed, low: np.ndarray, high: np.ndarray, *, seed: int = 0) -> Distance:
    """The largest |f(x) - g(x)| of any output over the box low <= x <= high, each [in]: found, and bounded (Eq. 7).

    other: g, per layer as y = plus @ relu(x) - minus @ relu(-x), which is what its gadgets do. `found` comes from
    steps to the corner that the gradient points to, from random corners: a lower end of the supremum. `bound` follows
    the box and the errors through the layers: an upper end, and a loose one.
    """
    corners = np.random.default_rng(derive(seed, "worst input")).integers(0, 2, (STARTS, len(low))).astype(bool)
    found = 0.0
    for output, sign in itertools.product(range(len(matrices[-1])), (1.0, -1.0)):
        x = np.where(corners, high, low)
        for _ in range(STEPS):
            gap, slope = _gap(matrices, other, x, output, sign)
            found = max(found, float(gap.max()))
            x = np.where(slope > 0, high, low)
    return Distance(found, _bound(matrices, other, np.asarray(low), np.asarray(high)))


def _gap(matrices: Matrices, other: Signed, x: np.ndarray, output: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """sign * (f - g) of one output [batch], and its gradient in x [batch, in]."""
    plain: Signed = [(matrix, matrix) for matrix in matrices]
    (one, slope), (two, its) = _with_slope(plain, x, output), _with_slope(other, x, output)
    return sign * (one - two), sign * (slope - its)


def _with_slope(network: Signed, x: np.ndarray, output: int) -> tuple[np.ndarray, np.ndarray]:
    seen = []
    for number, (plus, minus) in enumerate(network):
        x = np.maximum(x, 0) if number else x
        seen.append(x)
        x = np.maximum(x, 0) @ plus.T - np.maximum(-x, 0) @ minus.T
    slope = np.zeros_like(x)
    slope[:, output] = 1
    for number, (plus, minus) in reversed(list(enumerate(network))):
        past = minus if number == 0 else np.zeros_like(minus)  # what relu has cut off passes nothing on
        slope = np.where(seen[number] > 0, slope @ plus, slope @ past)
    return x[:, output], slope


def _bound(matrices: Matrices, other: Signed, low: np.ndarray, high: np.ndarray) -> float:
    """An upper end of the distance, by the errors of weights and the sizes of inputs."""
    largest, error = np.maximum(np.abs(low), np.abs(high)), np.zeros(len(low))
    for number, (matrix, (plus, minus)) in enumerate(zip(matrices, other, strict=True)):
        off = np.abs(plus - matrix)
        if number == 0:  # an input may be of either sign; behind relu none is negative
            off = np.maximum(off, np.abs(minus - matrix))
        error = np.abs(plus) @ error + off @ largest
        largest = np.abs(matrix) @ largest
    return float(error.max())
