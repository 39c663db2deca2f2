"""The likelihood-ratio attack, LiRA (Carlini et al. 2022): is the target's answer one of shadows IN or of shadows OUT?

Per sample, the log-odds of the true class (section V.A) are Gaussian over the shadows trained with the sample (IN), and
over those trained without it (OUT). Online, the score is the log of the ratio of the two densities at the target's
log-odds (Algorithm 1); offline, where no shadow was trained with the sample, how improbable such high log-odds are OUT
(Algorithm 2). With few shadows one variance for all samples (`fixed`) is better than one for each (section VI).

Paper and released scripts differ, so every choice has a name:

variance    `own` (default): each side has its own; if fixed, pooled within samples over all of them.
            `in`: the IN side's for both, as the released scripts have it where fixed. (They take the spread of all IN
            values, differences between samples included; as one variance for both, its size changes no order.)
against     `tail` (default): -log of the probability OUT of log-odds as high or higher, as published; the logarithm
            keeps the surest apart, where 1 - p would tie them all at 1. `density`: -log of the density OUT, as
            released: two-sided, so that unusually low log-odds speak for membership too.
centre      `mean` (default), as in Algorithm 1; `median`, as released. Spreads are about the mean in either case.
queries     of several queries per sample, such as augmentations: `each` (default) has a Gaussian of its own and the
            mean of their scores counts, as the released scripts have it (queries taken as independent); `averaged`:
            the mean log-odds of all queries are one number.

Scores are float64 and finite. A sample's score depends on the target's answer to it and on the shadows alone; a sample
with too few shadows gets the median score. Explained in the chapter "LiRA".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from mialab.attacks.base import Attack, Evidence, Known
from mialab.attacks.lacking import DESIGN, NotEnough
from mialab.attacks.references import enough, with_median

FEWEST_FOR_VARIANCE = 4  # on a side, for a variance of the sample's own: its root is then known within 40 %; our choice
LEAST_DEVIATION = 1e-6  # of log-odds, in nats: what float32 logits round away
CHOICES = {  # default first
    "variance": ("own", "in"),
    "against": ("tail", "density"),
    "centre": ("mean", "median"),
    "queries": ("each", "averaged"),
}


@dataclass(frozen=True)
class Lira(Attack):
    """One version of the attack, named by its choices: `lira-online-fixed`, `lira-offline-density`.

    online: compare IN with OUT, else look at OUT alone. fixed: one variance for all samples. `variance` is online's,
    `against` offline's. Raises ValueError for a choice that is not named above, or has no meaning.
    """

    online: bool
    fixed: bool = False
    variance: str = "own"
    against: str = "tail"
    centre: str = "mean"
    queries: str = "each"
    name: str = field(init=False)
    reads = ("signal",)
    needs = ("references",)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: found {getattr(self, name)!r}; expected {' or '.join(choices)}")
        if (self.against if self.online else self.variance) not in ("tail", "own"):
            raise ValueError("variance='in' is for online attacks, against='density' for offline ones")
        chosen = [getattr(self, name) for name, choices in CHOICES.items() if getattr(self, name) != choices[0]]
        name = "-".join(["lira", "online" if self.online else "offline", *["fixed"] * self.fixed, *chosen])
        object.__setattr__(self, "name", name)

    def score(self, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
        """Scores, float64 [n]. NotEnough without references, or with too few."""
        references = evidence.need("references")
        fewest, remedy = (1, DESIGN) if self.fixed else (FEWEST_FOR_VARIANCE, f"{DESIGN}, or use a fixed variance")
        fine = enough(references, inside=fewest * self.online, outside=fewest, remedy=remedy)
        if evidence.query_odds is None or references.query_odds is None:
            return with_median(self._scores(evidence.odds, references.log_odds, references.member), fine)
        own, shadows = evidence.query_odds, references.query_odds
        if self.queries == "averaged":
            return with_median(self._scores(own.mean(axis=1), shadows.mean(axis=2), references.member), fine)
        each = [self._scores(own[:, k], shadows[:, :, k], references.member) for k in range(own.shape[1])]
        return with_median(np.mean(each, axis=0), fine)

    def _scores(self, found: np.ndarray, shadows: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Scores of log-odds [n] beside those of shadows [shadows, n], and their membership likewise."""
        outside = self._gaussian(shadows, ~member)
        if not self.online:
            return -log_ndtr(-outside.z(found)) if self.against == "tail" else -_log_density(found, outside)
        inside = self._gaussian(shadows, member)
        outside = outside if self.variance == "own" else Gaussian(outside.centre, inside.deviation)
        return _log_density(found, inside) - _log_density(found, outside)

    def _gaussian(self, values: np.ndarray, side: np.ndarray) -> Gaussian:
        """The Gaussian of each sample's values [shadows, n] on one side; what samples without shadows get is unused."""
        count = side.sum(axis=0)
        mean = values.sum(axis=0, where=side) / np.maximum(count, 1)
        squares = np.square(values - mean).sum(axis=0, where=side)
        freedom = np.maximum(count - 1, 0)
        if self.fixed:
            if not freedom.any():
                raise NotEnough(f"needs shadows: for some sample at least two on a side, to see a spread; {DESIGN}")
            variance = squares.sum() / freedom.sum()
        else:
            variance = squares / np.maximum(freedom, 1)
        centre = mean if self.centre == "mean" else _median(values, side, count)
        return Gaussian(centre, np.maximum(np.sqrt(variance), LEAST_DEVIATION))


class Gaussian(NamedTuple):
    """Centre [n] and standard deviation [n] or one for all."""

    centre: np.ndarray
    deviation: np.ndarray

    def z(self, found: np.ndarray) -> np.ndarray:
        return (found - self.centre) / self.deviation


def _log_density(found: np.ndarray, gaussian: Gaussian) -> np.ndarray:
    return -np.square(gaussian.z(found)) / 2 - np.log(gaussian.deviation * math.sqrt(2 * math.pi))


def _median(values: np.ndarray, side: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The median over each sample's marked values: the others are sorted behind them."""
    ordered = np.sort(np.where(side, values, np.inf).T, axis=1)
    ends = [(np.maximum(count, 1) - 1) // 2, np.minimum(count, len(values) - 1) // 2]
    return np.mean([np.take_along_axis(ordered, end[:, None], axis=1)[:, 0] for end in ends], axis=0)


ATTACKS = tuple(Lira(online, fixed) for fixed in (False, True) for online in (True, False))
ONE_CHOICE = (
    Lira(online=True, variance="in"),
    Lira(online=True, fixed=True, variance="in"),
    Lira(online=False, against="density"),
    Lira(online=False, fixed=True, against="density"),
)
RELEASED = (
    Lira(online=True, centre="median"),
    Lira(online=True, fixed=True, variance="in", centre="median"),
    Lira(online=False, against="density", centre="median"),
    Lira(online=False, fixed=True, against="density", centre="median"),
)
AVERAGED = tuple(Lira(online, fixed, queries="averaged") for fixed in (False, True) for online in (True, False))
VARIANTS = (*AVERAGED, *ONE_CHOICE, *RELEASED)
