"""What an audit found, as an object, as JSON types and as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mialab import metrics
from mialab.audit import leakage, text
from mialab.audit.figures import Result, counts, sides
from mialab.audit.settings import Settings
from mialab.metrics import Estimate


@dataclass(frozen=True, eq=False)
class Report:
    """What an audit found; `str` gives tables.

    shape: models, samples, classes. accuracy: of the fused prediction on all members and on all non-members.
    labels, member, evaluated: int64 and bool [samples]; every attack was measured on the same, evaluated samples.
    log_p: the fused log-probabilities, float64 [samples, classes].
    attacks, skipped: results, and reasons for having none, by the attacks' names in the order asked for.
    references: what reference models there were, in words; empty if none.
    """

    settings: Settings
    shape: tuple[int, int, int]
    accuracy: tuple[float, float]
    labels: np.ndarray
    member: np.ndarray
    evaluated: np.ndarray
    log_p: np.ndarray
    attacks: dict[str, Result]
    skipped: dict[str, str]
    references: str = ""
    notes: tuple[str, ...] = ()

    @property
    def accuracies(self) -> tuple[Estimate, Estimate]:
        """The fused prediction's accuracy on members and on non-members, each with its Clopper-Pearson interval."""
        counted = zip(self.accuracy, counts(self.member), strict=True)
        members, nonmembers = (metrics.proportion(round(share * n), n) for share, n in counted)
        return members, nonmembers

    @cached_property
    def divergence(self) -> leakage.Leakage:
        """How far apart the evaluated outputs are, and what the attacks prove: computed when first asked for."""
        of_outputs = (self.log_p, self.labels, self.member, self.evaluated)
        return leakage.measure(*of_outputs, self.attacks, seed=self.settings.seed)

    def to_dict(self) -> dict:
        """The report as JSON types, the same for every caller; None where there are too few samples.

        {"version": 1, "samples": SIDES, "accuracy": SIDES, "attacks": {name: ATTACK}, "skipped": {name: reason},
        "divergence": {"confidence": JS, "confidence_per_class": JS, "prediction": JS, "js_at_least": PROOF,
        "epsilon_at_least": PROOF}}, where SIDES is {"members", "nonmembers"}, ATTACK is {"auc", "auc_interval":
        [low, high], "balanced_accuracy", "balanced_accuracy_interval", "tpr": {"0.1", "0.01", "0.001"} by FPR,
        "tpr_interval" likewise, "evaluated": SIDES, and "correct" and "misclassified", each with all of the foregoing
        on those samples}. Units: shares.

        JS is {"js" in nats, "js_interval": [low, high], "bits", "distance" (root of the nats), "gain", "tv": [least,
        most], "best_balanced_accuracy": [least, most], "null": {"mean", "high", "p_value"} under shuffled membership,
        "lower_bound": whether the JS is at least that, and then nothing is capped, "evaluated": SIDES}. PROOF is
        {"value" in nats of JS or as an epsilon, "attack", "tried": of how many attacks, "caught": [members found, of],
        "accused": [non-members accused, of]}, at 95 % confidence. See `Leakage` and `Proof`.
        """
        return {
            "version": 1,
            "samples": sides(counts(self.member)),
            "accuracy": sides(self.accuracy),
            "attacks": {name: result.to_dict() for name, result in self.attacks.items()},
            "skipped": dict(self.skipped),
            "divergence": self.divergence.to_dict(),
        }

    def __str__(self) -> str:
        return text.tables(self)
