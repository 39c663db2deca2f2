"""Whether labels number the classes otherwise than the answers do: found on one half, tested on the other.

Explained in the chapter "The audit".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtrc

FEWEST = 20  # samples
MOST_CLASSES = 2000
MOST_LOST = 0.1  # of what renaming gains, by classes that are worse off: by chance, as some are rare
LEAST_GAIN = 0.05  # of all samples: how many more are right under another numbering


@dataclass(frozen=True)
class Relabelling:
    """Another numbering of the classes that fits the answers better: `classes` tells the answer for each label.

    accuracy, renamed: shares of right answers as they stand, and under the other numbering. shift: what each label is
    too large by, or 0. least: whether it is the smallest output that names the class.
    """

    accuracy: float
    renamed: float
    classes: dict[str, int]
    shift: int = 0
    least: bool = False

    @property
    def how(self) -> str:
        """The other numbering in words."""
        if self.least:
            return "if the smallest output is taken for the answer"
        if self.shift:
            return f"if each label is lowered by {self.shift}" if self.shift > 0 else "if each label is raised by 1"
        return "if classes are renamed"


def relabelling(answers: np.ndarray, labels: np.ndarray, least: np.ndarray, *, alpha: float) -> Relabelling | None:
    """The numbering that fits better than the labels' own, int64 [n] each; None if there is none.

    least: the class of the smallest output [n]. Classes that are renamed must be better off by it. alpha: chance of
    a false alarm where the labels' own numbering is as good (a sign test on samples that had no say in the choice).
    """
    classes = int(max(answers.max(), labels.max())) + 1
    if len(labels) < FEWEST or classes > MOST_CLASSES:
        return None
    found = [_shifted(answers, labels, shift, alpha) for shift in (1, -1)] if classes > 2 else []
    found += [
        _turned(answers, labels, least, alpha) if classes > 2 else None,
        _renamed(answers, labels, classes, alpha),
    ]
    return max(filter(None, found), key=lambda one: one.renamed, default=None)


def _shifted(answers, labels, shift, alpha):
    right, other = answers == labels, answers == labels - shift
    named = {str(label): int(label - shift) for label in np.unique(labels)}
    return Relabelling(float(right.mean()), float(other.mean()), named, shift) if _better(other, right, alpha) else None


def _turned(answers, labels, least, alpha):
    right, other = answers == labels, least == labels
    return Relabelling(float(right.mean()), float(other.mean()), {}, 0, True) if _better(other, right, alpha) else None


def _better(other: np.ndarray, right: np.ndarray, alpha: float) -> bool:
    """Whether more samples are right by the other numbering, surely and by enough: a sign test on those that differ."""
    won, lost = int((other & ~right).sum()), int((right & ~other).sum())
    return won - lost >= LEAST_GAIN * len(right) and bool(bdtrc(won - 1, won + lost, 0.5) < alpha)


def _renamed(answers, labels, classes, alpha):
    first = np.random.default_rng(0).permutation(len(labels)) < len(labels) // 2
    confusion = _confusion(answers[first], labels[first], classes)
    if (confusion.max(axis=1) == np.diag(confusion)).all():
        return None
    moved = linear_sum_assignment(confusion, maximize=True)[1]
    judged = _confusion(answers[~first], labels[~first], classes)
    own, other = np.diag(judged), judged[np.arange(classes), moved]
    seen = (moved != np.arange(classes)) & (judged.sum(axis=1) >= 1)
    lost = np.maximum(own - other, 0)[seen].sum()
    if lost > MOST_LOST * (other - own)[seen].sum() or not _above_chance(judged, moved):
        return None
    mapped = moved[labels] == answers
    if not _better(mapped[~first], (answers == labels)[~first], alpha):
        return None
    named = {str(k): int(moved[k]) for k in np.flatnonzero(seen)}
    return Relabelling(float((answers == labels).mean()), float(mapped.mean()), named)


def _above_chance(judged: np.ndarray, moved: np.ndarray) -> bool:
    """Whether the other numbering is right more often than answers of these shares would be anyway."""
    n = judged.sum()
    chance = judged.sum(axis=1) @ judged.sum(axis=0)[moved] / n**2
    hits = judged[np.arange(len(moved)), moved].sum()
    return bool(hits > n * chance + 4 * np.sqrt(n * chance * (1 - chance)))


def _confusion(answers: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)
