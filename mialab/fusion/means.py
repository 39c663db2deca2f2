"""Rules that average: over confidences, over logits, robustly, or with weights that are learnt."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mialab.fusion.arithmetic import SMALLEST, in_blocks, log_confidence, softmax
from mialab.fusion.rule import FusionRule
from mialab.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

EPOCHS, RATE, BATCH = 5, 0.1, 128  # of the weights' training: our choice, the paper states none
SUM_ERROR = 1e-6


@dataclass(frozen=True)
class Confidence(FusionRule):
    """The mean of the softmaxes (the ensemble paper, 2.1)."""

    name = "confidence"

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        total = log_confidence(logits[0])
        for one in logits[1:]:
            np.logaddexp(total, log_confidence(one), out=total)
        return log_confidence(total)  # the sum over models, made to sum to one again: the mean

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        return _mean(map(softmax, logits), len(logits))

    def of_softmaxes(self, probabilities: np.ndarray) -> np.ndarray:
        return _mean(probabilities, len(probabilities))

    def differentiable(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))


@dataclass(frozen=True)
class Logit(FusionRule):
    """The softmax of the mean logit (the ensemble paper, A.3)."""

    name = "logit"

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return log_confidence(_mean_logit(logits))

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        return softmax(_mean_logit(logits))

    def differentiable(self, logits: Tensor) -> Tensor:
        return logits.mean(dim=0).log_softmax(dim=-1)


@dataclass(frozen=True)
class RawLogit(Logit):
    """The same, and an attack network sees the mean logits themselves rather than their softmax (A.3, Figure 10).

    The softmax forgets a constant that is added to all logits of a sample; the mean logits still show it.
    """

    name = "raw-logit"

    def shown(self, logits: np.ndarray) -> np.ndarray:
        return _mean_logit(logits)


class _Sorted(FusionRule):
    """A mean, class by class, of the middle ones of the models' confidences, made to sum to one again.

    Where the middle ones rule out every class, which takes models that are certain and of different minds, the mean of
    all confidences is the answer.
    """

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return in_blocks(self._of, logits)

    @abstractmethod
    def dropped(self, models: int) -> int:
        """How many of the lowest, and as many of the highest, are left out."""

    def _of(self, logits: np.ndarray) -> np.ndarray:
        cut = self.dropped(len(logits))
        middle = np.sort(log_confidence(logits), axis=0)[cut : len(logits) - cut]
        found = np.logaddexp.reduce(middle, axis=0)
        lost = np.isneginf(found.max(axis=1))
        if lost.any():
            found[lost] = Confidence()(logits[:, lost])
        return log_confidence(found)


@dataclass(frozen=True)
class Median(_Sorted):
    """The median of the confidences, class by class; of two models their mean."""

    name = "median"

    def dropped(self, models: int) -> int:
        return (models - 1) // 2


@dataclass(frozen=True)
class TrimmedMean(_Sorted):
    """The mean of the confidences, class by class, without the lowest and the highest ones.

    share: of the models, rounded down, left out at either end; so one to four models lose none at the usual fifth.
    Raises ValueError outside [0, 1/2).
    """

    name = "trimmed-mean"
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share < 0.5:
            raise ValueError(f"trimmed-mean: found share {self.share}; expected 0 or more, and less than 1/2")

    def dropped(self, models: int) -> int:
        return int(self.share * models + 1e-9)


@dataclass(frozen=True)
class Weighted(FusionRule):
    """The weighted mean of the softmaxes, the weights learnt on the training set (the ensemble paper, A.4).

    `Weighted().fit(logits, labels, seed)` gives the rule that can be used. The weights are a softmax of one number per
    model, learnt by gradient descent on the cross-entropy: 5 epochs, rate 0.1, batches of 128. The paper states none of
    this. Raises ValueError for weights below 0 or whose sum is not 1, and without any; fit, where there is no sample.
    """

    name = "weighted"
    learns = True
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and not (min(self.weights) >= 0 and abs(sum(self.weights) - 1) <= SUM_ERROR):  # NaN is neither
            raise ValueError(f"weighted: found weights {self.weights}; expected none below 0 and a sum of 1")

    def fit(self, logits: np.ndarray, labels: np.ndarray, seed: int) -> FusionRule:
        column = np.asarray(labels)[:, None]
        if not len(column):
            raise ValueError("weighted: found no sample to learn the weights from; give the models' training samples")
        p = np.stack([np.take_along_axis(softmax(one), column, axis=1)[:, 0] for one in logits])
        rng, pull = np.random.default_rng(derive(seed, "weighted")), np.zeros(len(p))
        for _ in range(EPOCHS):
            order = rng.permutation(p.shape[1])
            for start in range(0, len(order), BATCH):
                some, w = p[:, order[start : start + BATCH]], softmax(pull)
                share = w[:, None] * some / np.maximum(w @ some, np.finfo(float).tiny)
                pull += RATE * (share.mean(axis=1) - w * share.sum(axis=0).mean())
        return replace(self, weights=tuple(softmax(pull).tolist()))

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        total = np.full(logits.shape[1:], -np.inf)
        for weight, one in self._pairs(logits):
            if weight > 0:
                np.logaddexp(total, math.log(weight) + log_confidence(one), out=total)
        return log_confidence(total)

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        return sum((weight * softmax(one) for weight, one in self._pairs(logits)), np.zeros(logits.shape[1:]))

    def differentiable(self, logits: Tensor) -> Tensor:
        weights = logits.new_tensor([weight for weight, _ in self._pairs(logits)])
        return (logits.log_softmax(dim=-1) + weights.log()[:, None, None]).logsumexp(dim=0)

    def _pairs(self, logits: Any) -> Iterable[tuple[float, Any]]:
        if len(self.weights) != len(logits):
            found = f"{len(self.weights)} weights for {len(logits)} models" if self.weights else "no weights"
            raise ValueError(f"weighted: found {found}; expected one each: fit the rule on these models' outputs")
        return zip(self.weights, logits, strict=True)


def _mean(outputs: Iterable[np.ndarray], models: int) -> np.ndarray:
    """np.mean over the models in float64, to the last bit: added in their order, then divided."""
    outputs = iter(outputs)
    total = np.array(next(outputs), dtype=np.float64)
    for one in outputs:
        total += one
    return total / models


def _mean_logit(logits: np.ndarray) -> np.ndarray:
    scale = 2.0 ** math.ceil(math.log2(len(logits)))  # a power of two rounds nothing, and keeps sums from overflowing
    return _mean((_above_zero(one) / scale for one in logits), len(logits)) * scale


def _above_zero(logits: np.ndarray) -> np.ndarray:
    """-inf raised to the smallest probability above zero: models that rule out different classes still have a mean."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.where(np.isneginf(logits), logits.max(axis=-1, keepdims=True) + SMALLEST, logits)
