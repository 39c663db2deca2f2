"""What an estimate of a divergence is, and which samples it counts with which weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mialab.divergence import bounds, exact

FEWEST = 2  # samples on each side for a class to count: one left out must leave one


class Null(NamedTuple):
    """What the estimate is where membership says nothing: mean and 95 % quantile in nats.

    The p value is the probability, under it, of the value found or more.
    """

    mean: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Divergence:
    """An estimated Jensen-Shannon divergence in nats, with its 95 % interval, the bias removed, and its null.

    Sides weigh one half each, whatever their numbers. Value and ends may fall below 0: what is right on average errs on
    both sides of it. Where `lower_bound` is true, value and interval are those of a number that the divergence reaches
    or exceeds.
    """

    value: float
    low: float
    high: float
    bias: float  # nats taken off the plug-in value; 0 where there is none
    null: Null
    lower_bound: bool
    members: int  # samples counted; those of classes left out are not
    nonmembers: int

    @property
    def bits(self) -> float:
        """The value in bits."""
        return exact.in_bits(self.value)

    @property
    def distance(self) -> float:
        """The square root of the value in nats, 0 where that is negative: what SciPy's `jensenshannon` returns."""
        return float(exact.distance(self.value))

    @property
    def gain(self) -> float:
        """The gain of the best attack on these outputs in nats, -log 4 + 2 JS (Eq. 10)."""
        return exact.optimal_gain(self.value)

    @property
    def accuracy(self) -> bounds.Bounds:
        """Between what the best balanced accuracy on these outputs lies, by the interval's ends.

        A lower bound on the divergence caps nothing: the upper one is then 1. An attack that looks at x is not covered.
        """
        most = 1.0 if self.lower_bound else float(bounds.accuracy_bounds(self.high).high)
        return bounds.Bounds(float(bounds.accuracy_bounds(self.low).low), most)


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples that count, each of a side and a class, and what each class weighs."""

    rows: np.ndarray  # int [counted]: their places among all samples
    member: np.ndarray  # bool [counted]
    group: np.ndarray  # int [counted]: the class, numbered from 0
    counts: np.ndarray  # int [classes, 2]: non-members and members

    @property
    def shares(self) -> np.ndarray:
        """The classes' weights, float [classes], sum 1: the mean of a class's shares among members and non-members."""
        return (self.counts / self.counts.sum(axis=0)).mean(axis=1)

    @property
    def weights(self) -> np.ndarray:
        """Each sample's, float [counted]: half of its class's, shared with those of its class on its side. Sum 1."""
        return self.shares[self.group] / 2 / self.counts[self.group, self.member.astype(int)]

    def classes(self) -> Iterator[np.ndarray]:
        """The places of each class among the counted samples, class by class."""
        order = np.argsort(self.group, kind="stable")
        yield from np.split(order, np.cumsum(self.counts.sum(axis=1))[:-1])


def count(n: int, member: np.ndarray, labels: np.ndarray | None) -> Samples:
    """Sort n samples by membership (bool or 0/1 [n]) and class (labels [n], or None: one class).

    A class with fewer than two samples on a side cannot be measured: it is left out, and the other weights sum to 1.
    Raises ValueError for unequal lengths, other memberships, or no class left.
    """
    member, labels = np.asarray(member), np.zeros(n, dtype=int) if labels is None else np.asarray(labels)
    if member.shape != (n,) or labels.shape != (n,):
        raise ValueError(f"samples, member and labels must be of one length: {n}, {member.shape} and {labels.shape}")
    if not np.isin(member, (0, 1)).all():
        raise ValueError("member must be 0 or 1")
    group = np.unique(labels, return_inverse=True)[1]
    counts = np.bincount(2 * group + member.astype(int), minlength=2 * (group.max(initial=0) + 1)).reshape(-1, 2)
    enough = counts.min(axis=1) >= FEWEST
    if not enough.any():
        raise ValueError(f"needs at least {FEWEST} members and {FEWEST} non-members of one class: give more samples")
    rows = np.flatnonzero(enough[group])
    return Samples(rows, member[rows].astype(bool), (np.cumsum(enough) - 1)[group[rows]], counts[enough])
