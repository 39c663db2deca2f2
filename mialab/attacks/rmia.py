"""The robust attack with a population, RMIA (Zarifzadeh et al. 2024): how many other samples does this one beat?

The target's confidence in the true class p(x | target) is compared with p(x), the mean over models that may or may not
have seen x, and that ratio with the same of samples z of the population:

    LR(x, z) = [p(x | target) / p(x)] / [p(z | target) / p(z)],    score(x) = share of all z with LR(x, z) >= gamma.

Online, p(x) is the mean of the means over shadows IN and OUT. Offline only shadows OUT are looked at, and
p(x) = ((1 + a) p_out(x) + 1 - a) / 2; a is chosen from 0, 0.1, ..., 1 as what attacks other shadows best.

z: all audited samples, members and non-members alike (our choice, as an audit has no others): to pick non-members would
take the very membership that is asked for. gamma: 1, as in the authors' tool (the paper uses 2). As every x meets the
same z, the score is a rank of the ratio p(x | target) / p(x): gamma and z can tie samples, but never reorder them, so
the table of all pairs is never made. gamma 1 ties least. Explained in the chapter
"The attack suite".
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from mialab import metrics
from mialab.attacks.base import Attack, Evidence, Known
from mialab.attacks.lacking import DESIGN, NotEnough
from mialab.attacks.reference_scores import ReferenceScores
from mialab.attacks.references import References, enough, with_median

GRID = tuple(k / 10 for k in range(11))
STAND_INS = 4  # shadows that a is chosen on; on a single one, as in the paper, the best a is mostly chance: our choice


@dataclass(frozen=True)
class Rmia(Attack):
    """One version of the attack, `rmia-online` or `rmia-offline`, with gamma and a in its name where they are given.

    a is offline's; None: chosen on shadows. Raises ValueError for numbers that have no meaning.
    """

    online: bool
    gamma: float = 1.0
    a: float | None = None
    name: str = field(init=False)
    reads = ("signal",)
    needs = ("references",)

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise ValueError(f"gamma: found {self.gamma}; expected a positive number, such as 1 or 2")
        if self.a is not None and (self.online or not 0 <= self.a <= 1):
            raise ValueError(f"a: found {self.a}; expected a number from 0 to 1, and offline")
        given = [f"gamma-{self.gamma:g}"] * (self.gamma != 1) + ([] if self.a is None else [f"a-{self.a:g}"])
        object.__setattr__(self, "name", "-".join(["rmia", "online" if self.online else "offline", *given]))

    def score(self, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
        """Scores in [0, 1], float64 [n]. NotEnough without references, or with too few."""
        references = evidence.need("references")
        fine = enough(references, inside=int(self.online), outside=1)
        target = evidence.true_log_p
        outside = _log_mean(references.log_p, ~references.member)
        if self.online:
            prior = np.logaddexp(_log_mean(references.log_p, references.member), outside) - math.log(2)
        else:
            prior = _offline_prior(outside, best_a(references) if self.a is None else self.a)
        ratio = target - prior
        return with_median(_share_beaten(ratio, ratio[fine], self.gamma), fine)


def best_a(references: References | ReferenceScores) -> float:
    """The a with which offline RMIA attacks shadows best: by the mean AUC on a few, all others being references.

    The shadows' membership is the attacker's own; the target's plays no part. Raises NotEnough where no shadow was
    trained on some and not on other samples, or no other shadows can attack it.
    """
    attempts = (_areas(references, k) for k in range(len(references.member)))
    areas = list(itertools.islice(filter(None, attempts), STAND_INS))
    if not areas:
        reason = "chooses a on a shadow trained on some of the samples, with others to attack it, and there is none"
        raise NotEnough(f"{reason}: {DESIGN}, or give a: mialab.attacks.rmia.Rmia(online=False, a=0.3)")
    return GRID[np.argmax(np.mean(areas, axis=0))]


def _areas(references, stand_in):
    """AUC for each a of the grid against one shadow; None where it or its references show one side only."""
    others = np.arange(len(references.member)) != stand_in
    judged = ~references.member[others].all(axis=0)  # some other shadow was trained without the sample
    member = references.member[stand_in, judged]
    if not member.any() or member.all():
        return None
    outside = _log_mean(references.log_p[others][:, judged], ~references.member[others][:, judged])
    answers = references.log_p[stand_in, judged]
    return [metrics.auc(answers - _offline_prior(outside, a), member) for a in GRID]


def _offline_prior(outside: np.ndarray, a: float) -> np.ndarray:
    """log p(x) from log p_out(x)."""
    with np.errstate(divide="ignore"):  # a = 1: log 0 adds nothing
        return np.logaddexp(outside + np.log1p(a), np.log(1 - np.float64(a))) - math.log(2)


def _log_mean(logs: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Log of the mean of exp(logs) [shadows, n] over the marked shadows, whatever underflows; 0 where there is none."""
    top = logs.max(axis=0, where=side, initial=-np.inf)
    empty = np.isneginf(top)
    top[empty] = 0
    total = np.exp(np.where(side, logs - top, -np.inf)).sum(axis=0)
    return np.where(empty, 0, top + np.log(np.where(empty, 1, total / np.maximum(side.sum(axis=0), 1))))


def _share_beaten(ratio: np.ndarray, population: np.ndarray, gamma: float) -> np.ndarray:
    """The share of the population's log-ratios that are below each log-ratio by log gamma at least; O(n log n)."""
    return np.searchsorted(np.sort(population), ratio - math.log(gamma), side="right") / len(population)


ATTACKS = (Rmia(online=True), Rmia(online=False))
VARIANTS = (Rmia(online=True, gamma=2), Rmia(online=False, gamma=2))
