"""A loss or a score per sample of reference models, where there are no outputs per class.

They stand beside a model of which a loss or score per sample is given, or, as losses, beside one with outputs per
class: a cross-entropy says the same of it. Explained in the chapter "LiRA".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mialab.attacks.references import Design, checked_member
from mialab.outputs import AuditError, Outputs, shape_of
from mialab.per_sample import ROUNDING, Scores, Signal, groups, per_sample, signal


@dataclass(frozen=True, eq=False)
class ReferenceScores(Design):
    """What shadows lost or scored on the audited samples, and which of these each of them was trained on.

    values: [shadows, samples], or of several queries per sample [shadows, samples, queries]; kept as the latter,
        float64. member: [shadows, samples], as in `References`. labels: [samples] or None; compared with the model's.
    kind: "losses" or "scores", as in `mialab.per_sample.Scores`.
    plain: losses count as they are, as there are negative ones here or in the audited model: see `beside`.
    Raises AuditError where an array is not of that kind, or a shadow was trained on every sample.
    """

    values: np.ndarray
    member: np.ndarray
    labels: np.ndarray | Any = None
    kind: str = "scores"
    plain: bool = False
    signal: Signal = field(init=False)

    def __post_init__(self):
        values = per_sample(self.kind, self.values, shape_of(self.member)[-1:], "shadows")
        labels = None if self.labels is None else groups(self.labels, values.shape[1])
        kept = {"values": values, "member": checked_member(self.member, values.shape[:2]), "labels": labels}
        plain = self.plain or self.kind == "losses" and float(values.min()) < -ROUNDING
        fused = signal(_over_queries(values, self.kind), self.kind, plain=plain)
        for name, value in {**kept, "plain": plain, "signal": fused}.items():
            object.__setattr__(self, name, value)

    @property
    def log_odds(self) -> np.ndarray:
        """Log-odds of the right answer, or what stands for them, float64 [shadows, samples]."""
        return self.signal.odds

    @property
    def log_p(self) -> np.ndarray:
        """Log-probabilities of the right answer, float64 [shadows, samples]."""
        return self.signal.log_p

    @property
    def query_odds(self) -> np.ndarray | None:
        """The odds of each query, float64 [shadows, samples, queries]; None where there is one."""
        if self.values.shape[2] == 1:
            return None
        return signal(self.values, self.kind, plain=self.plain).odds

    def reordered(self, order: np.ndarray) -> ReferenceScores:
        """The same with the samples in another order: sample i is sample order[i] of these; int [samples]."""
        labels = None if self.labels is None else self.labels[order]
        return replace(self, values=self.values[:, order], member=self.member[:, order], labels=labels)

    def check(self, outputs: Outputs | Scores) -> None:
        """Raise AuditError unless these are of the very samples of `outputs`, and on its scale."""
        samples, found = len(outputs.member), self.values.shape[1]
        if found != samples:
            expected = f"found {found} samples; expected {samples}"
            raise AuditError(f"reference: {expected}; let the shadows answer on the audited samples")
        if outputs.labelled and self.labels is not None and (self.labels != outputs.labels).any():
            first = int(np.argmax(self.labels != outputs.labels))
            seen = f"found {self.labels[first]} at sample {first}; expected {outputs.labels[first]}"
            raise AuditError(
                f"labels of the reference: {seen}; let the shadows answer on the samples in the same order"
            )
        beside = outputs.kind if isinstance(outputs, Scores) else "outputs per class"
        if self.kind == "scores" != beside or self.kind == "losses" and beside == "scores":
            remedy = "give both as losses, or both as scores"
            raise AuditError(f"reference: found {self.kind} beside {beside}, which may differ in scale; {remedy}")

    def beside(self, outputs: Outputs | Scores) -> ReferenceScores:
        """These on the scale of the audited model's: plain where its losses have to be. AuditError as `check`."""
        self.check(outputs)
        plain = isinstance(outputs, Scores) and outputs.negative
        return replace(self, plain=True) if plain and not self.plain else self


def _over_queries(values: np.ndarray, kind: str) -> np.ndarray:
    if values.shape[2] == 1:
        return values[:, :, 0]
    if kind == "scores":
        return values.mean(axis=2)
    return np.log(values.shape[2]) - np.logaddexp.reduce(-values, axis=2)
