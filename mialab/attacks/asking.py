"""The attacks that ask the model itself, label by label or for its gradients, as an audit takes them.

`mialab.attacks.label_only`, `boundary` and `gradients` hold them as functions, with all their settings; here stand the
settings that experiments use, our choice, as the papers tune theirs per data set. Those modules import torch, and are
imported only when an attack is run. Explained in the chapter "The attack suite".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mialab.attacks.base import AskedModel, Attack, Evidence, Known

if TYPE_CHECKING:
    from torch import Tensor

# Units of standardised inputs, whose standard deviation is near 1.
NOISE_STDS = (0.1, 0.2, 0.4, 0.8)
FLIP_RATES = (0.01, 0.02, 0.05, 0.1)
REPEATS = 10  # of a random direction
SEARCH: dict[str, int] = {}  # what differs from `Search`'s own settings
LABEL_ONLY, WHITE_BOX = "label only", "white box"

Score = Callable[[AskedModel, "Tensor", "Tensor", int], np.ndarray]  # target, raw x, labels, seed -> float64 [n]


@dataclass(frozen=True)
class Asking(Attack):
    """An attack on the model itself. access: what it may see of it, "label only" or "white box"."""

    name: str
    access: str
    ask: Score
    version: int = 1
    needs = ("target", "x")
    costly = True

    def score(self, evidence: Evidence, known: Known, seed: int) -> np.ndarray:
        """Scores [n], float64; every sample's is its own, but for the boundary's first direction, drawn among all."""
        from mialab.attacks.queries import tensor

        x, labels = tensor(evidence.need("x")), tensor(evidence.labels)
        return self.ask(evidence.need("target"), x, labels, seed)


def _augmentation(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.label_only import augmentation_scores

    return augmentation_scores(target.answers, x, labels)


def _noise(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.label_only import noise_scores

    return noise_scores(target.answers, target.scaled(x), labels, stds=NOISE_STDS, repeats=REPEATS, seed=seed)


def _flips(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.label_only import bit_flip_scores

    return bit_flip_scores(target.answers, x, labels, rates=FLIP_RATES, repeats=REPEATS, seed=seed)


def _boundary(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.boundary import Search, boundary_distances

    return boundary_distances(target.answers, target.scaled(x), labels, search=Search(**SEARCH), seed=seed)


def _weights(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.gradients import weight_scores

    return weight_scores(target.log_p, target.params, x, labels)


def _inputs(target: AskedModel, x: Tensor, labels: Tensor, seed: int) -> np.ndarray:
    from mialab.attacks.gradients import input_scores

    return input_scores(target.loss_of, target.scaled(x), labels)


ATTACKS = (
    Asking("label-augmentation", LABEL_ONLY, _augmentation),
    Asking("label-noise", LABEL_ONLY, _noise),
    Asking("label-flips", LABEL_ONLY, _flips),
    # Since version 2 samples come shuffled, hence with other donors of a first direction.
    Asking("label-boundary", LABEL_ONLY, _boundary, version=2),
    Asking("gradient-weights", WHITE_BOX, _weights),
    Asking("gradient-input", WHITE_BOX, _inputs),
)
