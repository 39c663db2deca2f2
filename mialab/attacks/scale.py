"""How attack networks are shown answers that are all but certain: stretched, so that they can be told apart.

The papers' networks read confidences p. Where most answers are sure, these are nearly all 0 or 1, and a network of
numbers of size one cannot tell 0.999 from 0.9999, though the loss can, and members from others by it. There the audit
shows networks what is left beside each class, as -log(1 - p): of a small p this is p itself, of one near 1 its
log-odds. On planted sure models whose loss has an AUC of .77, networks on p reach .48 to .69, on -log(1 - p) .73 to
.77; on models of the chapters, where 55 to 70 % of the answers are above 0.99, these do no worse. Explained in the
appendix "Attacks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mialab.fusion import Rows, log_odds

SATURATED = 1e-2  # what is left beside the likeliest class, below which a network on confidences sees little
MOST_SATURATED = 0.5  # share of such samples, from which on answers are stretched
ON_FEATURES = ("neural-published", "neural-released", "neural-per-class")  # whose networks read `Evidence.inputs`
ON_FUSED = ("nasr-paper", "nasr-code", "nasr-paper-x", "shadow-shokri", "shadow-rahman", "samia")  # `Evidence.shown`
ENOUGH = 1_000_000  # numbers [n, classes] that the scale is taken from
LEAST, MOST = 0.01, 0.9  # shares of the largest ones that lie below the floor, and (of unlike ones) half the ceiling
BELOW = 0.9  # the floor is so much of that: where all are alike, the likeliest class still stands out


def saturated(top: np.ndarray) -> bool:
    """Whether most answers are sure, by the probability [n] of the likeliest class."""
    return share_of_saturated(top) > MOST_SATURATED


def share_of_saturated(top: np.ndarray) -> float:
    """The share of sure answers."""
    return float((top > 1 - SATURATED).mean())


@dataclass(frozen=True)
class Scale:
    """-log(1 - p) of every class between a floor and a ceiling, less their mean and over their spread.

    The four numbers are those of the target's answers, members' and others' alike: nobody's membership is looked at.
    What shadows answer is put on the target's scale.
    """

    floor: float
    ceiling: float
    mean: float
    spread: float

    @classmethod
    def of(cls, log_p: np.ndarray | Rows) -> Scale:
        """The scale of log-probabilities [n, classes], precise near 0; of very many a part, drawn at random, suffices.

        The floor lies below nearly all largest ones, and the ceiling far above: probabilities that were rounded to 1
        may be infinitely far away.
        """
        few = max(1, ENOUGH // log_p.shape[1])
        drawn = np.random.default_rng(0).permutation(len(log_p))[:few]
        stretched = _stretched(np.asarray(log_p[drawn]))
        top = stretched.max(axis=1)
        ceiling = 2 * np.quantile(np.unique(top), MOST, method="lower")
        floor = BELOW * min(np.quantile(top, LEAST), ceiling / 2)
        stretched = stretched.clip(floor, ceiling)
        return cls(float(floor), float(ceiling), float(stretched.mean()), float(stretched.std()) or 1.0)

    def __call__(self, log_p: np.ndarray) -> np.ndarray:
        """Log-probabilities [n, classes] on this scale, float32."""
        return ((_stretched(log_p).clip(self.floor, self.ceiling) - self.mean) / self.spread).astype(np.float32)

    def rows(self, log_p: np.ndarray | Rows) -> np.ndarray | Rows:
        """The same; of `Rows` a few at a time, when they are asked for."""
        if not isinstance(log_p, Rows):
            return self(log_p)
        return Rows(lambda samples: self(log_p.of(samples)), log_p.order, log_p.shape[1])


def _stretched(log_p: np.ndarray) -> np.ndarray:
    """-log(1 - p) of every class, float64 [n, classes].

    That of the likeliest class is taken from the others, so that the surest answers stay apart.
    """
    rows, top = np.arange(len(log_p)), log_p.argmax(axis=1)
    with np.errstate(divide="ignore"):
        stretched = -np.log1p(-np.exp(log_p))
    stretched[rows, top] = log_odds(log_p, top) - log_p[rows, top]
    return stretched
