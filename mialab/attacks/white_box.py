"""Attacks on an ensemble whose members answer one by one: what each model says, not only their fused prediction.

The ensemble paper's white box (section 4.1) lays all models' confidences side by side: the neural attacks do so where
they are given such features, but there they see no label, and which model is which. `white-box-ensemble` is ours: it
sees each model's log-odds of the true class, in rising order, and how many models are right, and learns as
`neural-published` does. `agreement` is that number, the level of correct agreement of section 3.2, by itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mialab.attacks.base import Attack, Evidence
from mialab.attacks.neural import PUBLISHED, pooled
from mialab.attacks.references import log_odds

LEARNER = replace(PUBLISHED, name="white-box-ensemble")
MOST_ODDS = 100.0  # log-odds are cut off here: beyond float32's smallest probability


def level(evidence: Evidence) -> np.ndarray:
    """The number of models whose prediction (the first of equally likely classes) is the label: float64 [n]."""
    answers = np.stack([one.argmax(axis=1) for one in evidence.need("log_confidences")])
    return (answers == evidence.labels).sum(axis=0).astype(np.float64)


def features(evidence: Evidence) -> np.ndarray:
    """Sorted log-odds of the true class, and the level: float64 [n, models + 1], standardised over all samples."""
    odds = np.stack([log_odds(one, evidence.labels) for one in evidence.need("log_confidences")], axis=1)
    columns = np.column_stack([np.sort(np.clip(odds, -MOST_ODDS, MOST_ODDS), axis=1), level(evidence)])
    spread = columns.std(axis=0)
    return (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _agreement(evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    return level(evidence)


def _learnt(evidence: Evidence, known: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Log-odds of membership; NotEnough without each model's outputs or below 8 known pairs."""
    return pooled(LEARNER, replace(evidence, features=features(evidence)), known, member, seed)


ATTACKS = (
    Attack("agreement", learns=False, score=_agreement, needs=("log_confidences",)),
    Attack(LEARNER.name, learns=True, score=_learnt, needs=("log_confidences",)),
)
