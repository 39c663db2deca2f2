"""Distributions of confidence, split by correctness, and how far members' are from non-members' (Figure 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mialab import divergence
from mialab.agreement.answers import Answers
from mialab.divergence import Divergence
from mialab.metrics import Estimate, auc_interval

FEWEST = 2  # samples on each side for a divergence


class Units(NamedTuple):
    """One divergence in all units that a paper may print without naming them.

    nats, bits: the divergence. distance, distance_bits: the roots of these; SciPy's `jensenshannon` returns the first,
    and with base=2 the second. Where Figure 2 of the ensemble paper says "divergence", it may mean any of the four.
    """

    nats: float
    bits: float
    distance: float
    distance_bits: float


def units(nats: float) -> Units:
    """A divergence in nats in all units; an estimate below 0 has distance 0."""
    bits = divergence.in_bits(nats)
    return Units(float(nats), float(bits), math.sqrt(max(nats, 0.0)), math.sqrt(max(bits, 0.0)))


@dataclass(frozen=True, eq=False)
class Part:
    """The confidence in some samples, of members and of non-members: float64 [samples] each, for a figure.

    js: their divergence, bias removed, with its interval and what it is where membership says nothing; None with fewer
    than two samples on a side. auc: of the confidence as a score, with DeLong's interval; None where a side is empty.
    """

    members: np.ndarray
    nonmembers: np.ndarray
    js: Divergence | None
    auc: Estimate | None

    @property
    def units(self) -> Units | None:
        """The divergence, bias removed, in all units."""
        return None if self.js is None else units(self.js.value)

    @property
    def plug_in(self) -> Units | None:
        """The divergence of the histogram as it stands, whose bias is not removed, in all units: what papers print."""
        return None if self.js is None else units(self.js.value + self.js.bias)

    @property
    def means(self) -> tuple[float, float]:
        """The mean on members and on non-members; NaN of nobody."""
        return _mean(self.members), _mean(self.nonmembers)

    @property
    def sds(self) -> tuple[float, float]:
        """The standard deviation on members and on non-members; NaN of nobody."""
        return _sd(self.members), _sd(self.nonmembers)


@dataclass(frozen=True, eq=False)
class Split:
    """All samples, those that the ensemble classifies correctly, and those that it misclassifies.

    label: the class that all of them have; None for samples of all classes. reading: of confidence, as in `Answers`.
    """

    everyone: Part
    correct: Part
    misclassified: Part
    label: int | None
    reading: str


def split(
    answers: Answers, *, label: int | None = None, bins: int | None = None, resamples: int = 1000, seed: int = 0
) -> Split:
    """The distributions of the fused confidence behind the ensemble paper's Figure 2, over all classes or in one.

    label: the class, 2 in the figure; None for all. bins: None for bins of equal mass, whose number follows the number
    of samples: the better estimate. Or a number of equally wide bins from 0 to 1, as a drawn histogram has them; its
    `plug_in` is what such a figure prints, and grows with their number. JS, its bias and interval are those of
    `mialab.divergence.histogram`. For the figure's upper row give one model's outputs.
    Raises ValueError for a class that no sample has, or fewer than one bin. Explained in the chapter "Agreement".
    """
    if label is not None and label not in answers.labels:
        raise ValueError(
            f"no sample has label {label}; labels run from {answers.labels.min()} to {answers.labels.max()}"
        )
    if bins is not None and bins < 1:
        raise ValueError(f"bins: found {bins}; expected a whole number above 0, or None")
    kept = np.full(len(answers.labels), True) if label is None else answers.labels == label
    edges = None if bins is None else np.linspace(0, 1, bins + 1)
    everyone, correct, misclassified = (
        _part(answers.confidence[mask], answers.member[mask], edges, resamples, seed)
        for mask in (kept, kept & answers.correct, kept & ~answers.correct)
    )
    return Split(everyone, correct, misclassified, label, answers.reading)


def _part(confidence: np.ndarray, member: np.ndarray, edges: np.ndarray | None, resamples: int, seed: int) -> Part:
    few = min(np.count_nonzero(member), np.count_nonzero(~member)) < FEWEST
    js = None if few else divergence.histogram(confidence, member, bins=edges, resamples=resamples, seed=seed)
    return Part(confidence[member], confidence[~member], js, auc_interval(confidence, member))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _sd(values: np.ndarray) -> float:
    return float(values.std()) if len(values) else math.nan
