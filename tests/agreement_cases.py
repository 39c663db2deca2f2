"""Ensembles whose three factors are known: the level's distribution, and the confidence of right and wrong models."""

from typing import NamedTuple

import numpy as np

from mialab.outputs import Outputs


class Truth(NamedTuple):
    """P(c), E[y^c | c] (above 1/2) and E[y^m | c] (below 1/2) of one side, [models + 1] each."""

    share: np.ndarray
    correct: np.ndarray
    misclassified: np.ndarray

    @property
    def confidence(self):
        right = np.linspace(0, 1, len(self.share))
        return right * self.correct + (1 - right) * self.misclassified

    @property
    def mean(self):
        return float(np.dot(self.share, self.confidence))


LOW = Truth(np.array([0.2, 0.1, 0.2, 0.1, 0.4]), np.linspace(0.6, 0.8, 5), np.linspace(0.1, 0.3, 5))
HIGH = Truth(np.array([0.05, 0.05, 0.1, 0.2, 0.6]), np.linspace(0.65, 0.9, 5), np.linspace(0.2, 0.25, 5))


def contributions(members: Truth, nonmembers: Truth):
    """The three of the Shapley decomposition in closed form: agreement, correct, misclassified.

    Mean confidence is linear in each factor, and y^c and y^m never meet in one product: so each changes at the mean of
    the two sides' shares, and the shares at the mean of the two sides' confidences.
    """
    right = np.linspace(0, 1, len(members.share))
    share = (members.share + nonmembers.share) / 2
    confidence = (members.confidence + nonmembers.confidence) / 2
    return (
        (members.share - nonmembers.share) @ confidence,
        share @ (right * (members.correct - nonmembers.correct)),
        share @ ((1 - right) * (members.misclassified - nonmembers.misclassified)),
    )


def outputs(members: Truth, nonmembers: Truth, n=(1000, 1000), *, noise=0.0, seed=None) -> Outputs:
    """Models of which c at random are right about a sample, two classes; float64 logits [models, samples, 2].

    n: members and non-members. Without a seed the levels' counts are n * share as they are, else drawn. noise: uniform
    within +- noise around the means, which it must not carry over 1/2.
    """
    rng = np.random.default_rng(0 if seed is None else seed)
    parts = [_true_class(side, k, noise, rng, seed) for side, k in zip((members, nonmembers), n, strict=True)]
    p, member = np.concatenate(parts, axis=1), np.repeat([1, 0], [part.shape[1] for part in parts])
    labels = rng.integers(0, 2, len(member))
    both = np.where(labels[:, None] == np.arange(2), p[..., None], 1 - p[..., None])
    order = rng.permutation(len(member))
    return Outputs(np.log(both)[:, order], labels[order], member[order])


def _true_class(side: Truth, n, noise, rng, seed):
    """Each model's probability of the true class: [models, samples]."""
    models = len(side.share) - 1
    counts = rng.multinomial(n, side.share) if seed is not None else np.round(n * side.share).astype(int)
    level = np.repeat(np.arange(models + 1), counts)
    right = rng.random((models, len(level))).argsort(axis=0) < level
    mean = np.where(right, side.correct[level], side.misclassified[level])
    return mean + noise * rng.uniform(-1, 1, mean.shape)
