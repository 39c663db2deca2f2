"""How well one attack did: its figures on the evaluated samples, all and by correctness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mialab import metrics
from mialab.metrics import Accuracy, Estimate

FPRS = ("0.1", "0.01", "0.001")


@dataclass(frozen=True)
class Figures:
    """An attack's success on some of the evaluated samples, counted by side; None where there are too few of them."""

    members: int
    nonmembers: int
    auc: Estimate | None
    balanced_accuracy: Estimate | None
    accuracy: Accuracy | None
    tpr: dict[str, Estimate | None]

    def to_dict(self) -> dict:
        """The JSON of one attack, or of one of its two parts by correctness."""
        return {
            "auc": _value(self.auc),
            "auc_interval": _interval(self.auc),
            "balanced_accuracy": _value(self.balanced_accuracy),
            "balanced_accuracy_interval": _interval(self.balanced_accuracy),
            "tpr": {fpr: _value(estimate) for fpr, estimate in self.tpr.items()},
            "tpr_interval": {fpr: _interval(estimate) for fpr, estimate in self.tpr.items()},
            "evaluated": sides((self.members, self.nonmembers)),
        }


@dataclass(frozen=True, eq=False)
class Result:
    """One attack: its scores [samples], and its figures on the evaluated samples, all and by correctness.

    beyond: what it saw beside the fused prediction, its label and known memberships: names of fields of `Evidence`.
    curve: of an attack with scores for every epoch of its own training, one dict per epoch, as `mialab.audit.curves`
    describes it; else empty.
    """

    scores: np.ndarray
    everyone: Figures
    correct: Figures
    misclassified: Figures
    beyond: tuple[str, ...] = ()
    curve: tuple[dict[str, float], ...] = ()

    def to_dict(self) -> dict:
        """The JSON of one attack."""
        parts = {"correct": self.correct.to_dict(), "misclassified": self.misclassified.to_dict()}
        return {**self.everyone.to_dict(), **parts}


def measured(
    scores: np.ndarray,
    member: np.ndarray,
    known_mask: np.ndarray,
    correct: np.ndarray | None,
    *,
    best: bool,
    beyond: tuple[str, ...] = (),
    curve: tuple[dict[str, float], ...] = (),
) -> Result:
    """What scores [n] achieve on the samples that are not known, at the threshold of `threshold`.

    correct: bool [n]; None where nobody can tell, and then no sample counts as either.
    """
    at = threshold(scores, member, known_mask, best=best)
    nobody = np.zeros(len(member), bool)
    halves = (nobody, nobody) if correct is None else (~known_mask & correct, ~known_mask & ~correct)
    parts = (~known_mask, *halves)
    everyone, right, wrong = (_figures(scores[part], member[part], at) for part in parts)
    return Result(scores, everyone, right, wrong, beyond, curve)


def threshold(scores: np.ndarray, member: np.ndarray, known_mask: np.ndarray, *, best: bool) -> float | None:
    """The best threshold for the known samples; NaN, which yields no figure, where they are of one side.

    best: None instead, which means the best one for the very samples that are measured, as where nobody is known.
    """
    return None if best else _threshold(scores[known_mask], member[known_mask])


def _threshold(scores: np.ndarray, member: np.ndarray) -> float:
    return metrics.best_threshold(scores, member) if member.any() and not member.all() else math.nan


def _figures(scores: np.ndarray, member: np.ndarray, at: float | None) -> Figures:
    """Figures at a threshold; at the best one for these very samples where it is None."""
    best = at is None
    at = _threshold(scores, member) if at is None else at
    balanced = metrics.best_balanced_accuracy(scores, member) if best else metrics.balanced_accuracy(scores, member, at)
    return Figures(
        *counts(member),
        metrics.auc_interval(scores, member),
        None if math.isnan(at) else balanced,
        None if math.isnan(at) else metrics.accuracy(scores, member, at),
        {fpr: metrics.tpr_at_fpr(scores, member, float(fpr)) for fpr in FPRS},
    )


def counts(member) -> tuple[int, int]:
    """Members and non-members."""
    return int(member.sum()), int((~member).sum())


def sides_text(pair: tuple[int, int], joined: str = ", ") -> str:
    """What `counts` found, in words: 1 member, 2 non-members."""
    members, others = pair
    return f"{members:,} member{'s' * (members != 1)}{joined}{others:,} non-member{'s' * (others != 1)}"


def sides(pair) -> dict:
    """What belongs to members and to non-members, as JSON."""
    return {"members": pair[0], "nonmembers": pair[1]}


def _value(estimate):
    return None if estimate is None else estimate.value


def _interval(estimate):
    return None if estimate is None else [estimate.low, estimate.high]
