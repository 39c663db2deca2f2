"""Attacks on an ensemble whose members answer one by one: what each model says, not only their fused prediction.

The ensemble paper's white box (section 4.1) lays all models' confidences side by side: the neural attacks do so where
they are given such features, but there they see no label, and which model is which. `white-box-ensemble` is ours: it
sees each model's log-odds of the true class, in rising order, and how many models are right, and learns as
`neural-published` does. `agreement` is that number, the level of correct agreement of section 3.2, by itself.
Explained in the appendix "Attacks".
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from mialab import agreement
from mialab.attacks.base import Evidence, Known, from_function
from mialab.attacks.neural import PUBLISHED, pooled
from mialab.fusion import log_odds

LEARNER = replace(PUBLISHED, name="white-box-ensemble")
MOST_ODDS = 100.0  # log-odds are cut off here: beyond float32's smallest probability


def level(evidence: Evidence) -> np.ndarray:
    """The number of models whose prediction (the first of equally likely classes) is the label: float64 [n]."""
    return agreement.level(evidence.need("log_confidences"), evidence.labels).astype(np.float64)


def features(evidence: Evidence) -> np.ndarray:
    """Sorted log-odds of the true class, and the level: float64 [n, models + 1], standardised over all samples."""
    odds = np.stack([log_odds(one, evidence.labels) for one in evidence.need("log_confidences")], axis=1)
    columns = np.column_stack([np.sort(np.clip(odds, -MOST_ODDS, MOST_ODDS), axis=1), level(evidence)])
    spread = columns.std(axis=0)
    return (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _agreement(evidence: Evidence, known: Known, seed: int) -> np.ndarray:
    return level(evidence)


def _learnt(evidence: Evidence, known: Known, seed: int, *, every_epoch: bool = False) -> np.ndarray:
    """Log-odds of membership; NotEnough without each model's outputs or below 8 known pairs."""
    return pooled(LEARNER, replace(evidence, features=features(evidence)), known, seed, every_epoch=every_epoch)


ATTACKS = (
    from_function("agreement", _agreement, needs=("log_confidences",)),
    from_function(
        LEARNER.name,
        _learnt,
        learns=True,
        needs=("log_confidences",),
        log_odds=True,
        every_epoch=partial(_learnt, every_epoch=True),
    ),
)
