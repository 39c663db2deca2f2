"""Outputs of reference models, trained on random halves of the samples: what LiRA, RMIA and shadow attacks learn from.

A shadow is the whole pipeline: a pruned model for a pruned target, a defended one for a defended target, and for an
ensemble an entire ensemble, of which a sample is a member if any of its models was trained on it. The attacker made
the shadows, so their membership is his to know; the target's is never asked. Explained in the chapter "LiRA".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mialab import fusion
from mialab.attacks.lacking import DESIGN, NoOpinion, NotEnough
from mialab.fusion import FusionRule, log_odds
from mialab.outputs import (
    AuditError,
    Outputs,
    class_indices,
    finite,
    logarithms,
    logarithms_by_query,
    membership,
    over_queries,
    queries,
    scores,
    sensitivities,
    shape_of,
    softmaxes,
    two_outputs,
)
from mialab.per_sample import Scores

MOST_WITHOUT_OPINION = 0.1  # of the samples; with more of them an attack is not worth its name


class Design:
    """Which shadows were trained on which samples: member, bool [shadows, samples]."""

    member: np.ndarray

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """How many shadows were trained with each sample, and how many without it: int64 [samples] each."""
        inside = self.member.sum(axis=0)
        return inside, len(self.member) - inside

    def __str__(self) -> str:
        inside, outside = (f"{side.min()} to {side.max()}" for side in self.counts)
        return (
            f"{len(self.member)} reference models; each sample in the training sets of {inside}, outside of {outside}"
        )


@dataclass(frozen=True, eq=False)
class References(Design):
    """What shadows answered on the audited samples, and which of these each of them was trained on.

    logits: numbers [shadows, samples, classes], the samples in the order of the audited outputs.
    member: [shadows, samples], 1 or True where the shadow was trained on the sample (IN), else 0 or False (OUT).
        Of several queries per sample [shadows, samples, queries, classes]: kept are the logarithms of their mean
        confidences, and `query_odds`.
    labels: the true classes [samples].
    sensitivity: how far each probability moves under noise [shadows, samples, classes], as
        `mialab.attacks.sensitivity` measures it; None where nobody asked.
    Raises AuditError where an array is not of that kind, or a shadow was trained on every sample.
    """

    logits: np.ndarray
    member: np.ndarray
    labels: np.ndarray
    sensitivity: np.ndarray | None = None
    query_odds: np.ndarray | None = field(default=None, init=False)  # float64 [shadows, samples, queries]

    def __post_init__(self):
        given = self.logits
        if len(shape_of(given)) > 2:
            given = two_outputs("logits", given, np.zeros_like)
        by_query = queries("logits", given, "shadows") if len(shape_of(given)) == 4 else None
        if by_query is not None and shape_of(self.labels)[:1] not in (by_query.shape[1:2], ()):
            found = f"found shape {list(by_query.shape)}; expected [shadows, samples, classes]"
            raise AuditError(f"logits: {found}; of whole ensembles fuse each ensemble first")
        given = given if by_query is None else over_queries(by_query)
        logits = finite(scores("logits", given, "shadows", ruled_out=True))
        shadows, samples, classes = logits.shape
        member = checked_member(self.member, (shadows, samples))
        labels = class_indices(self.labels, samples, classes)
        for name, array in (("logits", logits), ("member", member), ("labels", labels)):
            object.__setattr__(self, name, array)
        if by_query is not None:
            object.__setattr__(self, "query_odds", odds_by_query(by_query, labels))
        if self.sensitivity is not None:
            moved = sensitivities("sensitivity of the reference", self.sensitivity, logits.shape)
            object.__setattr__(self, "sensitivity", moved)

    @classmethod
    def from_probabilities(cls, probabilities, member, labels) -> References:
        """The same from softmax outputs [shadows, samples, classes], a zero raised as `Outputs` raises it."""
        if len(shape_of(probabilities)) > 2:
            probabilities = two_outputs("probabilities", probabilities, lambda p: 1 - p)
        if len(shape_of(probabilities)) == 4:
            return cls(logarithms_by_query("probabilities", probabilities, "shadows"), member, labels)
        return cls(logarithms(softmaxes("probabilities", probabilities, "shadows")), member, labels)

    @classmethod
    def of_ensembles(cls, logits: Iterable, member, labels, *, how: str | FusionRule = "confidence") -> References:
        """The same from whole ensembles [shadows, models, samples, classes], each fused by the target's rule.

        logits may be an iterator over shadows: one ensemble at a time is held. What is kept are the fused
        log-probabilities, at least float32; a probability of zero counts as the smallest positive number. Raises
        AuditError.
        """
        fused = []
        for k, one in enumerate(logits):
            one = finite(scores(f"shadow {k}", one, ruled_out=True))
            try:
                log_p = fusion.fuse(one, how)
            except ValueError as error:
                raise AuditError(f"fusion: {error}") from None
            log_p[np.isneginf(log_p)] = fusion.SMALLEST
            fused.append(log_p.astype(np.result_type(one, np.float32), copy=False))
        return cls(_stacked(fused), member, labels)

    @cached_property
    def log_odds(self) -> np.ndarray:
        """log p_y / (1 - p_y) of every shadow on every sample, float64 [shadows, samples]; one shadow at a time."""
        odds = np.empty(self.member.shape)
        for one, row in zip(self.logits, odds, strict=True):
            row[:] = log_odds(one, self.labels)
        return odds

    @cached_property
    def log_p(self) -> np.ndarray:
        """Log-probabilities of the true class, float64 [shadows, samples]."""
        return log_p(self.log_odds)

    def reordered(self, order: np.ndarray) -> References:
        """The same with the samples in another order: sample i is sample order[i] of these; int [samples]."""
        moved = None if self.sensitivity is None else self.sensitivity[:, order]
        turned = References(self.logits[:, order], self.member[:, order], self.labels[order], moved)
        turned.__dict__["log_odds"] = self.log_odds[:, order]  # found once for all audits on these shadows
        if self.query_odds is not None:
            object.__setattr__(turned, "query_odds", self.query_odds[:, order])
        return turned

    def check(self, outputs: Outputs | Scores) -> None:
        """Raise AuditError unless these are outputs on the very samples and classes of `outputs`."""
        same_samples(self.logits.shape, outputs)
        if outputs.labelled:
            _same_labels(self.labels, outputs)


def checked_member(member, shape: tuple[int, int]) -> np.ndarray:
    """Membership as bool [shadows, samples]; AuditError where a shadow was trained on every sample."""
    found = membership(member, shape)
    if (full := found.all(axis=1)).any():
        seen = f"shadow {np.argmax(full)} trained on every sample"
        raise AuditError(f"member: found {seen}; expected some left out; train shadows on random halves")
    return found


def odds_by_query(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-odds of each query: logits [models, samples, queries, classes] to float64 [models, samples, queries]."""
    each = [[log_odds(one[:, k], labels) for k in range(one.shape[1])] for one in logits]
    return np.stack([np.stack(rows, axis=1) for rows in each])


