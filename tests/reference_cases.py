"""Simulated shadows whose log-odds are Gaussian with known means and deviations, so that the best attack is known."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mialab import attacks, fusion, metrics
from mialab.attacks import Evidence, Known, References


@dataclass(frozen=True, eq=False)
class World:
    """Per sample the Gaussians of log-odds IN and OUT; arrays [n]."""

    mean_in: np.ndarray
    mean_out: np.ndarray
    deviation_in: np.ndarray
    deviation_out: np.ndarray

    def draw(self, inside, rng):
        """Log-odds where `inside` [..., n] says which side they come from."""
        mean = np.where(inside, self.mean_in, self.mean_out)
        return mean + rng.normal(size=inside.shape) * np.where(inside, self.deviation_in, self.deviation_out)

    def log_ratio(self, odds):
        """The Neyman-Pearson score."""
        inside = norm.logpdf(odds, self.mean_in, self.deviation_in)
        return inside - norm.logpdf(odds, self.mean_out, self.deviation_out)


@dataclass(frozen=True, eq=False)
class Case:
    """A target and shadows from one world."""

    world: World
    evidence: Evidence
    member: np.ndarray
    odds: np.ndarray

    def score(self, attack, *, member=None, seed=0):
        attack = attacks.get(attack) if isinstance(attack, str) else attack
        member = self.member if member is None else member
        return attack.score(self.evidence, Known.of(np.zeros(len(member), bool), member), seed)

    def auc(self, attack):
        return metrics.auc_interval(self.score(attack), self.member)

    def oracle(self):
        """The best AUC and the best TPR at 1 % FPR, on this target's very draw."""
        scores = self.world.log_ratio(self.odds)
        return metrics.auc_interval(scores, self.member), metrics.tpr_at_fpr(scores, self.member, 0.01)


def world(n=4000, *, shift=(1.5, 1.5), inside=(1.0, 1.0), outside=(1.0, 1.0), difficulty=2.0, seed=0):
    """Samples of any difficulty; shifts and deviations are uniform between two ends."""
    rng = np.random.default_rng([seed, 1])
    mean_out = difficulty * rng.normal(size=n)
    return World(mean_out + rng.uniform(*shift, n), mean_out, rng.uniform(*inside, n), rng.uniform(*outside, n))


def halves(shadows, n, rng):
    """Each sample in exactly half of the shadows, bool [shadows, n]."""
    return rng.permuted(np.tile(np.arange(shadows) < shadows // 2, (n, 1)), axis=1).T


def case(world, shadows, *, seed=0, classes=3):
    """A target with half of the samples as members, and shadows with halves of their own."""
    rng = np.random.default_rng([seed, 2])
    n = len(world.mean_in)
    labels, member, inside = rng.integers(0, classes, n), rng.random(n) < 0.5, halves(shadows, n, rng)
    odds = world.draw(member, rng)
    references = References(logits_of(world.draw(inside, rng), labels, classes), inside, labels)
    return Case(world, evidence_of(logits_of(odds, labels, classes), labels, references), member, odds)


def logits_of(odds, labels, classes):
    """Logits [..., n, classes] that have these log-odds, the other classes being alike."""
    logits = np.full((*odds.shape, classes), -np.log(classes - 1))
    np.put_along_axis(logits, np.broadcast_to(labels, odds.shape)[..., None], odds[..., None], axis=-1)
    return logits


def evidence_of(logits, labels, references):
    p = fusion.softmax(logits)
    return Evidence(p, fusion.log_confidence(logits), p, labels, references=references)


def overlap(estimate, truth):
    """Whether the estimate lies within the truth's 95 % interval."""
    return truth.low <= estimate.value <= truth.high
