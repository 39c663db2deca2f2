"""The cells that look class by class: how wide the gap is, how sure the model, and how successful the attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax

from mialab import metrics
from mialab.cells.about import About
from mialab.cells.answered import Answered
from mialab.cells.attacked import Attacked
from mialab.cells.models import predictions
from mialab.cells.rows import devices
from mialab.engine.store import Cell


@dataclass(frozen=True)
class ByClass(About):
    """The pruning paper's section 5.5: what an audit of one model says of each class, and of all samples.

    audit: of one model, with `scores`. The cell's info: rows, one for each attack and label (a class's number, or
    "all"): the audit's columns, label; train_accuracy and test_accuracy of members and non-members; train_certainty and
    test_certainty, the mean largest probability; balanced_accuracy of the attack on evaluated samples, at the threshold
    that is best for all known ones, and auc, with intervals. Nothing but the audit's own samples is looked at.
    """

    KIND: ClassVar[str] = "by_class"
    VERSION: ClassVar[int] = 1

    audit: Attacked

    def __post_init__(self) -> None:
        if not self.audit.scores or self.audit.models > 1:
            raise ValueError("ByClass: give an audit of one model with scores=True")

    @property
    def about(self) -> Attacked:
        return self.audit

    def columns(self) -> dict[str, Any]:
        """What tells rows of this cell from others."""
        return self.audit.columns()

    def needs(self) -> tuple[Attacked, Answered]:
        return self.audit, self.audit.target

    def compute(self, inputs: Sequence[Cell], *, scratch: Path) -> Cell:
        audited, trained = inputs
        logits, held = predictions([trained], self.audit.epoch)[0], audited.arrays
        labels = held["labels"]
        everyone = np.ones(len(labels), dtype=bool)
        groups: list[tuple[str | int, np.ndarray]] = [("all", everyone)]
        groups += [(int(label), labels == label) for label in np.unique(labels)]
        rows = [
            {**self.columns(), "attack": attack, "label": label, "seed": self.seed, **part}
            for attack in self.audit.attacks
            if f"scores_{attack}" in held
            for label, where in groups
            for part in [_of(logits, held, held[f"scores_{attack}"][0], where)]
        ]
        return Cell({"rows": rows, "trained_on": devices(inputs[1:])}, {})


def _of(logits: np.ndarray, held: dict[str, np.ndarray], scores: np.ndarray, where: np.ndarray) -> dict[str, Any]:
    member, known = held["member"], held["known"]
    right, certainty = logits.argmax(1) == held["labels"], softmax(logits.astype(np.float64), axis=1).max(1)
    columns: dict[str, Any] = {}
    for side, mask in (("train", where & member), ("test", where & ~member)):
        columns[f"{side}_accuracy"] = float(right[mask].mean())
        columns[f"{side}_certainty"] = float(certainty[mask].mean())
    at, judged = metrics.best_threshold(scores[known], member[known]), where & ~known
    for name, found in (
        ("balanced_accuracy", metrics.balanced_accuracy(scores[judged], member[judged], at)),
        ("auc", metrics.auc_interval(scores[judged], member[judged])),
    ):
        columns |= {name: found and found.value, f"{name}_interval": found and [found.low, found.high]}
    return columns
