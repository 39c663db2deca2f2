"""How attack networks are shown answers that are all but certain: as log-odds of each class, on a scale of about one.

The papers' networks read confidences. Where most answers are sure, these are all near 0 or 1, and a network of numbers
of size one cannot tell 0.999 from 0.9999, though the loss can, and members from others by it. Here the fused answers of
a planted sure model had a loss of AUC .77, and the networks .48 to .56 on confidences, .71 to .77 on log-odds; the two
are about even where half of the likeliest classes lie above 0.98. Explained in the appendix "Attacks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mialab.fusion import Rows, log_odds

SATURATED = 1e-2  # what is left beside the likeliest class, below which a network on confidences sees little
MOST_SATURATED = 0.5  # share of such samples, from which on networks are shown log-odds
ON_FEATURES = ("neural-published", "neural-released", "neural-per-class")  # whose networks read `Evidence.inputs`
ON_FUSED = ("nasr-paper", "nasr-code", "nasr-paper-x", "shadow-shokri", "shadow-rahman", "samia")  # `Evidence.shown`
ENOUGH = 1_000_000  # numbers [n, classes] that the scale is taken from
BEYOND = 2.0  # log-odds are cut off at so many times those of nearly all


def saturated(top: np.ndarray) -> bool:
    """Whether most answers are sure, by the probability [n] of the likeliest class."""
    return share_of_saturated(top) > MOST_SATURATED


def share_of_saturated(top: np.ndarray) -> float:
    """The share of sure answers."""
    return float((top > 1 - SATURATED).mean())


@dataclass(frozen=True)
class LogOdds:
    """Log-odds of every class, cut off at +-most, less their mean and over their spread.

    The three numbers are those of the target's answers, members' and others' alike: nobody's membership is looked at.
    What shadows answer is put on the target's scale.
    """

    most: float
    mean: float
    spread: float

    @classmethod
    def of(cls, log_p: np.ndarray | Rows) -> LogOdds:
        """The scale of log-probabilities [n, classes], precise near 0; of very many a part, drawn at random, suffices.

        What is far beyond the other answers (a class ruled out, a probability that was rounded to 0) is cut off.
        """
        few = max(1, ENOUGH // log_p.shape[1])
        drawn = np.random.default_rng(0).permutation(len(log_p))[:few]
        odds = log_odds_of_all(np.asarray(log_p[drawn]))
        most = BEYOND * float(np.quantile(np.unique(odds.max(axis=1)), 0.9, method="lower"))
        odds = odds.clip(-most, most)
        return cls(most, float(odds.mean()), float(odds.std()) or 1.0)

    def __call__(self, log_p: np.ndarray) -> np.ndarray:
        """Log-probabilities [n, classes] on this scale, float32."""
        odds = log_odds_of_all(log_p).clip(-self.most, self.most)
        return ((odds - self.mean) / self.spread).astype(np.float32)

    def rows(self, log_p: np.ndarray | Rows) -> np.ndarray | Rows:
        """The same; of `Rows` a few at a time, when they are asked for."""
        if not isinstance(log_p, Rows):
            return self(log_p)
        return Rows(lambda samples: self(log_p.of(samples)), log_p.order, log_p.shape[1])


def log_odds_of_all(log_p: np.ndarray) -> np.ndarray:
    """log p - log(1 - p) of every class, float64 [n, classes]; -inf for a class that is ruled out.

    That of the likeliest class is taken from the others, so that the surest answers stay apart.
    """
    top = log_p.argmax(axis=1)
    with np.errstate(divide="ignore"):
        odds = log_p - np.log1p(-np.exp(log_p))
    odds[np.arange(len(odds)), top] = log_odds(log_p, top)
    return odds
