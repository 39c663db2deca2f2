"""How the outputs of several models become one prediction: logits [models, n, classes] in, log-probabilities out.

A rule is one object, a `FusionRule`; `get` finds one by its name. All arithmetic is float64. `predict` gives the
confidences by plain arithmetic: ties stay ties, and predictions are those that anyone's mean of the softmaxes gives.
`fuse` gives their logarithms, in which a confidence that rounds to 1 keeps its distance from 1; `answer` gives the
labels. Softmaxes saved as such (`probabilities`) are averaged as they are, whatever they sum to. Explained in the
chapter "The audit".
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mialab.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1e100  # log-odds are cut off here: their squares stay finite
RANKED = 8  # likeliest classes of each model that a random rule's draw is keyed to
SMALLEST = float(np.log(np.nextafter(0.0, 1.0)))  # log of the smallest positive float64, about -744


def log_confidence(logits: np.ndarray) -> np.ndarray:
    """Log-softmax over the last axis, float64, for logits of any size; -inf (a probability of zero) stays -inf.

    The largest entry is -log1p(the others' share), hence exact where the probability rounds to 1.
    Raises ValueError on NaN, +inf, or a row that is -inf throughout.
    """
    shifted = np.array(logits, dtype=np.float64)
    top = shifted.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("logits hold NaN or infinity: each row needs a finite largest entry")
    with np.errstate(over="ignore"):  # a difference beyond float64 is a probability of zero
        shifted -= top
    others = np.exp(shifted)
    np.put_along_axis(others, shifted.argmax(axis=-1)[..., None], 0.0, axis=-1)
    shifted -= np.log1p(others.sum(axis=-1, keepdims=True))
    return shifted


def softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax over the last axis, float64, by plain arithmetic."""
    logits = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore"):  # a difference beyond float64 is a probability of zero
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def log_odds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y - log(sum of p_j over j != y) from logits or log-probabilities [n, classes]: float64 [n].

    The sum leaves p_y out rather than subtracting it from 1, so that the surest answers stay apart (Carlini et al.
    2022, section V.A). Cut off at +-1e100; -inf, a class ruled out, is allowed.
    """
    others = np.array(logits, dtype=np.float64)
    column = np.asarray(labels)[:, None]
    own = np.take_along_axis(others, column, axis=1)[:, 0]
    np.put_along_axis(others, column, -np.inf, axis=1)
    top = others.max(axis=1)
    top[np.isneginf(top)] = 0  # every other class ruled out: the log of the empty sum below is -inf
    others -= top[:, None]
    with np.errstate(divide="ignore", over="ignore"):
        rest = np.log(np.exp(others, out=others).sum(axis=1))
        return np.clip(own - (rest + top), -LARGEST, LARGEST)


class FusionRule(ABC):
    """How an ensemble's logits become one prediction and one answer.

    A subclass has a `name` and says what log-probabilities it gives; the rest follows unless it says otherwise. One
    that is random draws by `draws`, so that the same input gets the same answer whenever it is asked, and whatever is
    asked beside it. `version` is raised when the rule's outputs change. Explained in the chapter "The audit".
    """

    name: str
    version: int = 1

    def fit(self, logits: np.ndarray, labels: np.ndarray, seed: int) -> FusionRule:
        """The rule that is learnt from logits [models, n, classes] and labels [n]; itself where nothing is."""
        return self

    @abstractmethod
    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Log-probabilities [n, classes], float64, from logits [models, n, classes]; each row sums to one."""

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        """The same as probabilities, by plain arithmetic where that is the rule's own, so that ties stay ties."""
        return np.exp(self(logits))

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """The labels that are answered, int64 [n]: the likeliest class, of equals the first."""
        return self.confidences(logits).argmax(axis=1)

    def of_softmaxes(self, probabilities: np.ndarray) -> np.ndarray | None:
        """Confidences of softmaxes saved as such [models, n, classes]; None where their logarithms serve as logits."""
        return None

    def differentiable(self, logits: Tensor) -> Tensor:
        """The same as calling the rule, on torch tensors and with gradients; ValueError for a rule without any."""
        raise ValueError(f"fusion {self.name!r} has no gradient: choose confidence or logit, or another attack")


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
class Vote(FusionRule):
    """Each class's share of the models that choose it (the ensemble paper, 2.1): "majority vote"; of equals the first.

    What one model says is its label alone; a class without a vote has the log-probability -inf.
    """

    name = "vote"

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self.confidences(logits))

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        models, n, classes = logits.shape
        votes = np.zeros((n, classes))
        for one in logits:
            votes[np.arange(n), one.argmax(axis=1)] += 1
        return votes / models

    def of_softmaxes(self, probabilities: np.ndarray) -> np.ndarray:
        return self.confidences(probabilities)


