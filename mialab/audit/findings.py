"""What an audit found, as an object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mialab import metrics
from mialab.audit import leakage, risk
from mialab.audit.figures import FPRS, Result, counts
from mialab.audit.notes import Note
from mialab.audit.settings import Settings
from mialab.metrics import Estimate


@dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found, whatever is made of it.

    shape: models, samples, classes (0 where there are none). accuracy: of the label that is answered, on all members
        and on all non-members; None where it cannot be told. kind: outputs, losses or scores; labelled: whether the
        classes are known; queries: how many of each sample.
    labels, member, evaluated: int64 and bool [samples]; every attack was measured on the same, evaluated samples.
    log_p: the fused log-probabilities, float64 [samples, classes]; `mialab.fusion.Rows` of very large outputs. odds:
        the true class's log-odds, or the score per sample, float64 [samples]; None where there is neither.
    attacks, skipped: results, and reasons for having none, by the attacks' names in the order asked for.
    references: what reference models there were, and their accuracy, in words; empty if none.
    prior: the share of members that precision assumes. claimed: epsilon and delta that somebody promised, or None.
    notes: what looks like a mistake in the arrays, and what attacks remarked.
    """

    settings: Settings
    shape: tuple[int, int, int]
    accuracy: tuple[float | None, float | None]
    labels: np.ndarray
    member: np.ndarray
    evaluated: np.ndarray
    log_p: np.ndarray
    attacks: dict[str, Result]
    skipped: dict[str, str]
    references: str = ""
    notes: tuple[Note, ...] = ()
    odds: np.ndarray | None = None
    labelled: bool = True
    kind: str = "outputs"
    queries: int = 1
    prior: float = risk.EVEN
    claimed: tuple[float, float] | None = None

    @property
    def classified(self) -> bool:
        """Whether answers can be right or wrong: there are outputs per class, and labels."""
        return self.labelled and self.kind == "outputs"

    @property
    def accuracies(self) -> tuple[Estimate | None, Estimate | None]:
        """The answer's accuracy on members and on non-members, each with its Clopper-Pearson interval."""
        counted = zip(self.accuracy, counts(self.member), strict=True)
        members, nonmembers = (
            None if share is None else metrics.proportion(round(share * n), n) for share, n in counted
        )
        return members, nonmembers

    @property
    def lowest_fpr(self) -> str | None:
        """The lowest FPR of FPRS at which a TPR can be told, the same for all attacks; None where none can."""
        measured = [one.everyone.tpr for one in self.attacks.values()]
        return next((fpr for fpr in reversed(FPRS) if any(tpr[fpr] is not None for tpr in measured)), None)

    @property
    def best(self) -> str | None:
        """The attack that finds most members at the lowest FPR, of equal ones by AUC; None where none is measured."""
        at = self.lowest_fpr

        def rank(name: str) -> tuple[float, float]:
            tpr = None if at is None else self.attacks[name].everyone.tpr[at]
            return (0.0 if tpr is None else tpr.value), areas[name].value

        areas = {name: one.everyone.auc for name, one in self.attacks.items() if one.everyone.auc is not None}
        return max(areas, key=rank, default=None)

    @property
    def risks(self) -> dict[str, risk.Risk]:
        """What each attack's success means at the stated share of members."""
        return {name: risk.of(one.everyone, self.prior) for name, one in self.attacks.items()}

    @cached_property
    def claim(self) -> leakage.Claim | None:
        """What the attacks say of the promise of differential privacy; None where there is none."""
        if self.claimed is None:
            return None
        epsilon, delta = self.claimed
        return leakage.claim(self.attacks, self.member, self.evaluated, epsilon=epsilon, delta=delta)

    @cached_property
    def divergence(self) -> leakage.Leakage:
        """How far apart the evaluated outputs are, and what the attacks prove: computed when first asked for."""
        shown = leakage.Shown(self.log_p if self.kind == "outputs" else None, self.odds, self.labels, self.labelled)
        return leakage.measure(shown, self.member, self.evaluated, self.attacks, seed=self.settings.seed)
