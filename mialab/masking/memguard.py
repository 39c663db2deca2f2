"""MemGuard (Jia et al. 2019): noise in the answer, made against an attack network that the owner trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from mialab.attacks.network import Network
from mialab.fusion import softmax
from mialab.masking.mask import Mask
from mialab.seeds import derive

FLOOR = 1e-12  # of confidences, whose logarithms the noise is added to


@dataclass(frozen=True)
class MemGuard(Mask):
    """Adds noise to a softmax s so that the owner's network answers one half, as small as can be found.

    The owner's network h gives log-odds of membership; it has `hidden` ReLU layers and learns for `epochs` from
    softmaxes of members and as many reference rows, in batches of 32. Noise e is added to log s and goes down the
    gradient, in steps of length `step`, of

        |h(s')| + label_weight max(0, largest other log s' - the label's) + weight |s' - s|_1,  s' = softmax(log s + e),

    until h changes its sign and the label is the largest, within `steps` steps. The weight of the distance starts at
    `distance_weight` and grows tenfold as long as that succeeds, up to `most_weight`: the last success counts.

    The noise r that is found is then shown with a chance of min(1, budget / |r|_1), so that a sample's expected change
    is at most the budget (of 2 that there can be); and never where h is not nearer to one half with it. Raises
    ValueError for a budget below 0, and where it masks before `fit`. Numbers are the authors' where they state them
    (our reading of the paper), the layers and epochs ours.
    """

    NAME: ClassVar[str] = "MemGuard"
    VERSION: ClassVar[int] = 1
    LEARNS: ClassVar[bool] = True

    budget: float = 1.0
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 30
    steps: int = 100
    step: float = 0.1
    label_weight: float = 10.0
    distance_weight: float = 0.1
    most_weight: float = 1e3
    network: Network | None = None

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise ValueError(f"MemGuard: the budget must be at least 0, not {self.budget}")

    @property
    def dial(self) -> float:
        return self.budget

    def fit(self, members: np.ndarray, others: np.ndarray, seed: int) -> MemGuard:
        """The same with a network of its own, which has learnt from softmaxes [n, classes] of both sides."""
        draw = np.random.default_rng(derive(seed, "memguard"))
        pairs, network = min(len(members), len(others)), Network((members.shape[1], *self.hidden), draw)
        truth = (np.arange(2 * pairs) < pairs).astype(np.float32)
        with threadpool_limits(1, "blas"):
            for _ in range(self.epochs):
                sides = [side[draw.permutation(len(side))[:pairs]] for side in (members, others)]
                x, order = np.concatenate(sides).astype(np.float32), draw.permutation(2 * pairs)
                for some in np.split(order, range(32, len(order), 32)):
                    network.step(x[some], truth[some])
        return replace(self, network=network)

    def __call__(self, p: np.ndarray, seed: int) -> np.ndarray:
        p = np.asarray(p, dtype=np.float64)
        noisy = self.noisy(p)
        change = np.abs(noisy - p).sum(axis=1)
        chance = np.divide(self.budget, change, out=np.ones(len(p)), where=change > self.budget)
        better = np.abs(_half(self._odds(noisy))) < np.abs(_half(self._odds(p)))
        draws = np.random.default_rng(derive(seed, "shown")).random(len(p))
        return np.where((better & (draws < chance))[:, None], noisy, p)

    def noisy(self, p: np.ndarray) -> np.ndarray:
        """Softmaxes p [n, classes] with the smallest noise that was found for each; p where none was found."""
        shown, weight, open_rows = p.copy(), self.distance_weight, np.arange(len(p))
        with threadpool_limits(1, "blas"):
            while len(open_rows) and weight <= self.most_weight:
                found, done = self._search(p[open_rows], weight)
                open_rows = open_rows[done]
                shown[open_rows] = found[done]
                weight *= 10
        return shown

    def _search(self, p: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
        """Where the descent ends, float64 [n, classes], and whether it has succeeded, bool [n]."""
        logits = np.log(np.maximum(p, FLOOR))
        rows, label, side = np.arange(len(p)), p.argmax(axis=1), np.sign(self._odds(p))
        noise, shown, done = np.zeros(p.shape), p.copy(), np.zeros(len(p), dtype=bool)
        left = rows
        for _ in range(self.steps):
            slope = self._slope(shown[left], logits[left] + noise[left], p[left], label[left], weight)
            length = np.linalg.norm(slope, axis=1, keepdims=True)
            noise[left] -= self.step * np.divide(slope, length, out=np.zeros(slope.shape), where=length > 0)
            shown[left] = softmax(logits[left] + noise[left])
            crossed = np.sign(self._odds(shown[left])) != side[left]
            done[left] = crossed & (shown[left].argmax(axis=1) == label[left])
            left = left[~done[left]]
            if not len(left):
                break
        return shown, done

    def _slope(
        self, shown: np.ndarray, noisy: np.ndarray, p: np.ndarray, label: np.ndarray, weight: float
    ) -> np.ndarray:
        """The gradient in the noise of what is minimised, float64 [n, classes]."""
        rows = np.arange(len(p))
        odds, by_shown = self._fitted.with_slope(shown.astype(np.float32))
        by_shown = np.sign(odds)[:, None] * by_shown + weight * np.sign(shown - p)
        slope = shown * (by_shown - (by_shown * shown).sum(axis=1, keepdims=True))  # through the softmax
        others = noisy.copy()
        others[rows, label] = -np.inf
        rival = others.argmax(axis=1)
        behind = (others[rows, rival] > noisy[rows, label]) * self.label_weight
        slope[rows, rival] += behind
        slope[rows, label] -= behind
        return slope

    def _odds(self, p: np.ndarray) -> np.ndarray:
        return self._fitted(p.astype(np.float32))

    @property
    def _fitted(self) -> Network:
        if self.network is None:
            raise ValueError("MemGuard has no network yet: fit it to softmaxes of members and of reference rows")
        return self.network


def _half(odds: np.ndarray) -> np.ndarray:
    """How far the network's probability of "member" is from one half."""
    return np.tanh(odds / 2) / 2
