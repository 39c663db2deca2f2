"""What a fusion rule is, and how one that draws at random does so."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from mialab.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

RANKED = 8  # likeliest classes of each model that a random rule's draw is keyed to


class FusionRule(ABC):
    """How an ensemble's logits become one prediction and one answer.

    A subclass has a `name` and says what log-probabilities it gives; the rest follows unless it says otherwise. One
    that is random draws by `draws`, so that the same input gets the same answer whenever it is asked, and whatever is
    asked beside it. `version` is raised when the rule's outputs change. `learns`: it must be fitted before it is used.
    `fewest`: models that it needs. Explained in the chapter "The audit".
    """

    name: str
    version: int = 1
    learns: bool = False
    fewest: int = 1

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

    def shown(self, logits: np.ndarray) -> np.ndarray | None:
        """What an attack network sees in the black box, float [n, f]; None for the confidences that are answered."""
        return None

    def differentiable(self, logits: Tensor) -> Tensor:
        """The same as calling the rule, on torch tensors and with gradients; ValueError for a rule without any."""
        raise ValueError(f"fusion {self.name!r} has no gradient: choose confidence or logit, or another attack")


def draws(logits: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each sample, float64 [n], for rules that draw: keyed to the input and the seed.

    The key is the order in which each model ranks its likeliest classes. So rounding, other samples beside this one,
    or a constant added to a row change nothing. Uniform over seeds, and over inputs that are ranked differently.
    """
    ranked = np.argsort(-np.asarray(logits, dtype=np.float64), axis=-1, kind="stable")[..., :RANKED].astype(np.uint64)
    key = np.full(ranked.shape[1], derive(seed, "fusion"), dtype=np.uint64)
    for column in np.moveaxis(ranked, 1, -1).reshape(len(ranked) * ranked.shape[2], ranked.shape[1]):
        key = _mixed(key ^ (column + np.uint64(1)))
    return (key >> np.uint64(11)) / 2.0**53


def _mixed(key: np.ndarray) -> np.ndarray:
    """Each 64-bit number made another one that looks random: SplitMix64's step (Steele et al. 2014)."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
