"""What an attack sees, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class NotEnough(ValueError):
    """The attack lacks known samples to learn from; the message is the reason a report gives for skipping it."""


@dataclass(frozen=True)
class Evidence:
    """What an attacker holds on n samples: the fused prediction, a neural attack's input, and the true labels."""

    p: np.ndarray  # float64 [n, classes]: the fused confidences by plain arithmetic; their argmax is the prediction
    log_p: np.ndarray  # float64 [n, classes]: their logarithms, precise where p rounds to 1
    features: np.ndarray  # float [n, f]: fused confidences, or all models' side by side (white box)
    labels: np.ndarray  # int64 [n]


Score = Callable[[Evidence, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Attack:
    """A named attack; `score(evidence, known, member, seed)` gives float64 [n], of which it learns on `known` alone.

    `known` and `member` are bool [n]; what `member` says outside `known` is never read. An attack that does not learn
    ignores both. Raises NotEnough where the known samples do not suffice.
    """

    name: str
    learns: bool
    score: Score
