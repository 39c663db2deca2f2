"""What the distribution of the level shows beyond the models' accuracy, which its mean says over again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mialab import divergence
from mialab.agreement.answers import Answers
from mialab.divergence import Divergence
from mialab.metrics import Estimate, auc_interval


@dataclass(frozen=True)
class SideShape:
    """How the level is spread on one side.

    sd: its standard deviation. sd_if_independent: the same if the models, with the accuracies that they have, erred
    independently of each other and were as likely right on every sample. unanimous: the share of samples on which all
    models, or none, are right: of one model always 1.
    """

    sd: float
    sd_if_independent: float
    unanimous: float


@dataclass(frozen=True)
class Shape:
    """The level of correct agreement as evidence of membership, and what accuracy alone would give.

    js: the divergence of the level, its bias removed, with its interval. js_of_accuracy: that of one randomly drawn
    model's correctness, by the observed mean accuracies, in nats: never more than the observed level's. auc: the
    level's, with DeLong's interval; auc_of_accuracy: one model's gap attack, (1 + mean generalisation gap) / 2.
    """

    members: SideShape
    nonmembers: SideShape
    js: Divergence
    js_of_accuracy: float
    auc: Estimate
    auc_of_accuracy: float


def shape(answers: Answers, *, resamples: int = 1000, seed: int = 0) -> Shape:
    """Compare the distribution of the level with what the models' accuracies say already.

    The gap in mean level is the number of models times their mean generalisation gap, whatever the ensemble leaks; so
    evidence that agreement matters (the ensemble paper, 3.2) is what exceeds it. Raises ValueError with fewer than two
    samples on a side, or one model alone: nobody agrees with it. Explained in the chapter "Agreement".
    """
    if answers.models < 2:
        raise ValueError("found 1 model; agreement needs at least two: give outputs [models, samples, classes]")
    inside, outside = (float(answers.right[:, mask].mean()) for mask in (answers.member, ~answers.member))
    level = answers.level.astype(np.float64)
    auc = auc_interval(level, answers.member)
    assert auc is not None  # `Outputs` has both sides
    return Shape(
        members=_spread(answers, answers.member),
        nonmembers=_spread(answers, ~answers.member),
        js=divergence.histogram(level, answers.member, bins=_one_each(answers.models), resamples=resamples, seed=seed),
        js_of_accuracy=float(divergence.js(np.array([inside, 1 - inside]), np.array([outside, 1 - outside]))),
        auc=auc,
        auc_of_accuracy=(1 + inside - outside) / 2,
    )


def _one_each(models: int) -> np.ndarray:
    """Edges that give every level a bin of its own."""
    return np.arange(models + 2) - 0.5


def _spread(answers: Answers, mask: np.ndarray) -> SideShape:
    level, accuracies = answers.level[mask], answers.right[:, mask].mean(axis=1)
    unanimous = float(np.isin(level, (0, answers.models)).mean())
    return SideShape(float(level.std()), math.sqrt(accuracies @ (1 - accuracies)), unanimous)
