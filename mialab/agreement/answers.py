"""What each model says of each sample, and how many are right about it: the level of correct agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mialab import fusion
from mialab.fusion import FusionRule
from mialab.names import unknown
from mialab.outputs import Outputs

READINGS = ("true", "max")
BLOCK = 1 << 18  # probabilities that are looked at together: they stay in the processor's cache
EQUATION = 1e-5  # by how much Eq. 1 may be off: softmaxes saved in float16 are averaged as they are


def level(logits: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The number of models whose answer, of equally likely classes the first, is the label: int64 [samples].

    logits: one array [samples, classes] per model, or logarithms of probabilities. This is c of the ensemble paper's
    Eq. 1. Raises ValueError as `fusion.stacked`, and for other samples than labels.
    Explained in the chapter "Agreement".
    """
    answered, labels = fusion.stacked(logits).argmax(axis=2), np.asarray(labels)
    if answered.shape[1:] != labels.shape:
        raise ValueError(f"found answers to {answered.shape[1]} samples and labels of shape {list(labels.shape)}")
    return (answered == labels).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Answers:
    """What models say of samples, of which it is known whether they are members.

    right: whether each model classifies each sample correctly, bool [models, samples].
    each: each model's confidence, float64 [models, samples], in the true class, or in the class that the ensemble
        answers; `reading` says which.
    confidence: that of the fused prediction in the same class, float64 [samples].
    correct: whether the ensemble's answer is the label, bool [samples].
    labels: int64 [samples]. member: bool [samples].
    """

    right: np.ndarray
    each: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    labels: np.ndarray
    member: np.ndarray
    reading: str

    @property
    def models(self) -> int:
        """The number of models, n."""
        return len(self.right)

    @cached_property
    def level(self) -> np.ndarray:
        """The number of models that are right, c: int64 [samples]."""
        return self.right.sum(axis=0)

    @cached_property
    def correct_confidence(self) -> np.ndarray:
        """y^c, the mean confidence of the models that are right: float64 [samples], NaN where none is."""
        return _mean_of(self.each, self.right)

    @cached_property
    def misclassified_confidence(self) -> np.ndarray:
        """y^m, the mean confidence of the models that are wrong: float64 [samples], NaN where none is."""
        return _mean_of(self.each, ~self.right)

    def check_equation(self) -> None:
        """Raise ValueError if the fused confidence is not the models' mean, as Eq. 1 has it."""
        off = float(np.abs(self.each.mean(axis=0) - self.confidence).max())
        if off > EQUATION:
            raise ValueError(
                f"the fused confidence differs by up to {off:.2g} from the models' mean, which Eq. 1 is about: "
                "use fusion='confidence'"
            )


def answers(outputs: Outputs, *, fusion: str | FusionRule = "confidence", reading: str = "true") -> Answers:
    """What the models of `outputs` say of each sample.

    reading: "true", confidence is the probability of the true class; or "max", that of the class which the ensemble
    answers: for the fused prediction the largest one. Eq. 1 holds for both under the fusion "confidence". `Outputs`
    checks shapes, labels and that there are members and non-members. Ten models on 60,000 samples of 100 classes take
    about a second and a half. Raises ValueError for another fusion or reading. Explained in the chapter "Agreement".
    """
    if reading not in READINGS:
        raise ValueError(unknown("reading", reading, READINGS))
    shape = outputs.logits.shape[:2]
    right, each = np.empty(shape, dtype=bool), np.empty(shape)
    confidence, correct = np.empty(shape[1]), np.empty(shape[1], dtype=bool)
    for rows in _blocks(outputs.logits):
        labels = outputs.labels[rows]
        p, fused, answered = _predictions(outputs, _rule(fusion), rows)
        column = labels if reading == "true" else answered
        right[:, rows] = outputs.logits[:, rows].argmax(axis=2) == labels
        each[:, rows] = np.take_along_axis(p, column[None, :, None], axis=2)[..., 0]
        confidence[rows] = np.take_along_axis(fused, column[:, None], axis=1)[:, 0]
        correct[rows] = answered == labels
    return Answers(right, each, confidence, correct, outputs.labels, outputs.member, reading)


def _rule(how: str | FusionRule) -> FusionRule:
    return fusion.get(how)


def _predictions(outputs: Outputs, rule: FusionRule, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of some samples: each model's probabilities [models, rows, classes], the fused ones, and the answers [rows]."""
    logits, saved = outputs.logits[:, rows], outputs.probabilities
    p = fusion.softmax(logits) if saved is None else saved[:, rows].astype(np.float64)
    fused = rule.of_softmaxes(p)
    if fused is None:
        return p, rule.confidences(logits), rule.answers(logits)
    return p, fused, fused.argmax(axis=1)


def _blocks(logits: np.ndarray) -> Iterator[slice]:
    models, samples, classes = logits.shape
    step = max(1, BLOCK // (models * classes))
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


def _mean_of(each: np.ndarray, which: np.ndarray) -> np.ndarray:
    number = which.sum(axis=0)
    return np.divide(np.where(which, each, 0).sum(axis=0), number, out=np.full(len(number), np.nan), where=number > 0)