def log_p(odds: np.ndarray) -> np.ndarray:
    """Log-probability of the true class from its log-odds, precise where either is near 0 or 1; float64."""
    return -np.logaddexp(0, -odds)


def enough(references: Design, *, inside: int = 0, outside: int = 0, remedy: str = DESIGN) -> np.ndarray:
    """Marks samples with that many shadows trained with and without them, bool [samples].

    Warns, with the number, if some have fewer; raises NotEnough, with the remedy, if more than a tenth have.
    """
    has_in, has_out = references.counts
    fine = (has_in >= inside) & (has_out >= outside)
    needed = " and ".join(
        f"{least} {kind}" for least, kind in ((inside, "trained with each sample"), (outside, "without it")) if least
    )
    short = len(fine) - int(fine.sum())
    if short > MOST_WITHOUT_OPINION * len(fine):
        raise NotEnough(f"needs shadows: {needed}; {100 * short / len(fine):.3g} % of samples have fewer; {remedy}")
    if short:
        message = f"{short} of {len(fine)} samples get the median score: they have fewer shadows than {needed}"
        warnings.warn(message, NoOpinion, stacklevel=3)
    return fine


def with_median(values: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """The scores, their median standing in where they are not `fine`: no opinion."""
    return values if fine.all() else np.where(fine, values, np.median(values[fine]))


def _stacked(fused: list[np.ndarray]) -> np.ndarray:
    shapes = sorted({one.shape for one in fused})
    if len(shapes) > 1:
        found = f"found shadows of shapes {' and '.join(str(list(shape)) for shape in shapes)}; expected one shape"
        raise AuditError(f"logits: {found}; let all shadows answer on the same samples")
    return np.stack(fused) if fused else np.empty((0, 0, 0))


def same_samples(shape: tuple[int, ...], outputs: Outputs | Scores) -> None:
    """Raise AuditError, with the remedy, where outputs of that shape are not on the very samples and classes."""
    samples = len(outputs.member)
    if len(shape) == 4 and shape[1] != samples and shape[2] == samples:
        found = f"found shape {list(shape)}; expected [shadows, samples, classes]"
        raise AuditError(f"reference: {found}; of whole ensembles fuse each ensemble first")
    if len(shape) == 2 and shape[1] == samples:
        found = f"found shape {list(shape)}, one number per sample; expected [shadows, samples, classes]"
        remedy = "if it is the loss, call the array losses; a true class's logit alone does not do"
        raise AuditError(f"reference: {found}; {remedy}")
    if len(shape) == 4:
        shape = (*shape[:2], shape[3])  # several queries per sample
    expected = outputs.logits.shape[1:] if isinstance(outputs, Outputs) else (samples, shape[-1])
    if len(shape) == 3 and shape[1] != expected[0] and (turned := _turned(shape, expected[0])):
        found = f"found shape {list(shape)}; expected [shadows, {expected[0]} samples, {expected[1]} classes]"
        raise AuditError(f"reference: {found}; {turned}")
    if len(shape) == 3 and shape[1:] != expected:
        found = f"found {shape[1]} samples and {shape[2]} classes; expected {expected[0]} and {expected[1]}"
        raise AuditError(f"reference: {found}; let the shadows answer on the audited samples")


def _turned(shape: tuple[int, ...], samples: int) -> str | None:
    """What to do if samples are another axis than the second."""
    if samples not in (shape[0], shape[2]):
        return None
    return f"the axes are turned: use np.swapaxes(logits, {0 if shape[0] == samples else 2}, 1)"


def _same_labels(labels, outputs: Outputs | Scores) -> None:
    if len(different := np.flatnonzero(labels != outputs.labels)):
        found = f"found {labels[different[0]]} at sample {different[0]}; expected {outputs.labels[different[0]]}"
        raise AuditError(f"labels of the reference: {found}; let the shadows answer on the samples in the same order")
