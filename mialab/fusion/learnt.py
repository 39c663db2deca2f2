"""The rule that is learnt by regression: stacking. (Learnt weights stand with the means, as they give one.)"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from mialab.fusion.arithmetic import in_blocks, log_confidence, softmax
from mialab.fusion.rule import FusionRule

if TYPE_CHECKING:
    from torch import Tensor

RIDGE = 1.0  # half of it times the squared coefficients is added to the summed loss, as scikit-learn does by default
MOST_STEPS = 500


@dataclass(frozen=True)
class Stacking(FusionRule):
    """A logistic regression on all models' confidences side by side: the meta-learner (Salem et al. 2018; 4.2).

    `Stacking().fit(logits, labels, seed)` gives the rule that can be used; it is learnt on samples that no model was
    trained on, or else it trusts the model that has learnt them best by heart. coefficients [classes][models * classes]
    and intercepts [classes], found by L-BFGS with a ridge of 1, our choice: neither paper states one. fit raises a
    ValueError for fewer than two models, which leave nothing to stack, and for labels beyond the classes. Explained in
    the chapter "Other ensembles".
    """

    name = "stacking"
    learns = True
    fewest = 2
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercepts: tuple[float, ...] = ()

    def fit(self, logits: np.ndarray, labels: np.ndarray, seed: int) -> Stacking:
        models, n, classes = logits.shape
        if models < self.fewest:
            raise ValueError("stacking: found one model, and it joins two or more: use fusion 'confidence' for one")
        if not n or not 0 <= np.min(labels) <= np.max(labels) < classes:
            raise ValueError(f"stacking: found labels {labels!r:.60}; expected some, from 0 to {classes - 1}")
        x, truth = _side_by_side(logits), np.eye(classes)[labels]
        start = np.zeros((classes, x.shape[1] + 1))
        found = minimize(_loss, start.ravel(), (x, truth), method="L-BFGS-B", jac=True, options={"maxiter": MOST_STEPS})
        learnt = found.x.reshape(start.shape)
        rows = tuple(map(tuple, learnt[:, :-1].tolist()))
        return replace(self, coefficients=rows, intercepts=tuple(learnt[:, -1].tolist()))

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        weights, bias = self._learnt(logits.shape)
        return in_blocks(lambda some: log_confidence(_side_by_side(some) @ weights.T + bias), logits)

    def differentiable(self, logits: Tensor) -> Tensor:
        weights, bias = (logits.new_tensor(part) for part in self._learnt(tuple(logits.shape)))
        models, n, classes = logits.shape
        row = logits.softmax(dim=-1).transpose(0, 1).reshape(n, models * classes)
        return (row @ weights.T + bias).log_softmax(dim=-1)

    def _learnt(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        models, _, classes = shape
        weights, bias = np.array(self.coefficients), np.array(self.intercepts)
        if weights.shape != (classes, models * classes):
            fitted = f"is fitted on inputs {list(weights.shape)}" if self.coefficients else "is not fitted"
            raise ValueError(f"stacking: the rule {fitted}; fit it on {models} models of {classes} classes")
        return weights, bias


def _side_by_side(logits: np.ndarray) -> np.ndarray:
    models, n, classes = logits.shape
    return softmax(logits).transpose(1, 0, 2).reshape(n, models * classes)


def _loss(flat: np.ndarray, x: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean cross-entropy with its ridge, and the gradient; the intercepts stand in the last column."""
    learnt = flat.reshape(truth.shape[1], x.shape[1] + 1)
    log_p = log_confidence(x @ learnt[:, :-1].T + learnt[:, -1])
    away, n = np.exp(log_p) - truth, len(x)
    value = -(truth * log_p).sum() / n + RIDGE / (2 * n) * (learnt[:, :-1] ** 2).sum()
    slope = np.column_stack([away.T @ x + RIDGE * learnt[:, :-1], away.sum(axis=0)]) / n
    return value, slope.ravel()
