"""What an attack sees, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mialab.attacks.references import References


class NotEnough(ValueError):
    """The attack lacks what it learns from or needs; the message is the reason a report gives for skipping it."""


@dataclass(frozen=True)
class Evidence:
    """What an attacker holds on n samples: the fused prediction, a neural attack's input, and the true labels.

    The last three are held by some attackers only, and are what an attack's `needs` name.
    """

    p: np.ndarray  # float64 [n, classes]: the fused confidences by plain arithmetic; their argmax is the prediction
    log_p: np.ndarray  # float64 [n, classes]: their logarithms, precise where p rounds to 1
    features: np.ndarray  # float [n, f]: fused confidences, or all models' side by side (white box)
    labels: np.ndarray  # int64 [n]
    log_confidences: np.ndarray | None = None  # float [models, n, classes]: each model's own log-probabilities
    x: np.ndarray | None = None  # [n, ...]: the samples themselves
    references: References | None = None  # outputs of models trained on random halves, with their membership

    def need(self, name: str) -> Any:
        """What is held under the name of an optional field; NotEnough, with what to give, where it is not."""
        if (held := getattr(self, name)) is None:
            raise NotEnough(REMEDIES[name])
        return held


REMEDIES = {
    "log_confidences": "needs each model's own log-probabilities: give every model's outputs, not the fused ones alone",
    "x": "needs the samples themselves: give their inputs x in the order of the labels",
    "references": "needs reference models: give outputs of models trained on random halves (--reference)",
}


Score = Callable[[Evidence, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Attack:
    """A named attack; `score(evidence, known, member, seed)` gives float64 [n], of which it learns on `known` alone.

    `known` and `member` are bool [n]; what `member` says outside `known` is never read. An attack that does not learn
    ignores both. Raises NotEnough where the known samples do not suffice or a need is not met.
    """

    name: str
    learns: bool
    score: Score
    needs: tuple[str, ...] = ()  # optional fields of Evidence without which it cannot score
    costly: bool = False  # takes minutes: runs only when asked for by name