RULES: dict[str, FusionRule] = {rule.name: rule for rule in (Confidence(), Logit(), Vote())}


def get(rule: str | FusionRule) -> FusionRule:
    """The rule of that name, or the rule itself; ValueError naming the rules where there is none."""
    if isinstance(rule, FusionRule):
        return rule
    if rule not in RULES:
        raise ValueError(f"no fusion {rule!r}; choose one of {', '.join(RULES)}")
    return RULES[rule]


def fuse(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """Log-probabilities [n, classes], float64, of the ensemble with outputs [models, n, classes].

    Rows sum to one: the likeliest class's entry is found from the others, also in `probabilities`, of which a zero
    counts as the smallest positive number of their type.
    Models are taken one at a time: memory beyond the outputs is a few arrays of [n, classes].
    Raises ValueError for an unknown rule.
    """
    rule = get(how)
    if probabilities is None or (p := rule.of_softmaxes(probabilities)) is None:
        return rule(logits)
    return log_confidence(np.log(np.maximum(p, np.finfo(probabilities.dtype).smallest_subnormal)))


def predict(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """The ensemble's confidences [n, classes], float64, by plain arithmetic: np.mean's and a softmax's.

    Raises ValueError for an unknown rule.
    """
    rule = get(how)
    p = None if probabilities is None else rule.of_softmaxes(probabilities)
    return rule.confidences(logits) if p is None else p


def answer(
    logits: np.ndarray, how: str | FusionRule = "confidence", *, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """The labels that the ensemble answers, int64 [n], by which its accuracy is counted. ValueError as `predict`."""
    rule = get(how)
    p = None if probabilities is None else rule.of_softmaxes(probabilities)
    return rule.answers(logits) if p is None else p.argmax(axis=1)


def draws(logits: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each sample, float64 [n], for rules that draw: keyed to the input and the seed.

    The key is the order in which each model ranks its likeliest classes. So rounding, other samples beside this one,
    or a constant added to a row change nothing. Uniform over seeds, and over inputs that are ranked differently.
    """
    ranked = np.argsort(-np.asarray(logits, dtype=np.float64), axis=-1, kind="stable")[..., :RANKED].astype(np.uint64)
    key = np.full(ranked.shape[1], derive(seed, "fusion"), dtype=np.uint64)
    for column in np.moveaxis(ranked, 1, -1).reshape(-1, ranked.shape[1]):
        key = _mixed(key ^ (column + np.uint64(1)))
    return (key >> np.uint64(11)) / 2.0**53


def side_by_side(logits: np.ndarray, *, probabilities: np.ndarray | None = None) -> np.ndarray:
    """All models' softmaxes in a row per sample: float32 [n, models * classes], model by model (white box, 4.1)."""
    models, n, classes = logits.shape
    row = np.empty((n, models, classes), dtype=np.float32)
    for k in range(models):
        row[:, k] = softmax(logits[k]) if probabilities is None else probabilities[k]
    return row.reshape(n, models * classes)


def _mixed(key: np.ndarray) -> np.ndarray:
    """Each 64-bit number made another one that looks random: SplitMix64's step (Steele et al. 2014)."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


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
